"""The cluster's nodes, as far as samples look at them."""

from __future__ import annotations

from typing import NamedTuple

from shared.kube.nodes import Node
from shared.kube.resources import Amount, amount
from workers.metrics.capacity import Identity, Kind, identity


class NodeRecord(NamedTuple):
    """All that the totals know of a node."""

    identity: Identity
    capacity: Amount
    """What the machine has; what of it pods cannot have is for its system and its kubelet."""
    allocatable: Amount
    ready: bool


class NodeTotals:
    """Every node's record by name. There are thousands at most, so sums are made when they are asked for."""

    def __init__(self, spot_label: tuple[str, str] | None = None) -> None:
        self._spot_label = spot_label
        self._identities: dict[Identity, Identity] = {}
        self.nodes: dict[str, NodeRecord] = {}

    def __len__(self) -> int:
        return len(self.nodes)

    def machines(self) -> dict[str, NodeRecord]:
        """Those that are machines: only these have capacity and a price."""
        return {name: node for name, node in self.nodes.items() if node.identity.kind is Kind.MACHINE}

    def put(self, node: Node) -> None:
        """The node was added or changed."""
        what = identity(node, self._spot_label)
        what = self._identities.setdefault(what, what)
        status = node.status
        record = NodeRecord(what, amount(status.capacity), amount(status.allocatable), node.is_ready)
        self.nodes[node.metadata.name] = record

    def remove(self, name: str) -> None:
        """The node is gone."""
        self.nodes.pop(name, None)
