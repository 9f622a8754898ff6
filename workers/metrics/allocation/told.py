"""The bill as a sample tells it: bounded, and still exact. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import TypeVar

from shared.schemas.costs import (
    LARGER_OF_BOTH,
    MOST_TOLD,
    REQUESTS,
    CostAllocation,
    LabelCosts,
    NamespaceCost,
    OwnerCost,
    Rest,
    ValueCost,
)
from workers.metrics.allocation.bill import Bill
from workers.metrics.causes import Cause

K = TypeVar("K", str, tuple[str, str, str])


def allocation(bill: Bill, labels: tuple[str, ...], measured: int | None) -> CostAllocation:
    """``bill`` by namespace, owner and each of ``labels``; ``measured`` pods' usage is in it, None without usage."""
    namespaces, other_namespaces = costliest(by_namespace(bill))
    owners, other_owners = costliest(_by(bill, lambda cause: (cause.namespace, cause.kind, cause.name)))
    return CostAllocation(
        basis=REQUESTS if measured is None else LARGER_OF_BOTH,
        usage_pod_count=measured or 0,
        nanodollars_per_hour=bill.total,
        cpu_nanodollars_per_hour=bill.resources.cpu,
        memory_nanodollars_per_hour=bill.resources.memory,
        accelerator_nanodollars_per_hour=bill.resources.accelerators,
        idle_nanodollars_per_hour=bill.idle,
        system_nanodollars_per_hour=bill.system,
        namespaces=[NamespaceCost(namespace=name, nanodollars_per_hour=cost) for name, cost in namespaces],
        other_namespaces=other_namespaces,
        owners=[
            OwnerCost(namespace=namespace, kind=kind, name=name, nanodollars_per_hour=cost)
            for (namespace, kind, name), cost in owners
        ],
        other_owners=other_owners,
        labels=[_by_label(bill, label, number) for number, label in enumerate(labels)],
    )


def by_namespace(bill: Bill) -> Counter[str]:
    return _by(bill, lambda cause: cause.namespace)


def costliest(costs: Counter[K]) -> tuple[list[tuple[K, int]], Rest]:
    """The hundred that cost most, those of equal cost by name; and all others together."""
    ordered = sorted(costs.items(), key=lambda item: (-item[1], item[0]))
    told, others = ordered[:MOST_TOLD], ordered[MOST_TOLD:]
    return told, Rest(count=len(others), nanodollars_per_hour=sum(cost for _, cost in others))


def _by_label(bill: Bill, label: str, number: int) -> LabelCosts:
    values, others = costliest(_by(bill, lambda cause: cause.labels[number]))
    told = [ValueCost(value=value, nanodollars_per_hour=cost) for value, cost in values]
    return LabelCosts(label=label, values=told, other_values=others)


def _by(bill: Bill, key: Callable[[Cause], K]) -> Counter[K]:
    costs: Counter[K] = Counter()
    for cause, cost in bill.causes.items():
        costs[key(cause)] += cost
    return costs
