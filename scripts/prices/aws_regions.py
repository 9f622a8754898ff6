"""AWS in the regions without a list of today: what holds of the old list, and by how much each family differs. Pure.

What a family costs more in a region than in us-east-1 is one factor for all of its sizes, and it does not change with
the years; nor does it differ much between a family and its successor. So a price is today's of us-east-1 times the
family's factor in the old list, or that of its closest relative there.
"""

from __future__ import annotations

import re
import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from scripts.prices.aws import least_rates
from scripts.prices.ratios import middle
from scripts.prices.table import Prices
from workers.metrics.pricing.families import family_of
from workers.metrics.pricing.table import ANY

HOME = "us-east-1"

_SAME = 0.01
"""Two figures that differ by less are the same price."""

_DEDICATED = (1.045, 1.13)
"""An old figure at home that is too high by such a factor was that of dedicated tenancy (see aws.py)."""

_NOISE = 1.02
"""Of a family's factors, those above the least by more are of figures of dedicated tenancy."""

_NAME = re.compile(r"([a-z]+?)(\d+)([a-z]*)(-[a-z0-9]+)?")
"""Class, generation, attributes and variant: m8idn is m, 8, idn; m7i-flex is m, 7, i, -flex."""


class _Parts(NamedTuple):
    letters: str
    generation: int
    processor: str
    attributes: frozenset[str]
    variant: str


def family_ratios(old: Prices, today: Mapping[str, float]) -> dict[str, dict[str, float]]:
    """Region to family to its factor, for every family of ``today``'s list of us-east-1; ``*`` for all others."""
    families = {family_of("aws", name) for name in today}
    ratios = {}
    for region in old.keys() - {HOME}:
        own = _own_ratios(old[region], old[HOME], today)
        if own:
            relatives = {family: own[relative] for family in families if (relative := closest(family, own))}
            ratios[region] = {**relatives, ANY: statistics.median(own.values())}
    return {**ratios, ANY: middle(ratios)}


def confirmed(old: Prices, today: Mapping[str, float], ratios: Mapping[str, Mapping[str, float]]) -> Prices:
    """The figures of the old list that still hold: today's price at home times the factor, or not sold at home."""
    return {
        region: {name: figures[name] for name in figures if _holds(name, figures[name], today, ratios[region])}
        for region, figures in old.items()
        if region in ratios
    }


def _holds(name: str, dollars: float, today: Mapping[str, float], ratios: Mapping[str, float]) -> bool:
    factor = ratios.get(family_of("aws", name))
    return name not in today or (factor is not None and abs(dollars / (today[name] * factor) - 1) <= _SAME)


def without_dedicated(listed: Prices, memory: Mapping[str, float]) -> Prices:
    """Lists of today in which bare metal costs what the largest size of its family does.

    They hold metal at 6 or 10% more than the size of the same memory, as libcloud's old figures do: the price of
    dedicated tenancy, which metal is by nature.
    """
    cleaned = {}
    for region, figures in listed.items():
        rates = least_rates({name: figures[name] for name in figures if ".metal" not in name}, memory)
        cleaned[region] = dict(figures)
        for name in figures:
            if ".metal" in name and name in memory and family_of("aws", name) in rates:
                by_rate = rates[family_of("aws", name)] * memory[name]
                if _DEDICATED[0] <= figures[name] / by_rate <= _DEDICATED[1]:
                    cleaned[region][name] = by_rate
    return cleaned


def closest(family: str, known: Iterable[str]) -> str | None:
    """``family`` itself, or the relative in ``known`` whose prices follow the same factor most likely; None of none.

    What counts most is the local disk (d), then the network (n): such families have factors of their own in a region.
    Then processor and variant; the generation counts least.
    """
    wanted = _parts(family)
    relatives = []
    for other in known:
        if other == family:
            return family
        parts = _parts(other)
        if wanted and parts and parts.letters == wanted.letters:
            relatives.append((_distance(wanted, parts), other))
    return min(relatives)[1] if relatives else None


def _own_ratios(there: Mapping[str, float], home: Mapping[str, float], today: Mapping[str, float]) -> dict[str, float]:
    factors: dict[str, list[float]] = defaultdict(list)
    for name, dollars in there.items():
        if name in home and name in today and ".metal" not in name:
            factors[family_of("aws", name)].append(dollars / _comparable(home[name], today[name]))
    return {
        family: statistics.median(factor for factor in found if factor <= min(found) * _NOISE)
        for family, found in factors.items()
    }


def _comparable(old: float, today: float) -> float:
    """The old price at home: today's, unless that was changed since."""
    above = old / today
    right = abs(above - 1) <= _SAME or _DEDICATED[0] <= above <= _DEDICATED[1]
    return today if right else old


def _parts(family: str) -> _Parts | None:
    match = _NAME.fullmatch(family)
    if match is None:
        return None
    letters, generation, attributes, variant = match.groups()
    processor = next((letter for letter in "ga" if letter in attributes), "i")
    return _Parts(letters, int(generation), processor, frozenset(attributes) - set("gai"), variant or "")


def _distance(one: _Parts, other: _Parts) -> int:
    differing = one.attributes ^ other.attributes
    return (
        10 * ("d" in differing)
        + 8 * ("n" in differing)
        + 3 * (one.processor != other.processor)
        + 2 * (one.variant != other.variant)
        + 2 * len(differing - {"d", "n"})
        + abs(one.generation - other.generation)
    )
