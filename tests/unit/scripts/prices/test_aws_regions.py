"""AWS' prices in regions without a list of today."""

from __future__ import annotations

import pytest

from scripts.prices.aws_regions import closest, confirmed, family_ratios, without_dedicated

TODAY = {"m5.large": 0.1, "m5.xlarge": 0.2, "m8i.large": 0.11, "m8gd.large": 0.12, "p5.48xlarge": 55.0, "q1.large": 1.0}
OLD = {
    "us-east-1": {"m5.large": 0.1, "m5.xlarge": 0.2, "m6gd.large": 0.1, "p5.48xlarge": 98.0},
    "eu-west-1": {"m5.large": 0.115, "m5.xlarge": 0.253, "m6gd.large": 0.13, "p5.48xlarge": 107.8, "old.large": 3.0},
}


def test_a_familys_factor_is_that_of_its_figures_without_those_of_dedicated_tenancy() -> None:
    """m5.xlarge at 0.253 is 10% above what the family costs there."""
    assert family_ratios(OLD, TODAY)["eu-west-1"]["m5"] == pytest.approx(1.15)


def test_a_price_that_was_cut_since_does_not_change_the_factor() -> None:
    assert family_ratios(OLD, TODAY)["eu-west-1"]["p5"] == pytest.approx(1.1)


def test_a_new_family_has_the_factor_of_its_closest_relative_and_others_the_regions() -> None:
    ratios = family_ratios(OLD, TODAY)
    assert ratios["eu-west-1"]["m8i"] == pytest.approx(1.15)
    assert "q1" not in ratios["eu-west-1"]
    assert ratios["eu-west-1"]["*"] == pytest.approx(1.125)
    assert ratios["*"] == {"*": ratios["eu-west-1"]["*"]}


@pytest.mark.parametrize(
    ("family", "known", "relative"),
    [
        ("m8i", ["m7i", "m6i", "m6id"], "m7i"),
        ("m8gd", ["m7g", "m6gd", "m5d"], "m6gd"),
        ("c8gn", ["c8g", "c6gn"], "c6gn"),
        ("m8a", ["m7i", "m7a"], "m7a"),
        ("m8i-flex", ["m7i", "m7i-flex"], "m7i-flex"),
        ("i7ie", ["i3en", "i4i"], "i4i"),
        ("x9z", ["m5"], None),
        ("u-6tb1", ["m5", "u-6tb1"], "u-6tb1"),
    ],
)
def test_relatives(family: str, known: list[str], relative: str | None) -> None:
    assert closest(family, known) == relative


def test_old_figures_that_hold_are_kept_and_those_that_do_not_are_left_to_the_factor() -> None:
    kept = confirmed(OLD, TODAY, family_ratios(OLD, TODAY))["eu-west-1"]
    assert kept == {"m5.large": 0.115, "m6gd.large": 0.13, "old.large": 3.0}


def test_metal_costs_what_the_size_of_the_same_memory_does() -> None:
    memory = {"m7i.large": 8.0, "m7i.24xlarge": 384.0, "m7i.metal-24xl": 384.0, "m7i.metal-48xl": 768.0}
    listed = {"m7i.large": 0.1, "m7i.24xlarge": 4.8, "m7i.metal-24xl": 5.28, "m7i.metal-48xl": 15.0}
    cleaned = without_dedicated({"us-east-1": listed}, memory)
    assert cleaned == {"us-east-1": {**listed, "m7i.metal-24xl": pytest.approx(4.8)}}
