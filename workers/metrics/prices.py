"""What a node costs an hour, from the first source that knows. US dollars.

Sources in order: the operator's own prices (a mounted ConfigMap key), the table that ships with the agent, and
a rate per vCPU and GiB. How many nodes each source priced goes into the sample: an estimate never looks like
a price.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from workers.metrics.capacity import Capacity, Identity
from workers.metrics.price_table import PriceTable
from workers.metrics.resources import NANO, Amount

OVERRIDE = "override"
TABLE = "table"
SPOT_FACTOR = "spot_factor"
"""The on-demand price is known, the spot price is a part of it by SPOT_PRICE_FACTOR."""
FALLBACK = "fallback"
"""Rates per vCPU and GiB."""

GIB = 2**30

_logger = logging.getLogger(__name__)


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


class Price(NamedTuple):
    """A node's price and where it comes from."""

    dollars: float
    source: str


@dataclass(frozen=True)
class Overrides:
    """The operator's prices: ``instance type`` or ``region/instance type`` to on-demand and spot dollars."""

    on_demand: Mapping[str, float]
    spot: Mapping[str, float]

    def find(self, node: Identity, spot: bool) -> float | None:
        """The price for exactly this kind of capacity, the region's first."""
        prices = self.spot if spot else self.on_demand
        regional = prices.get(f"{node.region}/{node.instance_type}")
        return regional if regional is not None else prices.get(node.instance_type)


NO_OVERRIDES = Overrides({}, {})


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
        return Price(own, OVERRIDE)
    if node.os == "linux" and (listed := table.find(node.provider, node.region, node.instance_type, spot)):
        return Price(listed, TABLE)
    if spot:
        factor = _OCI_PREEMPTIBLE if node.provider == "oci" else spot_factor
        on_demand = overrides.find(node, spot=False)
        if on_demand is None and node.os == "linux":
            on_demand = table.find(node.provider, node.region, node.instance_type, spot=False)
        if on_demand is not None:
            return Price(on_demand * factor, SPOT_FACTOR)
    return Price(_by_rate(node.provider, allocatable, spot, spot_factor), FALLBACK)


def _by_rate(provider: str, allocatable: Amount, spot: bool, spot_factor: float) -> float:
    rates = _RATES[Capacity.SPOT if spot else Capacity.ON_DEMAND]
    rate = rates.get(provider, rates[""])
    return allocatable.cpu / NANO * rate.vcpu + allocatable.memory / GIB * rate.gib


class OverrideFile:
    """The operator's prices in a file, read again when it changes; a broken one leaves the last good prices."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._seen: tuple[int, int] | None = None
        self._overrides = NO_OVERRIDES

    def current(self) -> Overrides:
        """The prices to use now."""
        if self._path is None:
            return NO_OVERRIDES
        try:
            status = self._path.stat()
            seen = (status.st_mtime_ns, status.st_ino)
            if seen != self._seen:
                self._overrides = parse_overrides(json.loads(self._path.read_text(encoding="utf-8")))
                self._seen = seen
                _logger.info("read prices from %s", self._path)
        except FileNotFoundError:
            self._overrides, self._seen = NO_OVERRIDES, None
        except (OSError, ValueError, TypeError) as error:
            _logger.warning("PRICES_FILE %s cannot be used, the last good prices stay: %s", self._path, error)
        return self._overrides


def parse_overrides(document: Any) -> Overrides:
    """Prices from ``{"on_demand": {"m5.large": 0.1, "eu-west-1/m5.large": 0.11}, "spot": {...}}``.

    Raises:
        ValueError: it has another form; the message names the entry.
    """
    if not isinstance(document, dict) or set(document) - {"on_demand", "spot"}:
        raise ValueError('expected {"on_demand": {type: dollars}, "spot": {type: dollars}}')
    parsed: dict[str, dict[str, float]] = {"on_demand": {}, "spot": {}}
    for kind, prices in document.items():
        if not isinstance(prices, dict):
            raise ValueError(f"{kind} must map instance types to dollars an hour")
        for name, dollars in prices.items():
            if isinstance(dollars, bool) or not isinstance(dollars, (int, float)) or not 0 <= dollars < 10_000:
                raise ValueError(f"{kind} {name!r}: {dollars!r} is no price in dollars an hour")
            parsed[kind][name] = float(dollars)
    return Overrides(parsed["on_demand"], parsed["spot"])
