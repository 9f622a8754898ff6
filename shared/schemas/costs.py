"""Who causes what the nodes cost, in whole nano-dollars (10^-9 US dollars) an hour: parts sum to the whole exactly."""

from __future__ import annotations

from shared.schemas.wire import Outgoing

MOST_TOLD = 100
"""Of each kind; what the rest costs is told in one figure."""

REQUESTS = "requests"
LARGER_OF_BOTH = "max_of_requests_and_usage"


class Rest(Outgoing):
    """Those that are not among the costliest."""

    count: int
    """How many they are."""
    nanodollars_per_hour: int
    """All of them together."""


class NamespaceCost(Outgoing):
    namespace: str
    """Its name."""
    nanodollars_per_hour: int
    """What its pods hold."""


class OwnerCost(Outgoing):
    """A workload, by its controller."""

    namespace: str
    """The workload's."""
    kind: str
    """``Deployment``, ``StatefulSet``, ``Job``, ``CronJob``, ...; ``Pod`` or ``StaticPod`` without a controller."""
    name: str
    """The workload's."""
    nanodollars_per_hour: int
    """What its pods hold."""


class ValueCost(Outgoing):
    value: str
    """Empty for pods without the label."""
    nanodollars_per_hour: int
    """What the pods with it hold."""


class LabelCosts(Outgoing):
    """The pods' cost by the value of one label."""

    label: str
    """Its key."""
    values: list[ValueCost]
    """The costliest first."""
    other_values: Rest
    """The others."""


class CostAllocation(Outgoing):
    """The bill of the nodes, divided in several ways.

    ``nanodollars_per_hour`` is exactly idle + system + all ``namespaces`` + ``other_namespaces``, and the same with
    owners, or with the values of any label, in the place of namespaces; and it is the sum of the three resources.
    """

    basis: str
    """What counts of a pod: ``requests``, or ``max_of_requests_and_usage`` where its usage is known."""
    usage_pod_count: int
    """How many pods' usage is known."""
    nanodollars_per_hour: int
    """All nodes that have a price."""
    cpu_nanodollars_per_hour: int
    """The part of it that is for CPU."""
    memory_nanodollars_per_hour: int
    """The part of it that is for memory."""
    accelerator_nanodollars_per_hour: int
    """The part of it that is for accelerators."""
    idle_nanodollars_per_hour: int
    """Allocatable, and held by no pod."""
    system_nanodollars_per_hour: int
    """Capacity that is not allocatable: for the nodes' systems and kubelets."""
    namespaces: list[NamespaceCost]
    """The costliest first; a hundred at most, as of owners and of values."""
    other_namespaces: Rest
    """Those that are not in ``namespaces``."""
    owners: list[OwnerCost]
    """Likewise by workload."""
    other_owners: Rest
    """Those that are not in ``owners``."""
    labels: list[LabelCosts]
    """For each of COST_LABELS."""
