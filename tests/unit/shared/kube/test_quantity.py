"""Quantities, in every form Kubernetes writes them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.kube.quantity import parse_quantity


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("0", 0),
        ("1", 1),
        ("128974848", 128974848),
        ("0.5", 0.5),
        (".5", 0.5),
        ("5.", 5),
        ("+1", 1),
        ("-1", -1),
        ("100n", 1e-7),
        ("100u", 1e-4),
        ("100m", 0.1),
        ("1500m", 1.5),
        ("0.1m", 1e-4),
        ("2k", 2000),
        ("512M", 512e6),
        ("2G", 2e9),
        ("2T", 2e12),
        ("2P", 2e15),
        ("1E", 1e18),
        ("2Ki", 2048),
        ("1.5Ki", 1536),
        ("2Mi", 2 * 2**20),
        ("1Gi", 2**30),
        ("2Ti", 2 * 2**40),
        ("2Pi", 2 * 2**50),
        ("2Ei", 2 * 2**60),
        ("1e3", 1000),
        ("1E3", 1000),
        ("1e+3", 1000),
        ("1e-3", 0.001),
        ("12e0", 12),
        (" 1Gi\n", 2**30),
    ],
)
def test_a_quantity_is_a_number(text: str, number: float) -> None:
    assert parse_quantity(text) == pytest.approx(number, rel=1e-12)


NONE = ["", " ", "m", "Gi", "1K", "1KI", "1gi", "1mi", "1 Gi", "1e", "0x10", "1,5", "--1", "1.2.3", "NaN", "inf"]


@pytest.mark.parametrize("text", [*NONE, "1e3M", "1E3Gi"])
def test_anything_else_is_none(text: str) -> None:
    with pytest.raises(ValueError, match="is not a quantity"):
        parse_quantity(text)


@given(st.integers(0, 10**15), st.sampled_from(["n", "u", "m", "", "k", "M", "G", "Ki", "Mi", "Gi"]))
def test_a_suffix_is_a_factor(number: int, suffix: str) -> None:
    assert parse_quantity(f"{number}{suffix}") == pytest.approx(number * parse_quantity(f"1{suffix}"))


@given(st.text(max_size=12))
def test_every_text_is_a_quantity_or_a_value_error(text: str) -> None:
    try:
        assert isinstance(parse_quantity(text), float)
    except ValueError:
        pass
