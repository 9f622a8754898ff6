"""How many times its home price a family costs in another region, from lists of both. Pure."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping

from scripts.prices.table import Prices
from workers.metrics.pricing.families import family_of
from workers.metrics.pricing.table import ANY


def family_ratios(provider: str, prices: Prices, home: str) -> dict[str, dict[str, float]]:
    """Region to family to its factor; ``*`` for all others, of either.

    Only families of which a size that home has is not listed in the region: nobody asks for the others.
    """
    ratios = {}
    for region, listed in prices.items():
        if region == home:
            continue
        common = ((name, dollars / prices[home][name]) for name, dollars in listed.items() if name in prices[home])
        lacking = {ANY, *(family_of(provider, name) for name in prices[home].keys() - listed.keys())}
        factors = by_family(provider, common)
        ratios[region] = {family: factor for family, factor in factors.items() if family in lacking}
    return {**ratios, ANY: middle(ratios)}


def by_family(provider: str, factors: Iterable[tuple[str, float]]) -> dict[str, float]:
    """The median of each family's factors, and (``*``) that of the families."""
    found: dict[str, list[float]] = defaultdict(list)
    for name, factor in factors:
        found[family_of(provider, name)].append(factor)
    medians = {family: statistics.median(values) for family, values in found.items()}
    return {**medians, ANY: statistics.median(medians.values())}


def middle(ratios: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """What holds for regions of which nothing is known."""
    return {ANY: statistics.median(factors[ANY] for factors in ratios.values())}
