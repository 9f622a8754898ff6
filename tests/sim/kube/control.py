"""The HTTP way to steer an out-of-process simulator: ``/sim/...``."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from tests.sim.kube.store import decode, encode
from tests.sim.kube.wire import Request, Response

if TYPE_CHECKING:
    from tests.sim.kube.cluster import Cluster

_ACTIONS = {
    "add_budget", "add_daemonset", "add_deployment", "add_mirror_pod", "add_namespace", "add_node", "add_pod",
    "add_statefulset", "attach_volume", "clear_faults", "compact", "delete_node", "deny", "deny_evictions",
    "detach_volume", "drop_connections", "drop_watches", "fail", "fail_scheduling", "freeze_watches",
    "kubelet_evict", "make_dry", "node_not_ready", "node_ready", "oom_kill", "release", "restart", "rotate_token",
    "set_metrics", "terminate_namespace", "throttle", "wait_settled",
}  # fmt: skip


class Control:
    """``GET /sim/audit?verb=…``, ``DELETE /sim/audit``, and ``POST /sim/ACTION`` with the arguments as JSON.

    An action is a method of ``Cluster``; its result comes back as JSON.
    """

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    def __call__(self, request: Request) -> Response:
        action = request.path.removeprefix("/sim/")
        try:
            if action == "audit" and request.method == "GET":
                return _json(200, self._cluster.audit.as_dicts(**_numbers(request.query)))
            if action == "audit" and request.method == "DELETE":
                self._cluster.audit.clear()
                return _json(200, None)
            if action in _ACTIONS and request.method == "POST":
                return _json(200, self._do(action, decode(request.body) if request.body else {}))
        except (AttributeError, KeyError, TypeError, ValueError, TimeoutError) as error:
            return _json(400, {"error": str(error)})
        return _json(404, {"error": f"no such action: {action}", "actions": sorted(_ACTIONS)})

    def _do(self, action: str, arguments: dict[str, Any]) -> Any:
        method = getattr(self._cluster, action)
        if action in ("restart", "drop_connections"):  # they cut the connection this answer needs
            self._cluster.in_background(lambda: method(**arguments))
            return None
        result = method(**arguments)
        return asdict(result) if action in ("fail", "throttle", "deny_evictions") else result


def _numbers(query: dict[str, str]) -> dict[str, Any]:
    return {key: int(value) if key == "code" else value for key, value in query.items()}


def _json(status: int, body: Any) -> Response:
    return Response(status, encode(body) + b"\n")
