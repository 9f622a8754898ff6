"""A sample of the totals as Central wants it. Pure."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import datetime

from shared.kube.resources import GIB, NANO
from shared.kube.usage import Used
from shared.schemas.costs import CostAllocation
from shared.schemas.metrics import ClusterMetrics
from workers.metrics.billed import NO_PODS, Billed
from workers.metrics.capacity import Capacity, Kind
from workers.metrics.nodes import NodeTotals
from workers.metrics.pods import PodTotals
from workers.metrics.pricing.price import Price, dollars

FARGATE = "fargate"
"""In the place of an instance type."""

UNTYPED = "unknown"
"""Where a node says no instance type or zone."""


def take_sample(
    cluster_id: str,
    timestamp: datetime,
    nodes: NodeTotals,
    pods: PodTotals,
    usage: Mapping[str, Used],
    prices: Mapping[str, Price],
    prices_as_of: str | None,
    billed: Billed = NO_PODS,
    allocation: CostAllocation | None = None,
    claimed: Mapping[str, int] | None = None,
) -> ClusterMetrics:
    """All fields. Cores and GiB are rounded to 6 digits, dollars too.

    ``prices`` are those of all machines, by name; ``billed`` pods have prices of their own; ``claimed`` devices
    are those of each DRA driver.
    """
    kinds: Counter[Kind] = Counter()
    capacities: Counter[Capacity] = Counter()
    types: Counter[str] = Counter()
    zones: Counter[str] = Counter()
    sources: Counter[str] = Counter()
    cards: Counter[str] = Counter()
    cost: Counter[bool] = Counter()
    cost_by_type: Counter[str] = Counter()
    cpu = memory = ready = 0
    for name, record in nodes.nodes.items():
        what, instance_type = record.identity, record.identity.instance_type or UNTYPED
        kinds[what.kind] += 1
        if what.kind is not Kind.MACHINE:
            continue
        capacities[what.capacity] += 1
        types[instance_type] += 1
        zones[what.zone or UNTYPED] += 1
        ready += record.ready
        cpu += record.allocatable.cpu
        memory += record.allocatable.memory
        for accelerator in what.accelerators:
            cards[accelerator.model or accelerator.resource] += accelerator.cards
        price = prices[name]
        sources[price.source] += 1
        cost[what.capacity is Capacity.SPOT] += price.nanodollars or 0
        cost_by_type[instance_type] += price.nanodollars or 0
    billed_sources: Counter[str] = Counter()
    for pod in itertools.chain.from_iterable(billed.values()):
        billed_sources[pod.price.source] += 1
        cost[False] += pod.price.nanodollars or 0
        cost_by_type[FARGATE] += pod.price.nanodollars or 0
    known = [(usage[name], nodes.nodes[name].allocatable) for name in prices if name in usage]
    machines, spot = kinds[Kind.MACHINE], capacities[Capacity.SPOT]
    counted = pods.counted(nodes.nodes, prices)
    return ClusterMetrics(
        cluster_id=cluster_id,
        timestamp=timestamp,
        node_count=machines,
        spot_node_count=spot,
        on_demand_node_count=machines - spot,
        total_cpu_cores=_cores(cpu),
        total_memory_gb=_gib(memory),
        allocated_cpu_cores=_cores(counted.requests.cpu),
        allocated_memory_gb=_gib(counted.requests.memory),
        pod_count=counted.pods,
        current_cost_per_hour=dollars(cost[True] + cost[False]),
        ready_node_count=ready,
        not_ready_node_count=machines - ready,
        unknown_capacity_node_count=capacities[Capacity.UNKNOWN],
        virtual_node_count=kinds[Kind.VIRTUAL],
        kwok_node_count=kinds[Kind.KWOK],
        accelerators_by_type=dict(cards),
        claimed_devices_by_driver=None if claimed is None else dict(claimed),
        nodes_by_instance_type=dict(types),
        nodes_by_zone=dict(zones),
        cpu_utilization_percent=_percent((used.cpu, allocatable.cpu) for used, allocatable in known),
        memory_utilization_percent=_percent((used.memory, allocatable.memory) for used, allocatable in known),
        usage_node_count=len(known),
        running_pod_count=counted.phases["Running"],
        pending_pod_count=counted.phases["Pending"],
        failed_pod_count=counted.phases["Failed"],
        succeeded_pod_count=counted.phases["Succeeded"],
        unknown_pod_count=counted.phases["Unknown"],
        limit_cpu_cores=_cores(counted.limits.cpu),
        limit_memory_gb=_gib(counted.limits.memory),
        spot_cost_per_hour=dollars(cost[True]),
        on_demand_cost_per_hour=dollars(cost[False]),
        cost_per_hour_by_instance_type={name: dollars(part) for name, part in cost_by_type.items()},
        priced_node_count_by_source=dict(sources),
        billed_pod_count_by_source=dict(billed_sources),
        prices_as_of=prices_as_of,
        cost_allocation=allocation,
    )


def _cores(nanocores: int) -> float:
    return round(nanocores / NANO, 6)


def _gib(size: int) -> float:
    return round(size / GIB, 6)


def _percent(pairs: Iterable[tuple[int | None, int]]) -> float | None:
    """Used of what is there, in percent; None when nothing is known, which is not the same as zero."""
    used = total = 0
    for part, whole in pairs:
        if part is not None:
            used += part
            total += whole
    return round(100.0 * used / total, 2) if total else None
