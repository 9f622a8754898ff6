"""A sample of the totals as Central wants it. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime

from shared.schemas.metrics import ClusterMetrics
from workers.metrics.capacity import Capacity
from workers.metrics.prices import GIB, Price
from workers.metrics.resources import NANO, Amount
from workers.metrics.totals import NodeRecord, NodeTotals, PodTotals

Pricer = Callable[[NodeRecord], Price]

UNTYPED = "unknown"
"""Where a node says no instance type or zone."""


def take_sample(
    cluster_id: str,
    timestamp: datetime,
    nodes: NodeTotals,
    pods: PodTotals,
    usage: Mapping[str, Amount],
    price_of: Pricer,
    prices_as_of: str | None,
) -> ClusterMetrics:
    """All fields of SPEC section 5. Cores and GiB are rounded to 6 digits, dollars too."""
    kinds: Counter[Capacity] = Counter()
    types: Counter[str] = Counter()
    zones: Counter[str] = Counter()
    sources: Counter[str] = Counter()
    cost: dict[bool, float] = {True: 0.0, False: 0.0}
    cost_by_type: dict[str, float] = {}
    cpu = memory = ready = 0
    for record in nodes.nodes.values():
        what, instance_type = record.identity, record.identity.instance_type or UNTYPED
        kinds[what.capacity] += 1
        types[instance_type] += 1
        zones[what.zone or UNTYPED] += 1
        ready += record.ready
        cpu += record.allocatable.cpu
        memory += record.allocatable.memory
        price = price_of(record)
        sources[price.source] += 1
        cost[what.capacity is Capacity.SPOT] += price.dollars
        cost_by_type[instance_type] = cost_by_type.get(instance_type, 0.0) + price.dollars
    known = [(usage[name], nodes.nodes[name].allocatable) for name in usage if name in nodes.nodes]
    spot = kinds[Capacity.SPOT]
    return ClusterMetrics(
        cluster_id=cluster_id,
        timestamp=timestamp,
        node_count=len(nodes),
        spot_node_count=spot,
        on_demand_node_count=len(nodes) - spot,
        total_cpu_cores=_cores(cpu),
        total_memory_gb=_gib(memory),
        allocated_cpu_cores=_cores(pods.requests.cpu),
        allocated_memory_gb=_gib(pods.requests.memory),
        pod_count=len(pods),
        current_cost_per_hour=round(cost[True] + cost[False], 6),
        ready_node_count=ready,
        not_ready_node_count=len(nodes) - ready,
        unknown_capacity_node_count=kinds[Capacity.UNKNOWN],
        nodes_by_instance_type=dict(types),
        nodes_by_zone=dict(zones),
        cpu_utilization_percent=_percent((used.cpu, allocatable.cpu) for used, allocatable in known),
        memory_utilization_percent=_percent((used.memory, allocatable.memory) for used, allocatable in known),
        usage_node_count=len(known),
        running_pod_count=pods.phases["Running"],
        pending_pod_count=pods.phases["Pending"],
        failed_pod_count=pods.phases["Failed"],
        succeeded_pod_count=pods.phases["Succeeded"],
        unknown_pod_count=pods.phases["Unknown"],
        limit_cpu_cores=_cores(pods.limits.cpu),
        limit_memory_gb=_gib(pods.limits.memory),
        spot_cost_per_hour=round(cost[True], 6),
        on_demand_cost_per_hour=round(cost[False], 6),
        cost_per_hour_by_instance_type={name: round(dollars, 6) for name, dollars in cost_by_type.items()},
        priced_node_count_by_source=dict(sources),
        prices_as_of=prices_as_of,
    )


def _cores(nanocores: int) -> float:
    return round(nanocores / NANO, 6)


def _gib(size: int) -> float:
    return round(size / GIB, 6)


def _percent(pairs: Iterable[tuple[int, int]]) -> float | None:
    """Used of what is there, in percent; None when nothing is known, which is not the same as zero."""
    used = total = 0
    for part, whole in pairs:
        used += part
        total += whole
    return round(100.0 * used / total, 2) if total else None
