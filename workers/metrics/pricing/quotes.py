"""Prices that somebody names by instance type: the owner in a file, Central, a cloud's own API. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

ON_DEMAND, SPOT = "on_demand", "spot"

DEAREST = 10_000.0
"""Dollars an hour that nothing costs; a figure above is a mistake."""


@dataclass(frozen=True)
class Quotes:
    """Dollars an hour by ``instance type`` or ``region/instance type``, lower-cased."""

    on_demand: Mapping[str, float]
    spot: Mapping[str, float]

    def find(self, region: str, instance_type: str, spot: bool) -> float | None:
        """The price for exactly this kind of capacity, the region's first."""
        prices, name = self.spot if spot else self.on_demand, instance_type.lower()
        regional = prices.get(f"{region.lower()}/{name}")
        return regional if regional is not None else prices.get(name)


NO_QUOTES = Quotes({}, {})


def parse_quotes(document: Mapping[str, Any]) -> Quotes:
    """Quotes from ``{"on_demand": {"m5.large": 0.1, "eu-west-1/m5.large": 0.11}, "spot": {...}}``.

    Raises:
        ValueError: it has another form; the message names the entry.
    """
    parsed: dict[str, dict[str, float]] = {ON_DEMAND: {}, SPOT: {}}
    for kind, prices in document.items():
        if not isinstance(prices, dict):
            raise ValueError(f"{kind} must map instance types to dollars an hour")
        for name, dollars in prices.items():
            parsed[kind][name.lower()] = price_in(dollars, f"{kind} {name!r}")
    return Quotes(parsed[ON_DEMAND], parsed[SPOT])


def price_in(value: Any, where: str) -> float:
    """A figure of a document as dollars an hour. Raises ValueError, which names ``where`` it stands."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < DEAREST:
        raise ValueError(f"{where}: {value!r} is no price in dollars an hour")
    return float(value)
