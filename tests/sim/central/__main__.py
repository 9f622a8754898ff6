"""``python -m tests.sim.central``: a Central to try the agent against, by hand."""

from __future__ import annotations

import argparse
import json
import time
from functools import cache

from shared.kube.connection import Kube
from tests.sim.central.server import Central
from tests.sim.picture import picture


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.sim.central", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=9000)
    parser.add_argument("--api-key", default="demo-key")
    parser.add_argument("--cluster-id", default="demo")
    parser.add_argument("--kubeconfig", help="the cluster that the console draws")
    arguments = parser.parse_args()
    central = Central(arguments.api_key, arguments.cluster_id, arguments.port, arguments.host)
    if arguments.kubeconfig:
        connect = cache(lambda: Kube(arguments.kubeconfig, "console"))  # Once it is there: the cluster may yet start.
        central.console.cluster = lambda: picture(connect())
    with central:
        print(f"Central listens on {central.url}, with a console for a browser; what arrives is printed here. Try:")
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
