"""Keeps the bill up to date, and says now and then, and to Prometheus always, who causes it."""

from __future__ import annotations

from collections.abc import Mapping

from shared.basics import telemetry
from shared.basics.timing import Deadline
from shared.kube.connection import Kube
from shared.process.lifecycle import Process
from shared.schemas.costs import CostAllocation
from workers.metrics.allocation.bill import Bill
from workers.metrics.allocation.measured import PodUsage
from workers.metrics.allocation.told import allocation, by_namespace, costliest
from workers.metrics.billed import NO_PODS, Billed
from workers.metrics.follow import Followed
from workers.metrics.nodes import NodeRecord
from workers.metrics.pods import Pod
from workers.metrics.pricing.price import NANO_DOLLARS, Price

IDLE, SYSTEM, OTHERS = "(idle)", "(system)", "(others)"
"""In the place of a namespace, which has no parentheses: together with these, the costs are the whole."""


class CostKeeper:
    """The bill of the nodes, and when it is told next."""

    def __init__(self, process: Process, kube: Kube, pods: Followed[Pod]) -> None:
        self._settings = process.settings.costs
        self._pods = pods
        self._clock = process.clock
        self._bill = Bill()
        self._usage = PodUsage(kube, pods.lock, self._settings.interval_seconds, self._clock)
        self._due = Deadline.after(0, self._clock)

    def measure(self) -> float:
        """Read what pods use; the seconds until the next time."""
        if self._pods.totals is None:
            return 1.0
        self._usage.read(self._pods.totals)
        return self._settings.interval_seconds

    def divide(
        self, machines: Mapping[str, NodeRecord], prices: Mapping[str, Price], billed: Billed = NO_PODS
    ) -> CostAllocation | None:
        """Bring the bill up to date; what a sample tells of it if that is due. The caller holds the totals' locks."""
        if not self._due.expired and not self._settings.prometheus:
            return None
        reading = self._usage.latest()
        known = {name: price.nanodollars for name, price in prices.items() if price.nanodollars is not None}
        self._bill.update(machines, known, self._pods.totals, reading.beyond_requests, billed)
        if not self._due.expired:
            return None
        return allocation(self._bill, self._settings.labels, reading.pods)

    def told(self) -> None:
        """A sample with what ``divide`` gave is on its way."""
        self._due = Deadline.after(self._settings.interval_seconds, self._clock)

    def show(self) -> None:
        """By namespace to Prometheus, where the owner wants it."""
        if not self._settings.prometheus:
            return
        told, others = costliest(by_namespace(self._bill))
        rest = [(IDLE, self._bill.idle), (SYSTEM, self._bill.system), (OTHERS, others.nanodollars_per_hour)]
        telemetry.NAMESPACE_COST.clear()
        for namespace, cost in (*told, *rest):
            telemetry.NAMESPACE_COST.labels(namespace).set(cost / NANO_DOLLARS)
