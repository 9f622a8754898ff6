"""Azure: whole lists of today, put in order; government regions by their factors in apache-libcloud. Pure.

The lists come from Azure's retail price API, whose rows for one size can be for Linux, for Windows or for something
that is no size at all. A Windows licence is $0.046 an hour for each vCPU, everywhere: a size that costs exactly that
more than its siblings do for a vCPU is listed with it.
"""

from __future__ import annotations

import re
import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping

from scripts.prices.table import Prices
from workers.metrics.pricing.families import family_of, whole_size
from workers.metrics.pricing.table import ANY

HOME = "eastus"

_SIZE = re.compile(r"Standard_([A-Z]+)(\d+)(?:-\d+)?[a-z]*(?:-\d+)?(?:_[A-Za-z0-9]+)*")
"""Family and vCPUs; then constrained vCPUs, features, accelerator and version."""

_NO_SIZE = re.compile(r"_(?:SPECIAL|ADHType\d+)$|^Standard_SQL")
"""Rows that are no sizes of a VM, though they are called so."""

_BY_VCPU = frozenset("DEF")
"""Families whose sizes cost the same for a vCPU, since their third generation."""

_LICENCE = 0.046
_EXACT = 0.0006

_LIBCLOUD_SIZE = re.compile(r"standard([a-z]+?)(\d+)([a-z]*?)(v\d)?")


def clean(published: Prices) -> Prices:
    """Without what is no size, with Linux prices where those of Windows were listed.

    A constrained size (Standard_E16-4as_v5) costs what the whole one does, and is left out where that is listed.
    """
    sizes = {region: {name: listed[name] for name in listed if _is_size(name)} for region, listed in published.items()}
    cleaned = {}
    home = _least_rates(sizes[HOME])
    for region, listed in sizes.items():
        linux = _without_licence(listed, home)
        cleaned[region] = {name: linux[name] for name in linux.keys() - _constrained(linux)}
    return cleaned


def government_ratios(
    libcloud: Mapping[str, Mapping[str, float]], regions: Iterable[str]
) -> dict[str, dict[str, float]]:
    """The same for regions that only libcloud has, from its list of 2020: one factor each, for all families."""
    found: dict[str, list[float]] = defaultdict(list)
    for key, figures in libcloud.items():
        if _LIBCLOUD_SIZE.fullmatch(key) and figures.get("eastus"):
            for region in set(figures) & set(regions):
                found[region].append(figures[region] / figures["eastus"])
    return {region: {ANY: statistics.median(factors)} for region, factors in found.items()}


def vcpus(name: str) -> int:
    """Of a size; those of the whole one for a constrained size."""
    match = _SIZE.fullmatch(name)
    return int(match[2]) if match else 0


def _is_size(name: str) -> bool:
    return bool(_SIZE.fullmatch(name)) and not _NO_SIZE.search(name)


def _constrained(listed: Mapping[str, float]) -> set[str]:
    """Constrained sizes whose whole one is listed."""
    return {name for name in listed if whole_size(name) != name and whole_size(name) in listed}


def _without_licence(listed: Mapping[str, float], home: Mapping[str, float]) -> dict[str, float]:
    """Prices of one region; ``home`` has the least price of each family for a vCPU in the home region."""
    least = _least_rates(listed)
    common = [rate / home[family] for family, rate in least.items() if family in home]
    factor = statistics.median(common) if common else 1.0
    for family, rate in least.items():
        if family in home and abs(rate - home[family] * factor - _LICENCE) < 0.1 * _LICENCE:
            least[family] = rate - _LICENCE  # All its sizes are listed so.
    linux = {}
    for name, dollars in listed.items():
        above = dollars / vcpus(name) - least[family_of("azure", name)] if _is_by_vcpu(name) else 0.0
        linux[name] = dollars - _LICENCE * vcpus(name) if abs(above - _LICENCE) < _EXACT else dollars
    return linux


def _least_rates(listed: Mapping[str, float]) -> dict[str, float]:
    """The least price for a vCPU of each family that is priced by them."""
    rates: dict[str, float] = {}
    for name, dollars in listed.items():
        if _is_by_vcpu(name):
            rate, family = dollars / vcpus(name), family_of("azure", name)
            rates[family] = min(rate, rates.get(family, rate))
    return rates


def _is_by_vcpu(name: str) -> bool:
    match = _SIZE.fullmatch(name)
    return bool(match and match[1] in _BY_VCPU and re.search(r"_v([3-9]|\d\d)$", name) and int(match[2]))
