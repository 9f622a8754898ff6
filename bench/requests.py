"""Requests of pods that are resized in place, held against what a real scheduler sets aside for them.

python -m bench.requests --kubeconfig FILE       # an API server with a scheduler; it gets a node of its own for a while

Each situation is a pod on that node whose spec and status disagree. A probe that asks for just what we say is left must
be scheduled there, one that asks for a millicore more must not.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench.report import Figure, report
from shared.basics.errors import AgentError
from shared.kube.connection import MERGE_PATCH, Kube
from shared.kube.pods import on_node, pod_path
from shared.kube.reads import Resource
from workers.metrics.pods import Pod, PodTotals

NAME = "bench-requests"
"""Of the node and the namespace; both are deleted afterwards."""

CPUS = 32
_MILLI = 1_000_000
_TIMES = "%Y-%m-%dT%H:%M:%SZ"

Object = dict[str, Any]


class Bench:
    """One API server, and the node on it."""

    def __init__(self, kubeconfig: Path) -> None:
        self._kube = Kube(str(kubeconfig), "bench")
        self._probes = 0

    @contextlib.contextmanager
    def ground(self) -> Iterator[None]:
        """The node and the namespace, while it lasts."""
        self._kube.call("POST", "/api/v1/namespaces", None, {"metadata": {"name": NAME}})
        self._kube.call("POST", "/api/v1/nodes", None, {"metadata": {"name": NAME, "labels": {NAME: "true"}}})
        try:
            _until(lambda: self._there(f"/api/v1/namespaces/{NAME}/serviceaccounts/default"))
            yield
        finally:
            self._kube.call("DELETE", f"/api/v1/nodes/{NAME}")
            self._kube.call("DELETE", f"/api/v1/namespaces/{NAME}")

    def tried(self, spec: Object, status: Object) -> tuple[int, bool]:
        """Millicores we say are set aside for this pod, and whether the scheduler agrees."""
        self._beat()
        path = self._create("resized", {"nodeName": NAME, **spec})
        try:
            self._patch(f"{path}/status", {"status": {"phase": "Running", **status}})
            totals = PodTotals()
            for pod in Resource(self._kube, "/api/v1/pods", Pod).latest(on_node(NAME)):
                totals.put(pod)
            aside = totals.counted({NAME}, {NAME}).requests.cpu // _MILLI
            left = CPUS * 1000 - aside
            return aside, (not left or self._fits(left)) and not self._fits(left + 1)
        finally:
            self._delete(path)

    def _fits(self, millicores: int) -> bool:
        """Whether a pod that asks for so much is scheduled on the node."""
        self._probes += 1
        container = {"name": "probe", "image": "none", "resources": {"requests": {"cpu": f"{millicores}m"}}}
        path = self._create(f"probe-{self._probes}", {"nodeSelector": {NAME: "true"}, "containers": [container]})
        try:
            return bool(_until(lambda: self._verdict(path)) == "scheduled")
        finally:
            self._delete(path)

    def _verdict(self, path: str) -> str | None:
        pod = json.loads(self._kube.get(path))
        conditions = {condition["type"]: condition for condition in pod["status"].get("conditions", [])}
        scheduled = conditions.get("PodScheduled", {})
        if pod["spec"].get("nodeName"):
            return "scheduled"
        return "refused" if scheduled.get("reason") == "Unschedulable" else None

    def _beat(self) -> None:
        """What a kubelet would say of the node."""
        now = time.strftime(_TIMES, time.gmtime())
        ready = {"type": "Ready", "status": "True", "reason": "Bench", "lastHeartbeatTime": now}
        resources = {"cpu": str(CPUS), "memory": "64Gi", "pods": "110"}
        status = {"capacity": resources, "allocatable": resources, "conditions": [ready]}
        self._patch(f"/api/v1/nodes/{NAME}/status", {"status": status})

    def _create(self, name: str, spec: Object) -> str:
        body = {"metadata": {"name": name}, "spec": {"tolerations": [{"operator": "Exists"}], **spec}}
        self._kube.call("POST", f"/api/v1/namespaces/{NAME}/pods", None, body)
        return pod_path(NAME, name)

    def _patch(self, path: str, patch: Object) -> None:
        self._kube.call("PATCH", path, None, patch, MERGE_PATCH)

    def _delete(self, path: str) -> None:
        self._kube.call("DELETE", path, None, {"gracePeriodSeconds": 0})
        _until(lambda: not self._there(path))

    def _there(self, path: str) -> bool:
        try:
            self._kube.get(path)
        except AgentError:
            return False
        return True


def _until(look: Any, seconds: float = 30.0) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := look()):
        if time.monotonic() > deadline:
            raise SystemExit("the cluster did not get there in time")
        time.sleep(0.05)
    return found


def situation(rng: random.Random) -> tuple[Object, Object]:
    """Some pod's spec and status: it grows, shrinks, waits or cannot, per container or as a whole."""
    containers = [_container(f"c{number}", rng) for number in range(rng.randint(1, 3))]
    sidecars = [{**_container(f"i{number}", rng), "restartPolicy": "Always"} for number in range(rng.randint(0, 1))]
    steps = [_container("step", rng) for _ in range(rng.randint(0, 1))]
    spec: Object = {"containers": containers, "initContainers": [*sidecars, *steps]}
    status: Object = {
        "containerStatuses": [said for one in containers if (said := _said(one, rng))],
        "initContainerStatuses": [said for one in [*sidecars, *steps] if (said := _said(one, rng))],
    }
    if rng.random() < 0.3:
        whole = sum(int(one["resources"]["requests"]["cpu"][:-1]) for one in [*containers, *sidecars, *steps])
        spec["resources"] = {"requests": {"cpu": f"{whole}m", "memory": "1Gi"}}
        if rng.random() < 0.7:
            status["resources"] = {"requests": {"cpu": _cpu(rng), "memory": "1Gi"}}
            status["allocatedResources"] = {"cpu": _cpu(rng), "memory": "1Gi"}
    if reason := rng.choice(["", "", "Deferred", "Infeasible", "Infeasible"]):
        now = time.strftime(_TIMES, time.gmtime())
        pending = {"type": "PodResizePending", "status": "True", "reason": reason, "lastTransitionTime": now}
        status["conditions"] = [pending]
    return spec, status


