"""The reader of the shipped prices, on a small table and on the shipped one."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import cast

import pytest

from tests.unit.workers.metrics.pricing.conftest import LINES, written
from workers.metrics.pricing.price import DERIVED, FALLBACK, TABLE
from workers.metrics.pricing.table import NO_RATE, SHIPPED, Listed, PriceTable, Rate


def about(dollars: float) -> float:
    """``dollars``, give or take what floats do."""
    return cast(float, pytest.approx(dollars))


@pytest.mark.parametrize(
    ("provider", "region", "instance_type", "dollars"),
    [
        ("aws", "eu-west-1", "m5.large", 0.107),
        ("aws", "us-east-1", "m5.xlarge", 0.192),
        ("gcp", "europe-west1", "e2-standard-4", 0.1474),
        ("azure", "eastus", "Standard_D4s_v5", 0.192),
    ],
)
def test_finds_the_price_of_a_type_in_its_region(
    table: PriceTable, provider: str, region: str, instance_type: str, dollars: float
) -> None:
    assert table.find(provider, region, instance_type) == Listed(dollars, TABLE)


def test_case_is_no_matter(table: PriceTable) -> None:
    """AKS writes Standard_D4s_v5; people who name their own sizes write what they like, and so do some tools."""
    assert table.find("azure", "EastUS", "standard_d4S_V5") == Listed(0.192, TABLE)


def test_a_constrained_size_costs_what_the_whole_one_does_unless_it_is_listed(table: PriceTable) -> None:
    assert table.find("azure", "eastus", "Standard_E16-4as_v5") == Listed(0.904, TABLE)
    assert table.find("azure", "eastus", "Standard_E16-8as_v5") == Listed(0.8, TABLE)


def test_a_type_the_region_does_not_list_is_derived_from_home_by_its_familys_ratio(table: PriceTable) -> None:
    assert table.find("aws", "eu-west-1", "m5.xlarge") == Listed(about(0.192 * 1.115), DERIVED)
    assert table.find("aws", "eu-west-1", "m8i.large") == Listed(about(0.15), DERIVED)


def test_where_only_the_regions_ratio_is_known_that_is_a_rough_price(table: PriceTable) -> None:
    assert table.find("aws", "eu-west-1", "p6.large") == Listed(about(9.9), FALLBACK)
    assert table.find("aws", "mx-central-1", "m5.large") == Listed(about(0.096 * 1.2), FALLBACK)


@pytest.mark.parametrize(
    ("provider", "region", "instance_type", "dollars"),
    [
        ("aws", "us-east-1", "m9i.large", 0.1),
        ("aws", "eu-west-1", "m10i.large", 0.15),
        ("aws", "us-east-1", "m6.xlarge", 0.192),
        ("azure", "eastus", "Standard_D4s_v6", 0.192),
        ("gcp", "us-central1", "e3-standard-4", 0.134),
    ],
)
def test_a_type_that_is_newer_than_the_table_costs_about_what_the_one_before_it_does(
    table: PriceTable, provider: str, region: str, instance_type: str, dollars: float
) -> None:
    assert table.find(provider, region, instance_type) == Listed(about(dollars), FALLBACK)


def test_but_not_what_one_long_before_it_does(table: PriceTable) -> None:
    assert table.find("aws", "us-east-1", "m11i.large") is None


@pytest.mark.parametrize(
    ("provider", "region", "instance_type"),
    [("aws", "eu-west-1", "m9.large"), ("oci", "eu-west-1", "m5.large"), ("aws", "", "m5.large"), ("aws", "x", "")],
)
def test_knows_what_it_does_not_list(table: PriceTable, provider: str, region: str, instance_type: str) -> None:
    assert table.find(provider, region, instance_type) is None


@pytest.mark.parametrize(
    ("region", "instance_type", "dollars"),
    [
        ("us-central1", "n2-custom-4-16384", 4 * 0.033174 + 16 * 0.004446),
        ("europe-west1", "n2-custom-4-16384", 4 * 0.036489 + 16 * 0.004892),
        ("us-central1", "custom-8-30720", 8 * 0.033174 + 30 * 0.004446),
        ("us-central1", "e2-custom-4-8192", 4 * 0.02181159 + 8 * 0.00292353),
        ("southamerica-east1", "n2d-custom-8-32768", 8 * 0.043657 + 32 * 0.005851),
    ],
)
def test_a_custom_machine_costs_what_its_parts_do(region: str, instance_type: str, dollars: float) -> None:
    """The prices of parts are those that libcloud lists for custom machines."""
    found = PriceTable().find("gcp", region, instance_type)
    assert found is not None
    assert found.source == DERIVED
    assert found.dollars == pytest.approx(dollars, rel=0.01)


def test_a_custom_machine_of_a_family_without_such_sizes_is_not_known(table: PriceTable) -> None:
    assert table.find("gcp", "us-central1", "c9-custom-4-16384") is None


def test_what_part_of_it_spot_costs(table: PriceTable) -> None:
    assert table.spot_ratio("gcp", "us-central1", "e2-standard-4") == 0.3
    assert table.spot_ratio("gcp", "us-central1", "c4-standard-4") == 0.25
    assert table.spot_ratio("gcp", "europe-west1", "e2-standard-4") is None
    assert table.spot_ratio("aws", "eu-west-1", "m5.large") is None


def test_cards(table: PriceTable) -> None:
    assert table.gpu("gcp", "us-central1", "nvidia-tesla-v100", False) == 2.48
    assert table.gpu("gcp", "us-central1", "nvidia-tesla-t4", True) == 0.175
    assert table.gpu("gcp", "us-central1", "nvidia-h100", False) is None
    assert table.card("nvidia-a100-sxm4-40gb") == 2
    assert table.card("tesla-t4") == 0.3
    assert table.card("nvidia-l40s") is None, "not an L4"


def test_rates_are_those_of_the_kind_of_machine_and_of_the_region(table: PriceTable) -> None:
    assert table.rate("aws", "us-east-1", "c99.large") == Rate(0.04, 0.002)
    assert table.rate("aws", "eu-west-1", "q1.large") == Rate(about(0.055), about(0.0033))
    assert table.rate("hetzner", "fsn1", "cx22") == NO_RATE


def test_fargate_is_listed_for_some_regions_and_rough_for_others(table: PriceTable) -> None:
    assert table.fargate("us-east-1") == (Rate(0.04, 0.004), TABLE)
    assert table.fargate("eu-west-1") == (Rate(about(0.044), about(0.0044)), FALLBACK)
    assert table.fargate("") is None


def test_says_how_old_a_providers_prices_are(table: PriceTable) -> None:
    assert table.as_of("gcp") == "2026-08-03"
    assert table.as_of("oci") is None


def test_a_type_is_looked_up_once(table: PriceTable, tmp_path: Path) -> None:
    assert table.find("aws", "eu-west-1", "m5.large") == Listed(0.107, TABLE)
    (tmp_path / "prices.txt").unlink()
    assert table.find("aws", "eu-west-1", "m5.large") == Listed(0.107, TABLE)


@pytest.mark.parametrize("lines", [None, [], ["cloudoptim prices 1", *LINES[1:]]])
def test_a_file_that_cannot_be_used_is_an_empty_table_and_one_line_in_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, lines: list[str] | None
) -> None:
    path = tmp_path / "absent.txt" if lines is None else written(tmp_path, lines)
    table = PriceTable(path)
    with caplog.at_level(logging.ERROR):
        assert table.find("aws", "eu-west-1", "m5.large") is None
        assert table.spot_ratio("gcp", "us-central1", "e2-standard-4") is None
        assert table.card("t4") is None
        assert table.rate("aws", "eu-west-1", "m5.large") == NO_RATE
        assert table.as_of("aws") is None
    assert len(caplog.records) == 1
    assert str(path) in caplog.text


@pytest.mark.parametrize(
    ("provider", "region", "instance_type", "dollars"),
    [
        ("aws", "us-east-1", "m5.large", 0.096),
        ("aws", "us-east-1", "m8i.large", 0.10584),
        ("aws", "us-west-2", "m5.large", 0.096),  # dedicated tenancy in libcloud
        ("aws", "eu-west-1", "m5.xlarge", 0.214),
        ("aws", "us-east-1", "p4d.24xlarge", 21.957642),
        ("aws", "us-east-1", "m7i.metal-24xl", 4.8384),  # dedicated tenancy in the list
        ("azure", "westeurope", "Standard_D4s_v3", 0.24),
        ("azure", "eastus", "Standard_DS2_v2", 0.146),
        ("azure", "eastus", "Standard_D2as_v5", 0.086),  # a Windows price in the list
        ("azure", "swedencentral", "Standard_D4s_v5", 0.204),
        ("gcp", "us-central1", "e2-standard-4", 0.134),
        ("gcp", "europe-west1", "n2-standard-4", 0.2137),
        ("gcp", "us-central1", "n4-standard-16", 0.7256),
    ],
)
def test_the_shipped_table_has_the_published_prices(
    provider: str, region: str, instance_type: str, dollars: float
) -> None:
    found = PriceTable().find(provider, region, instance_type)
    assert found is not None
    assert found.source == TABLE
    assert found.dollars == pytest.approx(dollars, rel=0.001)


def test_every_line_of_the_shipped_table_can_be_read() -> None:
    table = PriceTable()
    types: dict[str, list[str]] = {}
    for line in SHIPPED.read_text(encoding="ascii").splitlines()[1:]:
        kind, provider, *rest = line.split("\t")
        assert provider == "*" or table.as_of(provider)
        if kind == "types":
            types[provider] = rest[0].split(" ")
        elif kind == "prices":
            region, prices = rest
            cells = prices.split(" ")
            assert table.find(provider, region, types[provider][len(cells) - 1]) == Listed(float(cells[-1]), TABLE)
        elif kind != "source":
            for pair in rest[-1].split(" "):
                assert all(float(value) > 0 for value in pair.partition("=")[2].split("/")), line


def test_the_shipped_table_is_small() -> None:
    assert SHIPPED.stat().st_size <= 1_000_000
