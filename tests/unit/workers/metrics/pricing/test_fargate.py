"""Pods on Fargate, by what EKS provisioned for them."""

from __future__ import annotations

import pytest

from workers.metrics.pricing.fargate import fargate, provisioned
from workers.metrics.pricing.price import UNPRICED, Price, nano
from workers.metrics.pricing.table import PriceTable


@pytest.mark.parametrize(
    ("said", "dollars"),
    [("0.25vCPU 0.5GB", 0.012), ("2vCPU 16GB", 0.144), ("1 vCPU  2 GB", 0.048), ("16vCPU 120GB", 1.12)],
)
def test_vcpus_and_gib_have_a_price_each(said: str, dollars: float, table: PriceTable) -> None:
    assert fargate(provisioned(said), "us-east-1", table) == Price(nano(dollars), "table")


def test_in_a_region_whose_prices_are_not_known_it_is_an_estimate(table: PriceTable) -> None:
    assert fargate(provisioned("1vCPU 2GB"), "eu-west-1", table) == Price(nano(0.048 * 1.1), "fallback")


@pytest.mark.parametrize("nonsense", ["", "1vCPU", "2GB", "-1vCPU 2GB", "1vCPU 2GB 3GB", "9" * 400 + "vCPU 2GB"])
def test_what_cannot_be_read_has_no_price(nonsense: str, table: PriceTable) -> None:
    assert fargate(provisioned(nonsense), "us-east-1", table) == UNPRICED


def test_without_a_region_there_is_no_price(table: PriceTable) -> None:
    assert fargate(provisioned("1vCPU 2GB"), "", table) == UNPRICED
