"""A sample of the cluster's totals. One GB is 2^30 bytes; CPU is in cores; cost is in US dollars an hour."""

from __future__ import annotations

from shared.schemas.costs import CostAllocation
from shared.schemas.wire import Outgoing, UtcDatetime


class ClusterMetrics(Outgoing):
    """One sample: what Central was promised first, then what goes beyond."""

    cluster_id: str
    """The cluster's id at Central."""
    timestamp: UtcDatetime
    """When it was counted."""

    node_count: int
    """Nodes that are machines."""
    spot_node_count: int
    """Nodes marked as spot or preemptible by any label that is known."""
    on_demand_node_count: int
    """Every node that is not spot, those with no capacity label included."""
    total_cpu_cores: float
    """Allocatable, in cores."""
    total_memory_gb: float
    """Allocatable, in GB of 2^30 bytes."""
    allocated_cpu_cores: float
    """Requests of the pods bound to a node that have not ended."""
    allocated_memory_gb: float
    """Likewise; GB of 2^30 bytes."""
    pod_count: int
    """Pods of any phase."""
    current_cost_per_hour: float
    """US dollars an hour of all nodes that have a price."""

    ready_node_count: int
    """Nodes whose condition Ready is True."""
    not_ready_node_count: int
    """All others."""
    unknown_capacity_node_count: int
    """Nodes with no capacity label at all; counted as on-demand above."""
    virtual_node_count: int
    """Virtual kubelets and AWS Fargate: no machines, so in no other count of nodes, in no capacity and no cost."""
    kwok_node_count: int
    """Simulated nodes, likewise apart."""
    accelerators_by_type: dict[str, int]
    """GPUs and other accelerators of the nodes by model, or by the name of the resource where nobody says the model."""
    claimed_devices_by_driver: dict[str, int] | None
    """Devices that are allocated to ResourceClaims, by DRA driver; null where claims are not there or not readable."""
    nodes_by_instance_type: dict[str, int]
    """Nodes by the label ``node.kubernetes.io/instance-type``; ``unknown`` without it."""
    nodes_by_zone: dict[str, int]
    """Nodes by the label ``topology.kubernetes.io/zone``; ``unknown`` without it."""

    cpu_utilization_percent: float | None
    """Usage over allocatable of the nodes whose usage is known; null without metrics.k8s.io."""
    memory_utilization_percent: float | None
    """Likewise."""
    usage_node_count: int
    """How many nodes the two utilisations speak for."""

    running_pod_count: int
    """Pods in the phase Running."""
    pending_pod_count: int
    """Pods in the phase Pending."""
    failed_pod_count: int
    """Pods in the phase Failed."""
    succeeded_pod_count: int
    """Pods in the phase Succeeded."""
    unknown_pod_count: int
    """Pods in the phase Unknown, or in none."""
    limit_cpu_cores: float
    """Limits of the pods bound to a node that have not ended; a pod without a limit adds nothing."""
    limit_memory_gb: float
    """Likewise; GB of 2^30 bytes."""

    spot_cost_per_hour: float
    """US dollars an hour of the spot nodes."""
    on_demand_cost_per_hour: float
    """US dollars an hour of all others."""
    cost_per_hour_by_instance_type: dict[str, float]
    """US dollars an hour by instance type."""
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
