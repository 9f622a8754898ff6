"""The owner's prices in a file."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from workers.metrics.pricing.owner import SAYS_NOTHING, Owner, OwnerFile, OwnRates, parse_owner
from workers.metrics.pricing.quotes import NO_QUOTES, Quotes


def test_prices_by_type_and_by_region() -> None:
    given = {"on_demand": {"m5.large": 0.1, "eu-west-1/m5.large": 1}, "spot": {"m5.large": 0.03}}
    assert parse_owner(given) == Owner(Quotes({"m5.large": 0.1, "eu-west-1/m5.large": 1.0}, {"m5.large": 0.03}))
    assert parse_owner({}) == SAYS_NOTHING
    assert parse_owner({"spot": {}}) == SAYS_NOTHING


def test_names_are_kept_without_regard_to_case() -> None:
    assert parse_owner({"on_demand": {"WestEurope/Standard_D4s_v5": 0.1}}).quotes.on_demand == {
        "westeurope/standard_d4s_v5": 0.1
    }


def test_rates_for_the_owners_own_machines() -> None:
    assert parse_owner({"rates": {"vcpu": 0.01, "gib": 0.002}}) == Owner(NO_QUOTES, OwnRates(0.01, 0.002, 0.0))


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
        ({"rates": {}}, "rates must map some of vcpu, gib, gpu to dollars an hour"),
        ({"rates": {"cpu": 0.1}}, "rates must map some of vcpu"),
        ({"rates": {"vcpu": "0.1"}}, "rates 'vcpu': '0.1' is no price"),
    ],
)
def test_any_other_form_is_refused_with_the_entry_that_is_wrong(document: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        parse_owner(document)


def write(path: Path, content: str) -> None:
    """As a ConfigMap changes: another file under the same name."""
    fresh = path.with_suffix(".new")
    fresh.write_text(content)
    fresh.replace(path)


def test_without_a_file_there_are_no_prices_of_the_owners() -> None:
    assert OwnerFile(None).current() == SAYS_NOTHING


def test_the_file_is_read_again_when_it_changes(tmp_path: Path) -> None:
    path = tmp_path / "prices.json"
    write(path, '{"spot": {"m5.large": 0.1}}')
    file = OwnerFile(path)
    first = file.current()
    assert first.quotes.spot == {"m5.large": 0.1}
    assert file.current() is first, "not read again"
    write(path, '{"spot": {"m5.large": 0.2}}')
    assert file.current().quotes.spot == {"m5.large": 0.2}


def test_a_file_that_comes_late_or_goes_away_is_no_trouble(tmp_path: Path) -> None:
    path = tmp_path / "prices.json"
    file = OwnerFile(path)
    assert file.current() == SAYS_NOTHING
    write(path, '{"spot": {"m5.large": 0.1}}')
    assert file.current().quotes.spot == {"m5.large": 0.1}
    path.unlink()
    assert file.current() == SAYS_NOTHING
    write(path, '{"spot": {"m5.large": 0.2}}')
    assert file.current().quotes.spot == {"m5.large": 0.2}


@pytest.mark.parametrize("content", ["", "{", "[]", '{"spot": {"m5.large": "dear"}}', "\udcff"])
def test_a_broken_file_leaves_the_last_good_prices_and_says_so(
    tmp_path: Path, content: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "prices.json"
    write(path, '{"spot": {"m5.large": 0.1}}')
    file = OwnerFile(path)
    good = file.current()
    path.write_bytes(content.encode(errors="surrogateescape"))
    os.utime(path, (1, 1))
    assert file.current() == good
    assert f"PRICES_FILE {path} cannot be used, the last good prices stay" in caplog.text
    write(path, json.dumps({"spot": {"m5.large": 0.3}}))
    assert file.current().quotes.spot == {"m5.large": 0.3}
