"""Central's prices: the good ones are taken, whatever stands beside them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from shared.schemas.prices import MAX_PRICES, QuotedPrice, read_prices


def answer(*prices: Any, **more: Any) -> bytes:
    return json.dumps({"prices": list(prices), **more}).encode()


GOOD = {"instance_type": "m5.large", "dollars_per_hour": 0.06}


def test_a_price_is_for_every_region_and_on_demand_unless_it_says_otherwise() -> None:
    whole = {**GOOD, "region": "eu-west-1", "capacity": "spot", "currency": "USD"}
    assert read_prices(answer(GOOD, whole, as_of="today")) == (
        [
            QuotedPrice(instance_type="m5.large", dollars_per_hour=0.06),
            QuotedPrice(instance_type="m5.large", region="eu-west-1", capacity="spot", dollars_per_hour=0.06),
        ],
        0,
    )


@pytest.mark.parametrize(
    "bad",
    [
        None,
        "m5.large",
        {},
        {"instance_type": "m5.large"},
        {**GOOD, "instance_type": ""},
        {**GOOD, "instance_type": "x" * 101},
        {**GOOD, "region": ""},
        {**GOOD, "capacity": "reserved"},
        {**GOOD, "dollars_per_hour": -0.01},
        {**GOOD, "dollars_per_hour": 10_000},
        {**GOOD, "dollars_per_hour": float("nan")},
        {**GOOD, "dollars_per_hour": "dear"},
    ],
)
def test_a_malformed_one_is_left_out_and_counted(bad: Any) -> None:
    prices, left_out = read_prices(answer(bad, GOOD))
    assert (len(prices), left_out) == (1, 1)


def test_no_more_are_taken_than_fit() -> None:
    prices, left_out = read_prices(answer(*[GOOD] * (MAX_PRICES + 5)))
    assert (len(prices), left_out) == (MAX_PRICES, 5)


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"prices": {}}', b"null", b"[" * 100_000, b"\xff"])
def test_any_other_form_is_no_answer(body: bytes) -> None:
    with pytest.raises(ValueError, match=r".+"):
        read_prices(body)
