"""A price: whole nano-dollars an hour, so that parts of it can sum to the whole, and where it comes from."""

from __future__ import annotations

from typing import NamedTuple

NANO_DOLLARS = 1_000_000_000
"""Of these is one dollar."""

OVERRIDE = "override"
"""The owner's own, from PRICES_FILE."""
CENTRAL = "central"
"""Central's, which knows discounts and commitments."""
LIVE = "live"
"""Asked of the cloud itself, where the owner opted in."""
TABLE = "table"
"""A list price that ships with the agent."""
DERIVED = "derived"
"""A list price of another region, times what the two regions differ by in an older family of the same kind."""
SPOT_RATIO = "spot_ratio"
"""The on-demand price is known, and what part of it spot costs in this region and family."""
SPOT_FACTOR = "spot_factor"
"""The on-demand price is known; the spot price is a part of it by SPOT_PRICE_FACTOR."""
FALLBACK = "fallback"
"""Rates per vCPU, GiB and accelerator."""
UNKNOWN = "unknown"
"""Nobody knows: hardware of the owner's, with no rate given. It counts as nothing in the sums, and is counted."""


class Price(NamedTuple):
    """What a node costs an hour in nano-dollars, or None where nobody knows, and where the figure comes from."""

    nanodollars: int | None
    source: str


UNPRICED = Price(None, UNKNOWN)


def nano(dollars: float) -> int:
    """Dollars as whole nano-dollars."""
    return round(dollars * NANO_DOLLARS)


def dollars(nanodollars: int) -> float:
    """Nano-dollars as dollars, to six digits: what the sample shows."""
    return round(nanodollars / NANO_DOLLARS, 6)
