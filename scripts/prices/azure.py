"""Azure: the Linux pay-as-you-go prices of apache-libcloud under the names Kubernetes nodes carry. Pure.

libcloud's keys are those of Azure's price calculator: ``standardd4sv3`` is ``Standard_D4s_v3``. Left out are
``basic...`` (AKS has no such nodes) and ``lowpriority...`` (Azure Batch, a flat fifth of the price: not Spot).
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping

from scripts.prices.table import Prices

_SIZE = re.compile(r"standard([a-z]+?)(\d+)([a-z]*?)(t4)?(v\d)?(promo)?")
"""Family, number, features, accelerator, version and promotion."""

_IRREGULAR = {"standarddc8sv2": "Standard_DC8_v2"}

_CLOSED = {"germanycentral", "germanynortheast"}
"""Microsoft Cloud Germany ended in October 2021."""


def rename(published: Mapping[str, Mapping[str, float]]) -> Prices:
    """Prices by region and size from figures by libcloud's key and region."""
    regions: dict[str, dict[str, float]] = defaultdict(dict)
    for key, figures in published.items():
        size = size_name(key)
        if size is not None:
            for region in figures.keys() - _CLOSED:
                regions[region][size] = figures[region]
    return regions


def size_name(key: str) -> str | None:
    """``Standard_NC4as_T4_v3`` for ``standardnc4ast4v3``; None for what is no size of a Kubernetes node."""
    if key in _IRREGULAR:
        return _IRREGULAR[key]
    match = _SIZE.fullmatch(key)
    if match is None:
        return None
    family, number, features, accelerator, version, promotion = match.groups()
    if family == "d" and features == "s" and version is None:
        family, features = "ds", ""  # the first generation spells premium storage in front: Standard_DS2
    size = family.upper() + number + features
    parts = ("Standard", size, accelerator and accelerator.upper(), version, promotion and "Promo")
    return "_".join(part for part in parts if part)
