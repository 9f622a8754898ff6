"""``python -m tests.sim.kube``: a hollow cluster to talk to."""

from __future__ import annotations

import argparse
import gc
import signal
import sys
import time
from pathlib import Path

from tests.sim.kube.access import ADMIN, AGENT
from tests.sim.kube.cluster import Cluster
from tests.sim.kube.scenarios import SCENARIOS, Churn


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.sim.kube", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="where to listen on 127.0.0.1 (default: any free port)")
    parser.add_argument("--scenario", choices=sorted(SCENARIOS), help="default: scale if --nodes is given, else demo")
    parser.add_argument("--nodes", type=int, help="nodes of the scale and empty scenarios")
    parser.add_argument("--pods", type=int, help="pods of the scale scenario (default: 30 a node)")
    parser.add_argument("--churn", type=float, default=0, metavar="N", help="pod changes a second")
    parser.add_argument("--start-seconds", type=float, default=0.2, help="from bound to Running (default %(default)s)")
    parser.add_argument("--termination-seconds", type=float, default=0.3, help="to end a pod (default %(default)s)")
    parser.add_argument("--bookmark-seconds", type=float, default=60, help="between bookmarks (default %(default)s)")
    parser.add_argument("--history", type=int, default=10_000, help="changes a watch can go back (default %(default)s)")
    parser.add_argument("--tls", type=Path, metavar="DIR", help="serve HTTPS; ca.crt is written to DIR")
    parser.add_argument("--token", help="the agent's bearer token; others are refused")
    parser.add_argument("--token-file", type=Path, help="lines of TOKEN or TOKEN,USER; USER defaults to the agent")
    parser.add_argument("--rbac", nargs="+", default=[], metavar="PATH", help="YAML files or folders with its roles")
    parser.add_argument("--kubeconfig", type=Path, metavar="PATH", help="write one for the agent")
    return parser.parse_args()


def _tokens(arguments: argparse.Namespace) -> dict[str, str]:
    lines = [arguments.token] if arguments.token else []
    if arguments.token_file:
        lines += arguments.token_file.read_text().split()
    return {token: user or AGENT for token, _, user in (line.partition(",") for line in lines)}


def main() -> None:
    arguments = _arguments()
    sys.setswitchinterval(0.001)  # a short request should not wait for a controller's long turn
    cluster = Cluster(
        nodes=0,
        port=arguments.port,
        tls=arguments.tls,
        tokens=_tokens(arguments),
        rbac=arguments.rbac,
        start_seconds=arguments.start_seconds,
        termination_seconds=arguments.termination_seconds,
        bookmark_interval=arguments.bookmark_seconds,
        history=arguments.history,
    )
    scenario = arguments.scenario or ("scale" if arguments.nodes else "demo")
    nodes = arguments.nodes or 100
    pods = 30 * nodes if arguments.pods is None else arguments.pods
    began = time.monotonic()
    gc.disable()  # millions of long-lived dicts: collecting while they are made only costs
    SCENARIOS[scenario](cluster, nodes, pods)
    gc.freeze()
    gc.enable()
    # Waited for, not handled: two signals at once would deadlock a handler that sets an Event.
    ends = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, ends)
    with cluster:
        _announce(cluster, scenario, time.monotonic() - began, arguments)
        if arguments.churn:
            Churn(cluster, arguments.churn).start()
        signal.sigwait(ends)


def _announce(cluster: Cluster, scenario: str, seconds: float, arguments: argparse.Namespace) -> None:
    counts = f"{len(cluster.nodes())} nodes, {len(cluster.pods())} pods"
    print(f"{cluster.url}  ({scenario}: {counts}, seeded in {seconds:.1f} s)", flush=True)
    server = f"kubectl --server {cluster.url}"
    if arguments.tls:
        server += f" --certificate-authority {arguments.tls}/ca.crt"
    if cluster.access.tokens:
        admin = next((token for token, user in cluster.access.tokens.items() if user == ADMIN), "")
        server += f" --token {admin}"
    if arguments.kubeconfig:
        print(f"kubeconfig of the agent: {cluster.write_kubeconfig(arguments.kubeconfig)}")
    node = cluster.nodes()[0]["metadata"]["name"] if cluster.nodes() else "NODE"
    print(f"try:  {server} get nodes -o wide\n      {server} drain {node} --ignore-daemonsets --delete-emptydir-data")
    print(f"      curl {'-k ' if arguments.tls else ''}{cluster.url}/sim/audit", flush=True)


if __name__ == "__main__":
    main()
