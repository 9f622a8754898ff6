"""Writing the price table."""

from __future__ import annotations

from pathlib import Path

import pytest

from scripts.prices.table import Provider, render
from workers.metrics.pricing.price import DERIVED, TABLE
from workers.metrics.pricing.table import Listed, PriceTable, Rate

PRICES = {"us-east-1": {"m5.large": 0.096, "m5.10xlarge": 1.92, "m5.2xlarge": 0.384}, "eu-west-1": {"m5.2xlarge": 0.43}}


def provider(name: str = "aws", **more: object) -> Provider:
    return Provider(name, "2026-07-20", "us-east-1", **{"prices": PRICES, **more})  # type: ignore[arg-type]


def test_what_is_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "prices.txt"
    whole = provider(
        ratios={"eu-west-1": {"m5": 1.12, "*": 1.1}},
        spot={"us-east-1": {"*": 0.3}},
        gpus={"us-east-1": {"nvidia-tesla-t4": (0.35, 0.175)}},
        fargate={"us-east-1": (0.04, 0.004)},
        rates={"general": (0.05, 0.003)},
    )
    path.write_text(render([whole], {"t4": 0.3}), encoding="ascii")
    table = PriceTable(path)
    assert table.find("aws", "us-east-1", "m5.10xlarge") == Listed(1.92, TABLE)
    assert table.find("aws", "eu-west-1", "m5.2xlarge") == Listed(0.43, TABLE)
    derived = table.find("aws", "eu-west-1", "m5.large")
    assert derived is not None
    assert derived.dollars == pytest.approx(0.096 * 1.12)
    assert derived.source == DERIVED
    assert table.spot_ratio("aws", "us-east-1", "m5.large") == 0.3
    assert table.gpu("aws", "us-east-1", "nvidia-tesla-t4", True) == 0.175
    assert table.fargate("us-east-1") == (Rate(0.04, 0.004), TABLE)
    assert table.rate("aws", "us-east-1", "m9.large") == Rate(0.05, 0.003)
    assert table.card("tesla-t4") == 0.3
    assert table.as_of("aws") == "2026-07-20"


def test_sizes_of_a_family_stand_together_by_size() -> None:
    assert "\nprices\taws\tus-east-1\t.384 1.92 .096\n" in render([provider()], {})
    assert "\ntypes\taws\tm5.2xlarge m5.10xlarge m5.large\n" in render([provider()], {})


def test_equal_prices_are_equal_bytes_whatever_their_order() -> None:
    one, other = {"e2-small": 0.0168, "e2-medium": 1 / 3}, {"e2-medium": 1 / 3, "e2-small": 0.0168}
    turned = provider("gcp", prices={"us-east1": other, "asia-east1": one})
    gcp = provider("gcp", prices={"asia-east1": one, "us-east1": one})
    assert render([provider(), gcp], {"a": 1, "b": 2}) == render([turned, provider()], {"b": 2, "a": 1})


def test_implausible_prices_and_empty_regions_are_left_out() -> None:
    text = render([provider(prices={"a": {"x": 0.0}, "b": {"x": 0.5, "y": 0.0, "z": 5e4}})], {})
    assert [line for line in text.splitlines() if line.startswith(("types", "prices"))] == [
        "types\taws\tx",
        "prices\taws\tb\t.5",
    ]
