"""AWS: the Linux on-demand prices of apache-libcloud, repaired, for the regions that have no list of today. Pure.

Of the figures in ``ec2_linux`` (3.9.1), 17% are zero and many are those of dedicated tenancy, 6 or 10% too high. Most
families cost the same per GiB of memory in all sizes, so the least non-zero figure per GiB of a family in a region
gives the price of every size. Families with accelerators do not: there a zero stays unknown.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Mapping

from scripts.prices.table import Prices

_REGION = re.compile(r"[a-z]{2}(-[a-z]+)+-\d")
"""Leaves out local zones (us-west-2-lax-1): their nodes carry the label of the region, whose prices differ."""

_ROUNDED = 1.02
"""A size's own figure may be above the family's rate by this factor; AWS rounds, most on the smallest sizes."""

_DEDICATED = (1.045, 1.13)
"""A figure of dedicated tenancy is above the family's rate by a factor in this range."""

_LINEAR = 0.9
"""A family is priced by memory when this share of its figures fits its rates; others reach 0.74 at most."""


def repair(published: Mapping[str, Mapping[str, float]], memory: Mapping[str, float]) -> Prices:
    """Prices by region from figures by instance type and region, and the GiB of each type.

    A figure that fits its family's rate, or cannot be judged, stays; a zero that cannot be repaired is left out.
    """
    regions = _by_region(published)
    linear = families_priced_by_memory(regions, memory)
    repaired: dict[str, dict[str, float]] = {}
    for region, figures in regions.items():
        rates = least_rates(figures, memory)
        repaired[region] = {}
        for name, figure in figures.items():
            family = family_of(name)
            if family in linear and family in rates and name in memory:
                by_rate = rates[family] * memory[name]
                repaired[region][name] = figure if 0 < figure <= by_rate * _ROUNDED else by_rate
            elif figure > 0:
                repaired[region][name] = figure
    return repaired


def families_priced_by_memory(regions: Prices, memory: Mapping[str, float]) -> set[str]:
    """Families whose sizes cost the same per GiB, judged by the regions that have figures of two sizes or more."""
    fits: dict[str, list[bool]] = defaultdict(list)
    for figures in regions.values():
        rates = least_rates(figures, memory)
        known = {name: figure for name, figure in figures.items() if figure > 0 and name in memory}
        sizes = Counter(map(family_of, known))
        for name, figure in known.items():
            family = family_of(name)
            if sizes[family] > 1:
                fits[family].append(_fits(figure / (rates[family] * memory[name])))
    return {family for family, judged in fits.items() if sum(judged) >= _LINEAR * len(judged)}


def least_rates(figures: Mapping[str, float], memory: Mapping[str, float]) -> dict[str, float]:
    """The least non-zero dollars per GiB of each family in one region."""
    rates: dict[str, float] = {}
    for name, figure in figures.items():
        if figure > 0 and name in memory:
            rate = figure / memory[name]
            rates[family_of(name)] = min(rate, rates.get(family_of(name), rate))
    return rates


def family_of(name: str) -> str:
    """``m5`` of ``m5.large``."""
    return name.partition(".")[0]


def _fits(above: float) -> bool:
    """Whether a figure this many times its family's rate is the same price, rounded or for dedicated tenancy."""
    return above <= _ROUNDED or _DEDICATED[0] <= above <= _DEDICATED[1]


def _by_region(published: Mapping[str, Mapping[str, float]]) -> Prices:
    """By region, without the entries that are no instance types: ``m5`` alone is a dedicated host."""
    regions: dict[str, dict[str, float]] = defaultdict(dict)
    for name, figures in published.items():
        for region, figure in figures.items():
            if "." in name and _REGION.fullmatch(region):
                regions[region][name] = figure
    return regions
