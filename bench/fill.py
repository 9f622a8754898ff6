"""Give a real API server without kubelets or controllers the nodes and pods of the simulator's `scale` scenario.

python -m bench.fill --kubeconfig K --nodes 1000 --pods 30000

What is there already stays; nothing is deleted. For `bench.scale --kubeconfig K`.
"""

from __future__ import annotations

import argparse
import copy
import multiprocessing
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from shared.kube.connection import MERGE_PATCH, Kube
from shared.kube.errors import Conflict
from tests.sim.kube.cluster import Cluster
from tests.sim.kube.resources import NODES, PODS
from tests.sim.kube.scenarios import scale

_PROCESSES = 3
_THREADS = 8


def _create(kube: Kube, collection: str, obj: dict[str, Any]) -> None:
    """Create it, and give it its status, which a creation leaves out."""
    name = obj["metadata"]["name"]
    try:
        kube.call("POST", collection, None, _as_new(obj))
    except Conflict:
        return
    kube.call("PATCH", f"{collection}/{name}/status", None, {"status": obj["status"]}, MERGE_PATCH)


def _as_new(obj: dict[str, Any]) -> dict[str, Any]:
    """Without what the API server sets, and without owners: its garbage collector would look for them."""
    new = copy.deepcopy(obj)
    for key in ("uid", "resourceVersion", "creationTimestamp", "ownerReferences", "managedFields", "generation"):
        new["metadata"].pop(key, None)
    return new


def _send(kubeconfig: Path, items: list[tuple[str, dict[str, Any]]]) -> None:
    kube = Kube(str(kubeconfig), "bench", connections=_THREADS)
    with ThreadPoolExecutor(_THREADS) as pool:
        for _ in pool.map(lambda item: _create(kube, *item), items):
            pass


def fill(kubeconfig: Path, nodes: int, pods: int) -> None:
    """Create them all; returns when they are there."""
    with Cluster(nodes=0, controllers=False) as cluster:
        scale(cluster, nodes, pods)
        made = [("/api/v1/nodes", stored.object) for stored in cluster.store.all(NODES)]
        bound = [stored.object for stored in cluster.store.all(PODS)]
    made += [(f"/api/v1/namespaces/{pod['metadata']['namespace']}/pods", pod) for pod in bound]
    kube = Kube(str(kubeconfig), "bench")
    for namespace in sorted({pod["metadata"]["namespace"] for pod in bound}):
        try:
            kube.call("POST", "/api/v1/namespaces", None, {"metadata": {"name": namespace}})
        except Conflict:
            pass
    shares = [(kubeconfig, made[part::_PROCESSES]) for part in range(_PROCESSES)]
    with multiprocessing.get_context("fork").Pool(_PROCESSES) as workers:
        workers.starmap(_send, shares)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.fill", description=__doc__)
    parser.add_argument("--kubeconfig", type=Path, required=True)
    parser.add_argument("--nodes", type=int, default=1_000)
    parser.add_argument("--pods", type=int, default=30_000)
    arguments = parser.parse_args()
    fill(arguments.kubeconfig, arguments.nodes, arguments.pods)
    print(f"{arguments.nodes:,} nodes and {arguments.pods:,} pods are there", file=sys.stderr)


if __name__ == "__main__":
    main()
