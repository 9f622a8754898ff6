"""The prices that ship with the agent: US dollars an hour for Linux, read one region at a time.

``make prices`` writes ``data/prices.txt``; ``data/NOTICE`` names its sources and licences. Fields are separated by
tabs, the prices of a line by spaces::

    cloudoptim prices 1
    source  aws  2025-03-02  apache-libcloud 3.9.1, moto 5.2.5
    prices  aws  eu-west-1  on_demand  c5.large=0.096 c5.xlarge=0.192
    prices  gcp  europe-west1  spot  e2-standard-4=0.04423
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from functools import cached_property, lru_cache
from pathlib import Path
from typing import NamedTuple

FORMAT = "cloudoptim prices 1"
ON_DEMAND = "on_demand"
SPOT = "spot"
SHIPPED = Path(__file__).with_name("data") / "prices.txt"

_REGIONS_KEPT = 16
"""A cluster has one region, seldom a handful; more would be read again at every sample."""

_logger = logging.getLogger(__name__)


class RegionPrices(NamedTuple):
    """Instance type to dollars an hour."""

    on_demand: dict[str, float]
    spot: dict[str, float]


class PriceTable:
    """List prices by provider, region, instance type and kind of capacity; empty when its file cannot be used."""

    def __init__(self, path: Path = SHIPPED) -> None:
        self._path = path
        self._complained = False
        self._region = lru_cache(maxsize=_REGIONS_KEPT)(self._read_region)

    def find(self, provider: str, region: str, instance_type: str, spot: bool) -> float | None:
        """Dollars an hour; None for what the table does not list."""
        if not provider or not region:
            return None
        prices = self._region(provider, region)
        return (prices.spot if spot else prices.on_demand).get(instance_type)

    def as_of(self, provider: str) -> str | None:
        """The day (ISO) on which the provider's prices were collected; None for a provider without prices."""
        return self._days.get(provider)

    @cached_property
    def _days(self) -> dict[str, str]:
        return {fields[1]: fields[2] for fields in self._lines("source\t")}

    def _read_region(self, provider: str, region: str) -> RegionPrices:
        found: dict[str, dict[str, float]] = {ON_DEMAND: {}, SPOT: {}}
        for *_, kind, prices in self._lines(f"prices\t{provider}\t{region}\t"):
            for entry in prices.split(" "):
                instance_type, _, dollars = entry.partition("=")
                found[kind][instance_type] = float(dollars)
        return RegionPrices(found[ON_DEMAND], found[SPOT])

    def _lines(self, prefix: str) -> Iterator[list[str]]:
        """The fields of the lines that start with ``prefix``; only these are taken apart."""
        try:
            with self._path.open(encoding="ascii") as lines:
                if next(lines, "").rstrip("\n") != FORMAT:
                    raise ValueError(f"its first line is not {FORMAT!r}")
                for line in lines:
                    if line.startswith(prefix):
                        yield line.rstrip("\n").split("\t")
        except (OSError, ValueError) as error:
            if not self._complained:
                _logger.error("no list prices, nodes are priced by rates: %s: %s", self._path, error)
            self._complained = True
