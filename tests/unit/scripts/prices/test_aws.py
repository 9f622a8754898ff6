"""Repairing libcloud's AWS figures."""

from __future__ import annotations

import pytest

from scripts.prices.aws import families_priced_by_memory, repair

_GIB = {"m5.large": 8.0, "m5.xlarge": 16.0, "m5.2xlarge": 32.0, "g5.xlarge": 16.0, "g5.2xlarge": 32.0}


def published(**figures: float) -> dict[str, dict[str, float]]:
    """Figures of one region; ``m5_large`` is m5.large."""
    return {name.replace("_", "."): {"eu-west-1": figure} for name, figure in figures.items()}


def test_a_zero_gets_the_familys_price_by_memory() -> None:
    prices = repair(published(m5_large=0.1, m5_xlarge=0.0, m5_2xlarge=0.4004), _GIB)
    assert prices["eu-west-1"]["m5.xlarge"] == pytest.approx(0.2)


@pytest.mark.parametrize("premium", [1.06, 1.10])
def test_a_figure_of_dedicated_tenancy_gets_the_familys_price(premium: float) -> None:
    prices = repair(published(m5_large=0.1, m5_xlarge=0.2 * premium), _GIB)
    assert prices["eu-west-1"] == pytest.approx({"m5.large": 0.1, "m5.xlarge": 0.2})


def test_a_rounded_figure_stays_as_it_was_published() -> None:
    prices = repair(published(m5_large=0.101, m5_xlarge=0.2), _GIB)
    assert prices["eu-west-1"]["m5.large"] == 0.101


def test_the_rate_of_another_region_is_not_used() -> None:
    prices = repair({**published(m5_large=0.1, m5_xlarge=0.2002), "m5.2xlarge": {"us-east-1": 0.0}}, _GIB)
    assert "m5.2xlarge" not in prices["us-east-1"]


def test_a_family_with_accelerators_is_left_as_it_is_and_its_zeros_out() -> None:
    assert families_priced_by_memory({"eu-west-1": {"g5.xlarge": 1.0, "g5.2xlarge": 1.2}}, _GIB) == set()
    prices = repair({"g5.xlarge": {"eu-west-1": 1.0, "us-east-1": 0.0}, "g5.2xlarge": {"eu-west-1": 1.2}}, _GIB)
    assert prices == {"eu-west-1": {"g5.xlarge": 1.0, "g5.2xlarge": 1.2}, "us-east-1": {}}


def test_a_type_of_unknown_memory_keeps_its_figure_or_none() -> None:
    prices = repair(published(p3_2xlarge=3.3, p3_8xlarge=0.0), _GIB)
    assert prices["eu-west-1"] == {"p3.2xlarge": 3.3}


def test_hosts_and_local_zones_are_no_nodes() -> None:
    prices = repair({"m5": {"eu-west-1": 5.0}, "m5.large": {"us-west-2-lax-1": 0.115, "us-gov-west-1": 0.121}}, _GIB)
    assert prices == {"us-gov-west-1": {"m5.large": 0.121}}
