"""What a node costs an hour, from the first source that knows.

Sources in order: the owner's own prices, Central's, the cloud's own where the owner wants it asked, the table that
ships with the agent (listed, then derived), and rates per vCPU, GiB and card. How many nodes each source priced goes
into the sample: an estimate never looks like a price.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from shared.kube.resources import GIB, NANO, Amount
from workers.metrics.accelerators import Accelerator
from workers.metrics.capacity import Capacity, Identity
from workers.metrics.pricing.families import pays_cards_apart
from workers.metrics.pricing.owner import Owner
from workers.metrics.pricing.price import (
    CENTRAL,
    FALLBACK,
    LIVE,
    OVERRIDE,
    SPOT_FACTOR,
    SPOT_RATIO,
    UNPRICED,
    Price,
    nano,
)
from workers.metrics.pricing.quotes import NO_QUOTES, Quotes
from workers.metrics.pricing.table import PriceTable

RENTED_FROM = frozenset(
    [
        "alibaba",
        "aws",
        "azure",
        "digitalocean",
        "exoscale",
        "gcp",
        "hetzner",
        "ibm",
        "linode",
        "oci",
        "ovh",
        "scaleway",
        "tencent",
        "upcloud",
        "vultr",
    ]
)
"""Providers that let machines by the hour. All others' are the owner's: EKS hybrid, bare metal, vSphere, OpenStack."""

_OCI_PREEMPTIBLE = 0.5
"""Oracle: preemptible capacity is half of on-demand, always."""

_SHAPES = (1, 2, 4, 8, 16, 32)
"""GiB for each vCPU in which clouds cut machines, about; what allocatable lacks to the next is the system's."""

_CARD = 1.0
"""Dollars an hour of an accelerator of which not even the model is known: between a T4 and an A100."""


@dataclass(frozen=True)
class Sources:
    """Who is asked for prices."""

    owner: Owner
    table: PriceTable
    spot_factor: float
    central: Quotes = NO_QUOTES
    live: Quotes = NO_QUOTES

    def quotes(self, node: Identity) -> Iterator[tuple[str, Quotes]]:
        """Who names prices by type, in order, and the source they are counted as; a cloud's are those of Linux."""
        yield OVERRIDE, self.owner.quotes
        yield CENTRAL, self.central
        if node.os == "linux":
            yield LIVE, self.live


def price(node: Identity, allocatable: Amount, sources: Sources) -> Price:
    """The price of one machine, from the first source that knows it."""
    spot = node.capacity is Capacity.SPOT
    quoted = _quoted(node, sources, spot)
    if quoted is not None:
        return quoted
    listed = _listed(node, sources, spot)
    if listed is not None:
        return listed
    if sources.owner.rates is not None:
        rates = sources.owner.rates
        cards = sum(accelerator.cards for accelerator in node.accelerators)
        dollars = allocatable.cpu / NANO * rates.vcpu + allocatable.memory / GIB * rates.gib + cards * rates.gpu
        return Price(nano(dollars), FALLBACK)
    return _by_rate(node, allocatable, sources, spot) if node.provider in RENTED_FROM else UNPRICED


def _quoted(node: Identity, sources: Sources, spot: bool) -> Price | None:
    """What somebody says this type costs, cards included."""
    for source, quotes in sources.quotes(node):
        dollars = quotes.find(node.region, node.instance_type, spot)
        if dollars is not None:
            return Price(nano(dollars), source)
    return None


def _listed(node: Identity, sources: Sources, spot: bool) -> Price | None:
    """What the table says, and of spot what part of on-demand it is."""
    if spot:
        for _, quotes in sources.quotes(node):
            dollars = quotes.find(node.region, node.instance_type, spot=False)
            if dollars is not None:
                return Price(nano(dollars * _spot_factor(node, sources)), SPOT_FACTOR)
    found = sources.table.find(node.provider, node.region, node.instance_type) if node.os == "linux" else None
    if found is None:
        return None
    dollars, source = found
    if spot:
        ratio = sources.table.spot_ratio(node.provider, node.region, node.instance_type)
        dollars *= _spot_factor(node, sources) if ratio is None else ratio
        if source != FALLBACK:
            source = SPOT_FACTOR if ratio is None else SPOT_RATIO
    if node.accelerators and pays_cards_apart(node.provider, node.instance_type):
        for accelerator in node.accelerators:
            each = sources.table.gpu(node.provider, node.region, accelerator.model, spot)
            if each is None or not accelerator.cards:
                each, source = _card(accelerator, node, sources, spot), FALLBACK
            dollars += each * accelerator.paid
    return Price(nano(dollars), source)


def _by_rate(node: Identity, allocatable: Amount, sources: Sources, spot: bool) -> Price:
    """Rates of the provider's machines of this kind, for the machine that the node's allocatable must be of."""
    rate = sources.table.rate(node.provider, node.region, node.instance_type)
    vcpus, gib = _machine(allocatable)
    dollars = vcpus * rate.vcpu + gib * rate.gib
    if spot:
        dollars *= _spot_part(node, sources)
    for accelerator in node.accelerators:
        dollars += _card(accelerator, node, sources, spot) * accelerator.paid
    return Price(nano(dollars), FALLBACK)


def _machine(allocatable: Amount) -> tuple[float, float]:
    """vCPUs and GiB that are paid for: more than pods can have, by what system and kubelet reserve."""
    vcpus, gib = math.ceil(allocatable.cpu / NANO), allocatable.memory / GIB
    # The kubelet and the system take a sixth at most, but on the smallest machines.
    shape = next((shape for shape in _SHAPES if gib <= shape * vcpus <= gib * 1.25), None)
    return vcpus, gib if shape is None else shape * vcpus


def _card(accelerator: Accelerator, node: Identity, sources: Sources, spot: bool) -> float:
    """About what one card costs."""
    dollars = sources.table.card(accelerator.model)
    return (_CARD if dollars is None else dollars) * (_spot_part(node, sources) if spot else 1.0)


def _spot_part(node: Identity, sources: Sources) -> float:
    ratio = sources.table.spot_ratio(node.provider, node.region, node.instance_type)
    return _spot_factor(node, sources) if ratio is None else ratio


def _spot_factor(node: Identity, sources: Sources) -> float:
    return _OCI_PREEMPTIBLE if node.provider == "oci" else sources.spot_factor
