"""Nodes: what the agent reads of one, and the three things it writes."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import msgspec

from shared.kube.connection import MERGE_PATCH, Kube
from shared.kube.objects import Condition, Meta, Struct, meant
from shared.kube.reads import Resource

PATH = "/api/v1/nodes"


class NodeSpec(Struct, frozen=True):
    provider_id: str = msgspec.field(name="providerID", default="")
    unschedulable: bool = False


class NodeStatus(Struct, frozen=True):
    capacity: dict[str, str] = {}
    allocatable: dict[str, str] = {}
    conditions: list[Condition] = []


class Node(Struct, frozen=True):
    """A node, as far as we look at it."""

    metadata: Meta
    kind: str = ""
    """Empty for an item of a list."""
    spec: NodeSpec = NodeSpec()
    status: NodeStatus = NodeStatus()

    @property
    def ready(self) -> Condition | None:
        """The Ready condition, which a node has from its first heartbeat on."""
        return next((condition for condition in self.status.conditions if condition.type == "Ready"), None)

    @property
    def is_ready(self) -> bool:
        return self.ready is not None and self.ready.status == "True"


class Nodes(Resource[Node]):
    """Reads and writes of nodes."""

    def __init__(self, kube: Kube) -> None:
        super().__init__(kube, PATH, Node)

    def find(self, name: str) -> Node:
        """The node as the API server has it now. Raises NotFound, Unclear."""
        path = _path(name)
        return meant(self.decoded(self._kube.get(path), f"GET {path}"), "Node", name)

    def set_unschedulable(self, name: str, unschedulable: bool, uid: str | None = None) -> Node:
        """Cordon or uncordon in one PATCH; the node afterwards. Raises NotFound, Conflict, Denied, Forbidden."""
        # Null, not false: `kubectl uncordon` leaves no field behind either.
        return self._patch(name, {"spec": {"unschedulable": True if unschedulable else None}}, uid)

    def set_labels(self, name: str, labels: dict[str, str | None], uid: str | None = None) -> Node:
        """Set labels, or remove those that are null; the node afterwards. Raises as ``set_unschedulable``."""
        return self._patch(name, {"metadata": {"labels": labels}}, uid)

    def _patch(self, name: str, patch: dict[str, Any], uid: str | None) -> Node:
        """``uid``, where given, is the only node of that name that is meant; another one is a Conflict."""
        if uid is not None:
            patch = {**patch, "metadata": {**patch.get("metadata", {}), "uid": uid}}
        path = _path(name)
        answer = self._kube.call("PATCH", path, None, patch, MERGE_PATCH)
        return meant(self.decoded(answer, f"PATCH {path}"), "Node", name)


def _path(name: str) -> str:
    return f"{PATH}/{quote(name, safe='')}"
