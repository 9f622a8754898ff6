"""A sample of the cluster's totals. One GB is 2^30 bytes; CPU is in cores; cost is in US dollars an hour."""

from __future__ import annotations

from shared.schemas.costs import CostAllocation
from shared.schemas.wire import Outgoing, UtcDatetime


class ClusterMetrics(Outgoing):
    """SPEC section 3's fields first, then those of section 5."""

    cluster_id: str
    timestamp: UtcDatetime

    node_count: int
    spot_node_count: int
    on_demand_node_count: int
    """Every node that is not spot, those with no capacity label included."""
    total_cpu_cores: float
    """Allocatable."""
    total_memory_gb: float
    """Allocatable."""
    allocated_cpu_cores: float
    """Requests of the pods bound to a node that have not ended."""
    allocated_memory_gb: float
    pod_count: int
    current_cost_per_hour: float

    ready_node_count: int
    not_ready_node_count: int
    unknown_capacity_node_count: int
    """Nodes with no capacity label at all; counted as on-demand above."""
    virtual_node_count: int
    """Virtual kubelets and AWS Fargate: no machines, so in no other count of nodes, in no capacity and no cost."""
    kwok_node_count: int
    """Simulated nodes, likewise apart."""
    accelerators_by_type: dict[str, int]
    """GPUs and other accelerators of the nodes by model, or by the name of the resource where nobody says the model."""
    nodes_by_instance_type: dict[str, int]
    nodes_by_zone: dict[str, int]

    cpu_utilization_percent: float | None
    """Usage over allocatable of the nodes whose usage is known; null without metrics.k8s.io."""
    memory_utilization_percent: float | None
    usage_node_count: int
    """How many nodes the two utilisations speak for."""

    running_pod_count: int
    pending_pod_count: int
    failed_pod_count: int
    succeeded_pod_count: int
    unknown_pod_count: int
    limit_cpu_cores: float
    """Limits of the pods bound to a node that have not ended; a pod without a limit adds nothing."""
    limit_memory_gb: float

    spot_cost_per_hour: float
    on_demand_cost_per_hour: float
    cost_per_hour_by_instance_type: dict[str, float]
    priced_node_count_by_source: dict[str, int]
    """Nodes by where their price comes from: ``override``, ``table``, ``fallback`` and so on; ``unknown`` ones add
    nothing to the cost."""
    billed_pod_count_by_source: dict[str, int]
    """Pods that are billed themselves, those on AWS Fargate, by where their price comes from. They are in the cost, as
    on-demand and of type ``fargate``."""
    prices_as_of: str | None
    """Date of the price table used for any node, or null."""
    cost_allocation: CostAllocation | None
    """Who causes the cost; null in most samples, as it is told every COST_INTERVAL_SECONDS."""
