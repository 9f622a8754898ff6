"""What a node costs: the first source that knows, and which one it was."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from shared.kube.resources import Amount
from tests.unit.workers.metrics.conftest import LINUX
from workers.metrics.capacity import Capacity, Identity
from workers.metrics.pricing.owner import NO_OVERRIDES, OverrideFile, Overrides, parse_overrides
from workers.metrics.pricing.price import Price, nano
from workers.metrics.pricing.pricer import price
from workers.metrics.pricing.table import FORMAT, PriceTable

TWO_CPUS_EIGHT_GIB = Amount(2_000_000_000, 8 * 2**30)
SPOT = LINUX._replace(capacity=Capacity.SPOT)


@pytest.fixture
def table(tmp_path: Path) -> PriceTable:
    lines = [
        FORMAT,
        "source\taws\t2025-03-02\ttest",
        "prices\taws\teu-west-1\ton_demand\tm5.large=0.1 free.large=0",
        "prices\taws\teu-west-1\tspot\tm5.large=0.04",
        "prices\tgcp\teurope-west1\ton_demand\te2=0.2",
        "prices\toci\teu-frankfurt-1\ton_demand\tVM.Standard=0.06",
    ]
    path = tmp_path / "prices.txt"
    path.write_text("\n".join(lines) + "\n")
    return PriceTable(path)


def of(node: Identity, table: PriceTable, overrides: Overrides = NO_OVERRIDES, factor: float = 0.35) -> Price:
    return price(node, TWO_CPUS_EIGHT_GIB, overrides, table, factor)


def about(dollars: float, source: str) -> Price:
    """A price to compare with."""
    return Price(nano(dollars), source)


# -- which source ---------------------------------------------------------------------------------


def test_the_owners_price_comes_first(table: PriceTable) -> None:
    own = Overrides({"m5.large": 0.07}, {"m5.large": 0.01})
    assert of(LINUX, table, own) == about(0.07, "override")
    assert of(SPOT, table, own) == about(0.01, "override")


def test_the_owners_price_for_the_region_comes_before_that_for_all(table: PriceTable) -> None:
    own = Overrides({"m5.large": 0.07, "eu-west-1/m5.large": 0.08, "us-east-1/m5.large": 0.06}, {})
    assert of(LINUX, table, own) == about(0.08, "override")
    assert of(LINUX._replace(region="ap-south-1"), table, own) == about(0.07, "override")


def test_the_owners_price_may_be_zero(table: PriceTable) -> None:
    assert of(LINUX, table, Overrides({"m5.large": 0.0}, {})) == about(0.0, "override")


def test_the_table_comes_next(table: PriceTable) -> None:
    assert of(LINUX, table) == about(0.1, "table")
    assert of(SPOT, table) == about(0.04, "table")


def test_a_node_of_unknown_capacity_is_priced_as_on_demand(table: PriceTable) -> None:
    assert of(LINUX._replace(capacity=Capacity.UNKNOWN), table) == about(0.1, "table")


def test_a_spot_price_nobody_knows_is_a_part_of_the_on_demand_price(table: PriceTable) -> None:
    node = SPOT._replace(provider="gcp", region="europe-west1", instance_type="e2")
    assert of(node, table, factor=0.3) == about(0.06, "spot_factor")


def test_of_the_owners_on_demand_price_first(table: PriceTable) -> None:
    own = Overrides({"m9.large": 0.5}, {})
    assert of(SPOT._replace(instance_type="m9.large"), table, own, 0.4) == about(0.2, "spot_factor")


def test_oracles_preemptible_is_half_whatever_the_factor(table: PriceTable) -> None:
    node = SPOT._replace(provider="oci", region="eu-frankfurt-1", instance_type="VM.Standard")
    assert of(node, table, factor=0.9) == about(0.03, "spot_factor")


def test_a_type_nobody_knows_is_priced_by_what_it_has(table: PriceTable) -> None:
    unknown = LINUX._replace(instance_type="m99.large")
    assert of(unknown, table) == about(2 * 0.031611 + 8 * 0.004237, "fallback")
    spot = unknown._replace(capacity=Capacity.SPOT)
    assert of(spot, table) == about(2 * 0.006655 + 8 * 0.000892, "fallback")


def test_azure_has_rates_of_its_own(table: PriceTable) -> None:
    unknown = LINUX._replace(provider="azure", instance_type="Standard_X")
    assert of(unknown, table) == about(2 * 0.039 + 8 * 0.001917, "fallback")
    spot = unknown._replace(capacity=Capacity.SPOT)
    assert of(spot, table) == about(2 * 0.007764 + 8 * 0.000382, "fallback")


def test_a_zero_in_the_table_is_no_price(table: PriceTable) -> None:
    """A sixth of the source's prices were zero."""
    assert of(LINUX._replace(instance_type="free.large"), table).source == "fallback"


