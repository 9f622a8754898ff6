"""The loader of the shipped prices, on a small table and on the shipped one."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from workers.metrics.pricing.table import FORMAT, ON_DEMAND, SHIPPED, SPOT, PriceTable

_LINES = [
    FORMAT,
    "source\taws\t2025-03-02\tapache-libcloud 3.9.1",
    "source\tgcp\t2024-01-23\tskrooge 1.1.0",
    "prices\taws\teu-west-1\ton_demand\tc5.large=0.096 m5.large=0.107",
    "prices\taws\teu-west-10\ton_demand\tm5.large=9.9",
    "prices\tgcp\teurope-west1\ton_demand\te2-standard-4=0.1474",
    "prices\tgcp\teurope-west1\tspot\te2-standard-4=0.0442",
]


@pytest.fixture
def table(tmp_path: Path) -> PriceTable:
    return PriceTable(written(tmp_path, _LINES))


def written(folder: Path, lines: list[str]) -> Path:
    path = folder / "prices.txt"
    path.write_text("\n".join(lines) + "\n", encoding="ascii")
    return path


def test_finds_the_price_of_a_type_in_its_region(table: PriceTable) -> None:
    assert table.find("aws", "eu-west-1", "m5.large", spot=False) == 0.107
    assert table.find("gcp", "europe-west1", "e2-standard-4", spot=False) == 0.1474
    assert table.find("gcp", "europe-west1", "e2-standard-4", spot=True) == 0.0442


@pytest.mark.parametrize(
    ("provider", "region", "instance_type", "spot"),
    [
        ("aws", "eu-west-1", "m5.large", True),
        ("aws", "eu-west-1", "m9.large", False),
        ("aws", "eu-west-2", "m5.large", False),
        ("aws", "eu-west", "m5.large", False),
        ("oci", "eu-west-1", "m5.large", False),
        ("", "", "", False),
    ],
)
def test_knows_what_it_does_not_list(
    table: PriceTable, provider: str, region: str, instance_type: str, spot: bool
) -> None:
    assert table.find(provider, region, instance_type, spot) is None


def test_says_how_old_a_providers_prices_are(table: PriceTable) -> None:
    assert table.as_of("gcp") == "2024-01-23"
    assert table.as_of("oci") is None


def test_a_region_is_read_once(table: PriceTable, tmp_path: Path) -> None:
    assert table.find("aws", "eu-west-1", "m5.large", spot=False) == 0.107
    (tmp_path / "prices.txt").unlink()
    assert table.find("aws", "eu-west-1", "c5.large", spot=False) == 0.096


@pytest.mark.parametrize("lines", [None, [], ["cloudoptim prices 2", *_LINES[1:]]])
def test_a_file_that_cannot_be_used_is_an_empty_table_and_one_line_in_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, lines: list[str] | None
) -> None:
    path = tmp_path / "absent.txt" if lines is None else written(tmp_path, lines)
    table = PriceTable(path)
    with caplog.at_level(logging.ERROR):
        assert table.find("aws", "eu-west-1", "m5.large", spot=False) is None
        assert table.find("gcp", "europe-west1", "e2-standard-4", spot=True) is None
        assert table.as_of("aws") is None
    assert len(caplog.records) == 1
    assert str(path) in caplog.text


@pytest.mark.parametrize(
    ("provider", "region", "instance_type", "dollars"),
    [
        ("aws", "us-east-1", "m5.large", 0.096),
        ("aws", "us-east-1", "m5.xlarge", 0.192),  # zero in the source
        ("aws", "us-east-1", "t3.medium", 0.0416),  # zero in the source
        ("aws", "us-west-2", "m5.large", 0.096),  # dedicated tenancy in the source
        ("azure", "westeurope", "Standard_D4s_v3", 0.24),
        ("azure", "eastus", "Standard_DS2_v2", 0.146),
        ("gcp", "us-central1", "e2-standard-4", 0.134),
        ("gcp", "europe-west1", "n2-standard-4", 0.2137),
    ],
)
def test_the_shipped_table_has_the_published_prices(
    provider: str, region: str, instance_type: str, dollars: float
) -> None:
    assert PriceTable().find(provider, region, instance_type, spot=False) == pytest.approx(dollars, rel=0.001)


def test_every_line_of_the_shipped_table_can_be_read() -> None:
    table = PriceTable()
    for line in SHIPPED.read_text(encoding="ascii").splitlines():
        kind, *fields = line.split("\t")
        if kind == "prices":
            provider, region, capacity, prices = fields
            assert capacity in (ON_DEMAND, SPOT)
            assert table.as_of(provider)
            last = prices.split(" ")[-1].partition("=")[0]
            assert table.find(provider, region, last, capacity == SPOT)
