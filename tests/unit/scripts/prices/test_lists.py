"""Reading price lists."""

from __future__ import annotations

from pathlib import Path

import pytest

from scripts.prices.lists import read_list


def test_a_list_is_prices_by_region_and_type(tmp_path: Path) -> None:
    path = tmp_path / "gcp.csv"
    path.write_text("region,instance_type,on_demand,spot\na,e2-small,0.02,0.006\na,e2-medium,0.04,\n")
    assert read_list(path) == ({"a": {"e2-small": 0.02, "e2-medium": 0.04}}, {"a": {"e2-small": 0.006}})


def test_a_list_that_is_not_there_says_what_is_wanted_and_where(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"aws\.csv is not there\. `make prices PRICE_LISTS=<folder>` wants aws\.csv"):
        read_list(tmp_path / "aws.csv")


def test_other_columns_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "aws.csv"
    path.write_text("type,price\nm5.large,0.1\n")
    with pytest.raises(SystemExit, match="expected"):
        read_list(path)
