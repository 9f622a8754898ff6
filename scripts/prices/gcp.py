"""Google: the prices of skrooge, on demand and spot (its ``preemptible``, which costs the same). Pure."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Any

from scripts.prices.table import Prices

Figures = Mapping[str, float]
"""What skrooge knows of a machine type in a region; a price it does not know is absent or zero."""

_REGION = re.compile(r"[a-z]+-[a-z]+\d+")
"""Leaves out the groups of regions: us, europe, asia-east."""

_NO_MACHINES = {"license"}


def on_demand(families: Mapping[str, Any]) -> Prices:
    """Without sustained-use discounts: they depend on the month, and E2 and the newer families have none."""
    return _prices(families, lambda figures: figures.get("ondemand", 0.0))


def spot(families: Mapping[str, Any]) -> Prices:
    """Only where it is below the on-demand price, as spot prices are."""
    return _prices(families, _spot)


def _spot(figures: Figures) -> float:
    price = figures.get("preemptible", 0.0)
    return price if price < figures.get("ondemand", 0.0) else 0.0


def _prices(families: Mapping[str, Any], price_of: Callable[[Figures], float]) -> Prices:
    regions: dict[str, dict[str, float]] = defaultdict(dict)
    for family in families.keys() - _NO_MACHINES:
        for name, machine in families[family].items():
            for region, figures in machine["regions"].items():
                price = price_of(figures)
                if price > 0 and _REGION.fullmatch(region):
                    regions[region][name] = price
    return regions
