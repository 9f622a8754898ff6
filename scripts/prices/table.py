"""The price table as a text: equal prices give equal bytes, whatever their order. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from workers.metrics.pricing.table import FORMAT

Prices = Mapping[str, Mapping[str, float]]
"""Region to instance type to dollars an hour, spelt as the labels of Kubernetes nodes spell them."""

PLAUSIBLE = (0.001, 1_000.0)
"""Dollars an hour: from below the smallest shared-core machine to above the largest there is."""


class Listing(NamedTuple):
    """What one provider asks for one kind of capacity."""

    provider: str
    kind: str
    prices: Prices


class Source(NamedTuple):
    """Where a provider's prices come from, and the day (ISO) on which they were collected."""

    provider: str
    as_of: str
    packages: str


def render(sources: Iterable[Source], listings: Iterable[Listing]) -> str:
    """The text that workers/metrics/pricing/table.py reads; regions without a plausible price are left out."""
    lines = [FORMAT]
    lines += ["\t".join(("source", *source)) for source in sorted(sources)]
    regions = sorted(
        (listing.provider, region, listing.kind, prices)
        for listing in listings
        for region, known in listing.prices.items()
        if (prices := _entries(known))
    )
    lines += ["\t".join(("prices", *fields)) for fields in regions]
    return "\n".join(lines) + "\n"


def _entries(prices: Mapping[str, float]) -> str:
    """``type=dollars`` in order; six digits are more than any provider's list has."""
    low, high = PLAUSIBLE
    return " ".join(f"{name}={dollars:.6g}" for name, dollars in sorted(prices.items()) if low <= dollars <= high)
