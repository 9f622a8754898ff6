"""Prices that Central knows better than any list: with discounts, reservations and commitments in them."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError

from shared.schemas.wire import Incoming

MAX_PRICES = 1000
"""Of one answer that are taken in: ten for each type that is asked for."""

MAX_TYPES = 100
"""Instance types that are asked for at a time; a cluster has a few dozen."""


class QuotedPrice(Incoming):
    """What one instance type costs this cluster's owner."""

    instance_type: Annotated[str, Field(min_length=1, max_length=100)]
    """As the node's label ``node.kubernetes.io/instance-type`` has it, whatever the case."""
    region: Annotated[str, Field(min_length=1, max_length=64)] | None = None
    """As the label ``topology.kubernetes.io/region`` has it; null for every region."""
    capacity: Literal["on_demand", "spot"] = "on_demand"
    """How the machine was bought."""
    dollars_per_hour: Annotated[float, Field(ge=0, lt=10_000, allow_inf_nan=False)]
    """US dollars, for the whole machine with its accelerators."""


class Prices(Incoming):
    """An answer: a price for each type, region and kind of capacity that Central knows of those asked for."""

    prices: Annotated[list[QuotedPrice], Field(max_length=MAX_PRICES)]
    """What is known; entries that are malformed are passed over, and so are those beyond the most."""


def read_prices(body: bytes) -> tuple[list[QuotedPrice], int]:
    """The prices of an answer, and how many entries were left out: none of ours, or beyond MAX_PRICES.

    Raises:
        ValueError: it is no answer of this form at all.
    """
    try:
        document: Any = json.loads(body)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    entries = document.get("prices") if isinstance(document, dict) else None
    if not isinstance(entries, list):
        raise ValueError('expected {"prices": [...]}')
    prices: list[QuotedPrice] = []
    for entry in entries[:MAX_PRICES]:
        try:
            prices.append(QuotedPrice.model_validate(entry))
        except ValidationError:
            continue
    return prices, len(entries) - len(prices)
