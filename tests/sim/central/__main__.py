"""``python -m tests.sim.central``: a Central to try the agent against, by hand."""

from __future__ import annotations

import argparse
import json
import time

from tests.sim.central.server import Central


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.sim.central", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=9000)
    parser.add_argument("--api-key", default="demo-key")
    parser.add_argument("--cluster-id", default="demo")
    arguments = parser.parse_args()
    central = Central(arguments.api_key, arguments.cluster_id, arguments.port, arguments.host)
    with central:
        print(f"Central listens on {central.url}; what arrives is printed here. Try:")
        task = '{"task_type": "cordon_node", "parameters": {"node_name": "NODE"}}'
        print(f"  curl -d '{task}' {central.url}/sim/tasks     # by poll; /sim/push for the stream")
        print(f"  curl '{central.url}/sim/arrivals?call=result'", flush=True)
        shown = 0
        try:
            while True:
                time.sleep(0.2)
                for arrival in central.ledger.arrivals[shown:]:
                    shown += 1
                    if arrival.call != "tasks":
                        print(f"{arrival.call} {arrival.task_id} {json.dumps(arrival.body)[:1000]}", flush=True)
        except KeyboardInterrupt:
            pass


if __name__ == "__main__":
    main()
