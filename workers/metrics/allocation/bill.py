"""The bill: the shares of all nodes, kept by difference. Only what changed is divided anew.

Whatever happens, what is idle, what is the systems' and what every cause holds is together the price of the nodes,
to the nano-dollar.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Mapping
from typing import NamedTuple

from workers.metrics.allocation.shares import ByResource, Measured, Shares, shares_of, shares_of_pods
from workers.metrics.billed import NO_PODS, Billed
from workers.metrics.causes import Cause
from workers.metrics.nodes import NodeRecord
from workers.metrics.pods import PodTotals

Usage = Mapping[str, Mapping[int, Measured]]
"""By node, by the pod's key: what is known of pods that use more than they request."""

NOTHING_KNOWN: Usage = {}


class _Line(NamedTuple):
    """What a node adds to the bill; 16 bytes for each of its causes."""

    price: int
    node: NodeRecord | None
    resources: ByResource
    idle: int
    system: int
    causes: tuple[Cause, ...]
    held: array[int]


class Bill:
    """Sums of the nodes' shares, in nano-dollars an hour."""

    def __init__(self) -> None:
        self._lines: dict[str, _Line] = {}
        self._pods: PodTotals | None = None
        self._usage = NOTHING_KNOWN
        self.total = 0
        self.resources = ByResource()
        self.idle = 0
        self.system = 0
        self.causes: Counter[Cause] = Counter()

    def update(
        self,
        nodes: Mapping[str, NodeRecord],
        prices: Mapping[str, int],
        pods: PodTotals,
        usage: Usage = NOTHING_KNOWN,
        billed: Billed = NO_PODS,
    ) -> None:
        """Make it the bill of these nodes, and of pods that are billed themselves. What has no price is on none."""
        anew = pods is not self._pods or usage is not self._usage
        self._pods, self._usage = pods, usage
        changed, pods.changed = pods.changed, set()
        for name in self._lines.keys() - prices.keys():
            self._add(self._lines.pop(name), -1)
        for name, price in prices.items():
            line, node = self._lines.get(name), nodes[name]
            if anew or line is None or name in changed or (line.price, line.node) != (price, node):
                self._put(name, _line(price, node, shares_of(price, node, pods.on(name), usage.get(name, {}))))
        for name, some in billed.items():
            shares = shares_of_pods(some)
            self._put(name, _line(sum(shares.resources), None, shares))

    def _put(self, name: str, line: _Line) -> None:
        if name in self._lines:
            self._add(self._lines[name], -1)
        self._lines[name] = line
        self._add(line, 1)

    def _add(self, line: _Line, sign: int) -> None:
        self.total += sign * line.price
        self.idle += sign * line.idle
        self.system += sign * line.system
        self.resources = ByResource(
            *(whole + sign * part for whole, part in zip(self.resources, line.resources, strict=True))
        )
        for cause, part in zip(line.causes, line.held, strict=True):
            self.causes[cause] += sign * part
            if not self.causes[cause]:
                del self.causes[cause]


def _line(price: int, node: NodeRecord | None, shares: Shares) -> _Line:
    held = {cause: part for cause, part in shares.held.items() if part}
    return _Line(price, node, shares.resources, shares.idle, shares.system, tuple(held), array("q", held.values()))
