"""Kubernetes quantities: ``100m``, ``0.5``, ``1Gi``, ``128974848``, ``1e3``, ``512M``, ``100n``."""

from __future__ import annotations

import re
from functools import lru_cache

_SUFFIXES = {
    "": 1.0,
    "n": 1e-9,
    "u": 1e-6,
    "m": 1e-3,
    "k": 1e3,
    "M": 1e6,
    "G": 1e9,
    "T": 1e12,
    "P": 1e15,
    "E": 1e18,
    "Ki": 2.0**10,
    "Mi": 2.0**20,
    "Gi": 2.0**30,
    "Ti": 2.0**40,
    "Pi": 2.0**50,
    "Ei": 2.0**60,
}

_NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)"
# "1E" is an exa, "1E3" a thousand: an exponent and a suffix exclude each other.
_FORM = re.compile(rf"(?:({_NUMBER}[eE][+-]?\d+)|({_NUMBER})(n|u|m|k|[MGTPE]|[KMGTPE]i)?)")


def read_quantity(text: str) -> float:
    """The number that ``text`` stands for (cores, bytes).

    https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/

    Raises:
        ValueError: it is no quantity.
    """
    match = _FORM.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text!r} is not a quantity")
    return float(match[1] or match[2]) * _SUFFIXES[match[3] or ""]


parse_quantity = lru_cache(maxsize=4096)(read_quantity)
"""The same for what is asked for: a cluster writes the same few hundred quantities over and over."""
