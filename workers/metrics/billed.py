"""Pods that are billed themselves, because what they run on is no machine: those of AWS Fargate. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from shared.kube.resources import Amount
from workers.metrics.capacity import Kind
from workers.metrics.causes import Cause
from workers.metrics.nodes import NodeTotals
from workers.metrics.pods import PodTotals, Work
from workers.metrics.pricing.fargate import fargate
from workers.metrics.pricing.price import Price
from workers.metrics.pricing.table import PriceTable


class BilledPod(NamedTuple):
    cause: Cause
    amount: Amount
    """What it was provisioned with."""
    price: Price


Billed = Mapping[str, Sequence[BilledPod]]
"""By node."""

NO_PODS: Billed = {}


def billed_pods(nodes: NodeTotals, pods: PodTotals, table: PriceTable) -> Billed:
    """The pods on nodes that are no machines that say what they were provisioned with."""
    virtual = {name: node for name, node in nodes.nodes.items() if node.identity.kind is Kind.VIRTUAL}
    found = {name: list(_billed(pods.on(name).values(), node.identity.region, table)) for name, node in virtual.items()}
    return {name: some for name, some in found.items() if some}


def _billed(works: Iterable[Work], region: str, table: PriceTable) -> Iterator[BilledPod]:
    for work in works:
        if work.cause is not None and work.shape.on_fargate:
            amount = work.shape.provisioned
            yield BilledPod(work.cause, amount or Amount(0, 0), fargate(amount, region, table))
