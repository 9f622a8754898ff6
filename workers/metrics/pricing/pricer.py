"""What a node costs an hour, from the first source that knows.

Sources in order: the owner's own prices, the table that ships with the agent, and rates per vCPU and GiB. How many
nodes each source priced goes into the sample: an estimate never looks like a price.
"""

from __future__ import annotations

from typing import NamedTuple

from shared.kube.resources import GIB, NANO, Amount
from workers.metrics.capacity import Capacity, Identity
from workers.metrics.pricing.owner import Overrides
from workers.metrics.pricing.price import FALLBACK, OVERRIDE, SPOT_FACTOR, TABLE, Price, nano
from workers.metrics.pricing.table import PriceTable


class Rate(NamedTuple):
    """Dollars an hour for one vCPU and for one GiB."""

    vcpu: float
    gib: float


_RATES = {
    Capacity.ON_DEMAND: {"": Rate(0.031611, 0.004237), "azure": Rate(0.039, 0.001917)},
    Capacity.SPOT: {"": Rate(0.006655, 0.000892), "azure": Rate(0.007764, 0.000382)},
}
"""By capacity and provider; those of Google's E2, and of Azure's general-purpose sizes."""

_OCI_PREEMPTIBLE = 0.5
"""Oracle: preemptible capacity is half of on-demand, always."""


def price(
    node: Identity,
    allocatable: Amount,
    overrides: Overrides,
    table: PriceTable,
    spot_factor: float,
) -> Price:
    """The price of one node, from the first source that knows it."""
    spot = node.capacity is Capacity.SPOT
    own = overrides.find(node, spot)
    if own is not None:
        return Price(nano(own), OVERRIDE)
    if node.os == "linux" and (listed := table.find(node.provider, node.region, node.instance_type, spot)):
        return Price(nano(listed), TABLE)
    if spot:
        factor = _OCI_PREEMPTIBLE if node.provider == "oci" else spot_factor
        on_demand = overrides.find(node, spot=False)
        if on_demand is None and node.os == "linux":
            on_demand = table.find(node.provider, node.region, node.instance_type, spot=False)
        if on_demand is not None:
            return Price(nano(on_demand * factor), SPOT_FACTOR)
    return Price(nano(_by_rate(node.provider, allocatable, spot, spot_factor)), FALLBACK)


def _by_rate(provider: str, allocatable: Amount, spot: bool, spot_factor: float) -> float:
    rates = _RATES[Capacity.SPOT if spot else Capacity.ON_DEMAND]
    rate = rates.get(provider, rates[""])
    return allocatable.cpu / NANO * rate.vcpu + allocatable.memory / GIB * rate.gib