def _container(name: str, rng: random.Random) -> Object:
    return {"name": name, "image": "none", "resources": {"requests": {"cpu": _cpu(rng), "memory": "16Mi"}}}


def _said(container: Object, rng: random.Random) -> Object | None:
    """What the kubelet says of it: nothing, little, or how it differs."""
    if rng.random() < 0.15:
        return None
    said: Object = {"name": container["name"], "image": "none", "imageID": "", "ready": True, "restartCount": 0}
    if rng.random() < 0.8:
        said["resources"] = {"requests": {"cpu": _cpu(rng), "memory": "16Mi"}}
        if rng.random() < 0.8:
            said["allocatedResources"] = {"cpu": _cpu(rng), "memory": "16Mi"}
    return said


def _cpu(rng: random.Random) -> str:
    return f"{rng.randint(1, 5000)}m"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.requests", description=__doc__)
    parser.add_argument("--kubeconfig", type=Path, required=True)
    parser.add_argument("--situations", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    bench, rng, right = Bench(arguments.kubeconfig), random.Random(arguments.seed), 0
    with bench.ground():
        for number in range(arguments.situations):
            spec, status = situation(rng)
            aside, agreed = bench.tried(spec, status)
            right += agreed
            if not agreed:
                print(f"situation {number}: we say {aside}m\n{json.dumps({'spec': spec, 'status': status})}")
    share = 100.0 * right / arguments.situations
    figure = Figure("situations in which the scheduler agrees", share, "%", 100.0, at_least=True)
    report("requests", [figure], f"{arguments.situations} situations, a real scheduler")


if __name__ == "__main__":
    main()
