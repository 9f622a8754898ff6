"""What a vCPU, a GiB and a card cost about, for machines in no list: from the lists themselves, at home. Pure."""

from __future__ import annotations

import re
import statistics
from collections import defaultdict
from collections.abc import Mapping
from typing import NamedTuple

from scripts.prices.azure import vcpus
from workers.metrics.pricing.families import GENERAL, MEMORY, class_of

_GCP_GIB = {"standard": 4.0, "highmem": 8.0}
_AZURE_GIB = {"D": 4.0, "E": 8.0, "B": 4.0, "F": 2.0, "L": 8.0}
_AZURE_SHAPE = re.compile(r"Standard_([DEBFL])\d+[ap]?d?s_v(\d+)")
_AWS_GENERATION = re.compile(r"[a-z]+([6-9])[a-z]*")

CARDS: Mapping[str, tuple[str, int]] = {
    "t4": ("g4dn.xlarge", 1),
    "t4g": ("g5g.xlarge", 1),
    "a10g": ("g5.xlarge", 1),
    "l4": ("g6.xlarge", 1),
    "l40s": ("g6e.xlarge", 1),
    "a100": ("p4d.24xlarge", 8),
    "h100": ("p5.48xlarge", 8),
    "h200": ("p5en.48xlarge", 8),
    "b200": ("p6-b200.48xlarge", 8),
    "inferentia": ("inf1.xlarge", 1),
    "inferentia2": ("inf2.xlarge", 1),
    "trainium": ("trn1.2xlarge", 1),
}
"""Model, by the word that stands for it in labels, to a machine of AWS that has it and how many of it."""

TPUS = {"tpu-v4": 3.22, "tpu-v5p": 4.2, "tpu-v6e": 2.7}
"""Dollars an hour for a chip in the cheapest regions, its host included (source: as of gpus.csv)."""


class Shape(NamedTuple):
    """What a machine has."""

    vcpus: float
    gib: float


def gcp_shape(name: str) -> Shape | None:
    """Of the newer families, whose names say it."""
    family, _, rest = name.partition("-")
    kind, _, number = rest.partition("-")
    if family in ("f1", "g1", "n1") or kind not in _GCP_GIB or not number.isdigit():
        return None
    return Shape(int(number), int(number) * _GCP_GIB[kind])


def azure_shape(name: str) -> Shape | None:
    """Of the series that have one ratio of memory to vCPUs, since their fourth version (B: since its second)."""
    match = _AZURE_SHAPE.fullmatch(name)
    if match is None or int(match[2]) < (2 if match[1] in "BF" else 3 if match[1] == "L" else 4):
        return None
    return Shape(vcpus(name), vcpus(name) * _AZURE_GIB[match[1]])


def is_current(aws_name: str) -> bool:
    """Whether a type is of the generations that an unknown type is most like: those since the sixth."""
    return bool(_AWS_GENERATION.match(aws_name)) or aws_name.startswith("t")


def rates(provider: str, listed: Mapping[str, float], shapes: Mapping[str, Shape]) -> dict[str, tuple[float, float]]:
    """Class of machines to dollars for a vCPU and for a GiB.

    A GiB costs the same in all classes: what the memory-heavy machines cost more than the general ones.
    """
    by_vcpu: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for name, dollars in listed.items():
        if shape := shapes.get(name):
            by_vcpu[class_of(provider, name)].append((dollars / shape.vcpus, shape.gib / shape.vcpus))
    general, memory = (_medians(by_vcpu[kind]) for kind in (GENERAL, MEMORY))
    gib = (memory[0] - general[0]) / (memory[1] - general[1])
    return {
        kind: (max(0.0, statistics.median(dollars - gib * ratio for dollars, ratio in found)), gib)
        for kind, found in by_vcpu.items()
    }


def cards(
    listed: Mapping[str, float],
    shapes: Mapping[str, Shape],
    general: tuple[float, float],
    attached: Mapping[str, tuple[float, float]],
) -> dict[str, float]:
    """Model to dollars an hour: what AWS' machines with such cards cost more than their vCPUs and memory would.

    ``attached`` are Google's cards, which have a price of their own.
    """
    found = {**TPUS, **{model.rpartition("-")[2]: on_demand for model, (on_demand, _) in attached.items()}}
    vcpu, gib = general
    for model, (name, count) in CARDS.items():
        if name in listed and name in shapes:
            shape = shapes[name]
            found[model] = (listed[name] - shape.vcpus * vcpu - shape.gib * gib) / count
    return found


def _medians(pairs: list[tuple[float, float]]) -> tuple[float, float]:
    first, second = zip(*pairs, strict=True)
    return statistics.median(first), statistics.median(second)
