"""Which family an instance type belongs to, and what kind of machine that is. Pure.

A family's sizes cost the same in proportion, and what it costs more in one region than in another is one factor for
all of them; scripts/prices/ builds on that, and so does who reads its table.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

BURSTABLE, GENERAL, COMPUTE, MEMORY, STORAGE = "burstable", "general", "compute", "memory", "storage"

_AZURE_NUMBER = re.compile(r"\d+(?:-\d+)?")
_CONSTRAINED = re.compile(r"(\d[a-z]*)-\d+", re.IGNORECASE)
_CUSTOM = re.compile(r"(?:([a-z]\d[a-z]?)-)?custom-(\d{1,3})-(\d{3,7})(?:-ext)?")
_GENERATION = {
    "aws": re.compile(r"([a-z]{1,4})(\d{1,2})([a-z-]*\..+)"),
    "azure": re.compile(r"(.+_v)(\d{1,2})()"),
    "gcp": re.compile(r"([a-z])(\d{1,2})([a-z]?-.+)"),
}
"""What stands before the generation, the generation, and what stands after it."""

_WITH_ACCELERATORS = re.compile(r"(?:[gp]|gr|inf|trn|dl|vt|f)\d+[a-z0-9-]*\.|standard_n|(?:[ag]|ct)\d[a-z]?-")
"""AWS' types with GPUs, Inferentia, Trainium, Gaudi, transcoders and FPGAs; Azure's N series; Google's A, G and TPU."""

_GENERATIONS = 2
"""How far back a price says something about today's."""

_LETTERS = re.compile(r"[a-z]+")

_AWS = {"t": BURSTABLE, "c": COMPUTE, "r": MEMORY, "x": MEMORY, "u": MEMORY, "z": MEMORY, "i": STORAGE, "d": STORAGE}
_AWS_WHOLE = {"hpc": COMPUTE, "im": STORAGE, "is": STORAGE, "inf": GENERAL, "dl": GENERAL}
_AZURE = {"b": BURSTABLE, "f": COMPUTE, "h": COMPUTE, "e": MEMORY, "m": MEMORY, "g": MEMORY, "l": STORAGE}
_GCP = {"f1": BURSTABLE, "g1": BURSTABLE, "e2": BURSTABLE, "c2": COMPUTE, "h3": COMPUTE, "z3": STORAGE}
_GCP_SHAPES = {"highcpu": COMPUTE, "highmem": MEMORY, "megamem": MEMORY, "ultramem": MEMORY, "hypermem": MEMORY}

_GCP_WITH_CARDS = re.compile(r"(?:a[2-9]|g[2-9]|ct)")
"""Families whose price holds their GPUs or TPUs; to all others of Google's, cards are attached and paid apart."""


class Custom(NamedTuple):
    """A custom machine type of Google's."""

    family: str
    vcpus: int
    gib: float

    @property
    def gib_of_eight(self) -> tuple[float, float]:
        """Memory of the family's standard-8 and highmem-8."""
        return (30.0, 52.0) if self.family == "n1" else (32.0, 64.0)

    @property
    def premium(self) -> float:
        """What custom costs more: 5% in N1 and N2, nothing in E2 and N2D (held against libcloud's custom prices)."""
        return 1.05 if self.family in ("n1", "n2") else 1.0


def custom_of(instance_type: str) -> Custom | None:
    """``n2-custom-4-16384``, or ``custom-4-15360`` of N1: vCPUs and MiB; ``-ext`` with more memory for each vCPU."""
    match = _CUSTOM.fullmatch(instance_type.lower())
    return Custom(match[1] or "n1", int(match[2]), int(match[3]) / 1024) if match else None


def family_of(provider: str, instance_type: str) -> str:
    """``m5`` of m5.large, ``standard_das_v5`` of Standard_D4as_v5, ``n2d`` of n2d-standard-4; lower-case."""
    name = instance_type.lower()
    if provider == "azure":
        return _AZURE_NUMBER.sub("", name, count=1)
    if provider == "gcp" and name.startswith("custom-"):
        return "n1"
    return name.partition("." if provider == "aws" else "-")[0]


def class_of(provider: str, instance_type: str) -> str:
    """What the fallback rates are told apart by; GENERAL for what is not known."""
    name = instance_type.lower()
    if provider == "aws":
        letters = _start(name)
        return _AWS_WHOLE.get(letters) or _AWS.get(letters[:1], GENERAL)
    if provider == "azure":
        return _AZURE.get(_start(name.partition("_")[2])[:1], GENERAL)
    if provider == "gcp":
        family, _, shape = name.partition("-")
        return _GCP.get(family) or _GCP_SHAPES.get(shape.partition("-")[0], GENERAL)
    return GENERAL


def pays_cards_apart(provider: str, instance_type: str) -> bool:
    """Whether a node's accelerators are not in the price of its type."""
    return provider == "gcp" and not _GCP_WITH_CARDS.match(instance_type.lower())


def predecessors(provider: str, instance_type: str) -> Iterator[str]:
    """The same size of the generations before, the latest first: m8i.large and m7i.large of m9i.large.

    None of types with accelerators: a new generation has other ones.
    """
    name = instance_type.lower()
    match = _GENERATION[provider].fullmatch(name) if provider in _GENERATION else None
    if match is not None and not _WITH_ACCELERATORS.match(name):
        before, generation, after = match.groups()
        for older in range(int(generation) - 1, max(0, int(generation) - 1 - _GENERATIONS), -1):
            yield f"{before}{older}{after}"


def whole_size(instance_type: str) -> str:
    """Azure's sizes with constrained vCPUs (Standard_E16-4as_v5, _M96s-24_1_v3) cost what the whole size does."""
    return _CONSTRAINED.sub(r"\1", instance_type, count=1)


def _start(name: str) -> str:
    letters = _LETTERS.match(name)
    return letters[0] if letters else ""