def test_the_tables_prices_are_those_of_linux(table: PriceTable) -> None:
    windows = LINUX._replace(os="windows")
    assert of(windows, table).source == "fallback"
    assert of(windows._replace(capacity=Capacity.SPOT), table).source == "fallback"
    assert of(windows, table, Overrides({"m5.large": 0.3}, {})) == about(0.3, "override")


def test_a_node_that_says_nothing_is_priced_all_the_same(table: PriceTable) -> None:
    nothing = Identity("", "", "", "", Capacity.UNKNOWN, "linux")
    assert of(nothing, table) == about(2 * 0.031611 + 8 * 0.004237, "fallback")
    assert price(nothing, Amount(0, 0), NO_OVERRIDES, table, 0.35) == about(0.0, "fallback")


# -- the owner's file -----------------------------------------------------------------------------


def test_prices_by_type_and_by_region() -> None:
    given = {"on_demand": {"m5.large": 0.1, "eu-west-1/m5.large": 1}, "spot": {"m5.large": 0.03}}
    assert parse_overrides(given) == Overrides({"m5.large": 0.1, "eu-west-1/m5.large": 1.0}, {"m5.large": 0.03})
    assert parse_overrides({}) == NO_OVERRIDES
    assert parse_overrides({"spot": {}}) == NO_OVERRIDES


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ([], "expected"),
        (None, "expected"),
        ({"m5.large": 0.1}, "expected"),
        ({"on-demand": {}}, "expected"),
        ({"on_demand": [0.1]}, "on_demand must map instance types to dollars an hour"),
        ({"spot": {"m5.large": "0.1"}}, "spot 'm5.large': '0.1' is no price in dollars an hour"),
        ({"spot": {"m5.large": None}}, "None is no price"),
        ({"spot": {"m5.large": True}}, "True is no price"),
        ({"spot": {"m5.large": -0.1}}, "-0.1 is no price"),
        ({"spot": {"m5.large": 10_000}}, "10000 is no price"),
        ({"spot": {"m5.large": float("nan")}}, "nan is no price"),
    ],
)
def test_any_other_form_is_refused_with_the_entry_that_is_wrong(document: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        parse_overrides(document)


def write(path: Path, content: str) -> None:
    """As a ConfigMap changes: another file under the same name."""
    fresh = path.with_suffix(".new")
    fresh.write_text(content)
    fresh.replace(path)


def test_without_a_file_there_are_no_prices_of_the_owners() -> None:
    assert OverrideFile(None).current() == NO_OVERRIDES


def test_the_file_is_read_again_when_it_changes(tmp_path: Path) -> None:
    path = tmp_path / "prices.json"
    write(path, '{"spot": {"m5.large": 0.1}}')
    file = OverrideFile(path)
    first = file.current()
    assert first.spot == {"m5.large": 0.1}
    assert file.current() is first, "not read again"
    write(path, '{"spot": {"m5.large": 0.2}}')
    assert file.current().spot == {"m5.large": 0.2}


def test_a_file_that_comes_late_or_goes_away_is_no_trouble(tmp_path: Path) -> None:
    path = tmp_path / "prices.json"
    file = OverrideFile(path)
    assert file.current() == NO_OVERRIDES
    write(path, '{"spot": {"m5.large": 0.1}}')
    assert file.current().spot == {"m5.large": 0.1}
    path.unlink()
    assert file.current() == NO_OVERRIDES
    write(path, '{"spot": {"m5.large": 0.2}}')
    assert file.current().spot == {"m5.large": 0.2}


@pytest.mark.parametrize("content", ["", "{", "[]", '{"spot": {"m5.large": "dear"}}', "\udcff"])
def test_a_broken_file_leaves_the_last_good_prices_and_says_so(
    tmp_path: Path, content: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "prices.json"
    write(path, '{"spot": {"m5.large": 0.1}}')
    file = OverrideFile(path)
    good = file.current()
    path.write_bytes(content.encode(errors="surrogateescape"))
    os.utime(path, (1, 1))
    assert file.current() == good
    assert f"PRICES_FILE {path} cannot be used, the last good prices stay" in caplog.text
    write(path, json.dumps({"spot": {"m5.large": 0.3}}))
    assert file.current().spot == {"m5.large": 0.3}
