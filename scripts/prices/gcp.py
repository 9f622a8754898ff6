"""Google: lists of today, spot as a part of on-demand, and the GPUs that are attached to machines. Pure.

Spot prices are set by family and region: what part of the on-demand price they are is the same for a family's sizes
(720 ratios; the spread within one is 0.0% in the median), so the ratio is kept instead of the prices.
"""

from __future__ import annotations

import csv
from collections import defaultdict
from pathlib import Path

from scripts.prices.ratios import by_family
from scripts.prices.table import Prices

HOME = "us-central1"


def spot_ratios(on_demand: Prices, spot: Prices) -> dict[str, dict[str, float]]:
    """Region to family to what part of the on-demand price spot costs; ``*`` for all others."""
    ratios = {}
    for region, listed in spot.items():
        dearer = on_demand[region]
        ratios[region] = by_family("gcp", ((name, listed[name] / dearer[name]) for name in listed if name in dearer))
    return ratios


def read_gpus(path: Path) -> dict[str, dict[str, tuple[float, float]]]:
    """Region to model to a card's price on demand and as spot, from gpus.csv."""
    gpus: dict[str, dict[str, tuple[float, float]]] = defaultdict(dict)
    with path.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            gpus[row["region"]][row["model"]] = (float(row["on_demand"]), float(row["spot"]))
    return dict(gpus)
