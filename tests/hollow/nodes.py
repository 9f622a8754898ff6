"""Hollow nodes of one's own in anybody's cluster: made, kept Ready, and taken away with all that is on them."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timezone
from typing import Any

from shared.basics.errors import AgentError
from shared.kube.connection import MERGE_PATCH, Kube
from shared.kube.errors import NotFound
from tests.hollow.kubelet import HollowKubelet
from tests.hollow.timers import Timers
from tests.sim.kube.kinds import timestamp

BEAT_SECONDS = 10.0
"""Between two renewals of a node's Lease, as a kubelet does it; a node controller waits for 40 s and more."""

_LEASES = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
_ROOM = {"cpu": "1000", "memory": "4000Gi", "ephemeral-storage": "1000Gi", "pods": "1000"}
_PATIENCE = 60.0


@contextlib.contextmanager
def hollow_nodes(
    kube: Kube, names: Sequence[str], labels: Mapping[str, str], taints: Sequence[Mapping[str, Any]]
) -> Iterator[None]:
    """Ready nodes with these names, labels and taints. ``kube`` is an administrator's."""
    timers = Timers()
    kubelets = [HollowKubelet(kube, name, timers) for name in names]
    with contextlib.ExitStack() as stack:
        for name in names:
            stack.callback(_remove, kube, name)
        stack.callback(timers.stop)
        for name in names:
            _register(kube, name, labels, taints)
            _beat(kube, name, timers)
        for kubelet in kubelets:
            kubelet.start()
            stack.callback(kubelet.stop)
        for name in names:
            _await_ready(kube, name)
        yield


def _register(kube: Kube, name: str, labels: Mapping[str, str], taints: Sequence[Mapping[str, Any]]) -> None:
    given = {"kubernetes.io/hostname": name, "kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64", **labels}
    spec = {"providerID": f"hollow:///{name}", "taints": list(taints)}
    kube.call("POST", "/api/v1/nodes", None, {"metadata": {"name": name, "labels": given}, "spec": spec})
    now = timestamp()
    ready = {"type": "Ready", "status": "True", "reason": "HollowKubelet", "message": "nothing runs here"}
    ready |= {"lastHeartbeatTime": now, "lastTransitionTime": now}
    status = {"capacity": _ROOM, "allocatable": _ROOM, "conditions": [ready]}
    kube.call("PATCH", f"/api/v1/nodes/{name}/status", None, {"status": status}, MERGE_PATCH)
    lease = {"holderIdentity": name, "leaseDurationSeconds": 40, "renewTime": _now()}
    kube.call("POST", _LEASES, None, {"metadata": {"name": name}, "spec": lease})


def _beat(kube: Kube, name: str, timers: Timers) -> None:
    with contextlib.suppress(AgentError):  # The next one counts.
        kube.call("PATCH", f"{_LEASES}/{name}", None, {"spec": {"renewTime": _now()}}, MERGE_PATCH)
    timers.after(BEAT_SECONDS, lambda: _beat(kube, name, timers))


def _await_ready(kube: Kube, name: str) -> None:
    """The node controller takes its own taint off once it has seen the node Ready."""
    deadline = time.monotonic() + _PATIENCE
    while True:
        taints = json.loads(kube.get(f"/api/v1/nodes/{name}"))["spec"].get("taints") or ()
        if not any(taint["key"] == "node.kubernetes.io/not-ready" for taint in taints):
            return
        if time.monotonic() > deadline:
            raise TimeoutError(f"node {name} did not become Ready: is there a node life-cycle controller?")
        time.sleep(0.1)


def _remove(kube: Kube, name: str) -> None:
    """The node, its Lease and what is left on it: pods of DaemonSets that tolerate everything, for instance."""
    for path in (f"/api/v1/nodes/{name}", f"{_LEASES}/{name}"):
        with contextlib.suppress(NotFound):
            kube.call("DELETE", path)
    for pod in json.loads(kube.get("/api/v1/pods", {"fieldSelector": f"spec.nodeName={name}"}))["items"]:
        metadata = pod["metadata"]
        path = f"/api/v1/namespaces/{metadata['namespace']}/pods/{metadata['name']}"
        options = {"gracePeriodSeconds": 0, "preconditions": {"uid": metadata["uid"]}}
        with contextlib.suppress(AgentError):  # Somebody else's controller may be faster.
            kube.call("DELETE", path, None, options)


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="microseconds").replace("+00:00", "Z")
