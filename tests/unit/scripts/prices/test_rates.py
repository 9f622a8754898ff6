"""Rates for what is in no list, from what is."""

from __future__ import annotations

import pytest

from scripts.prices.rates import Shape, azure_shape, cards, gcp_shape, rates

SHAPES = {
    "m7i.large": Shape(2, 8),
    "r7i.large": Shape(2, 16),
    "c7i.large": Shape(2, 4),
    "g6.xlarge": Shape(4, 16),
    "p4d.24xlarge": Shape(96, 1152),
}


def test_a_gib_is_what_memory_makes_dearer_and_a_vcpu_is_the_rest() -> None:
    listed = {"m7i.large": 0.1, "r7i.large": 0.132, "c7i.large": 0.09, "unknown.large": 9.0}
    found = rates("aws", listed, SHAPES)
    assert found["general"] == pytest.approx((0.034, 0.004))
    assert found["memory"] == pytest.approx((0.034, 0.004))
    assert found["compute"] == pytest.approx((0.037, 0.004))


def test_a_card_is_what_a_machine_with_cards_costs_more() -> None:
    found = cards({"g6.xlarge": 0.8}, SHAPES, (0.034, 0.004), {"nvidia-tesla-v100": (2.48, 1.0)})
    assert found["l4"] == pytest.approx(0.8 - 4 * 0.034 - 16 * 0.004)
    assert found["v100"] == 2.48
    assert "a100" not in found, "not listed"


@pytest.mark.parametrize(
    ("name", "shape"),
    [("n2-highmem-8", Shape(8, 64)), ("e2-standard-4", Shape(4, 16)), ("n1-standard-4", None), ("e2-medium", None)],
)
def test_google_says_the_shape_in_the_name(name: str, shape: Shape | None) -> None:
    assert gcp_shape(name) == shape


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("Standard_D4as_v5", Shape(4, 16)),
        ("Standard_E8ds_v5", Shape(8, 64)),
        ("Standard_F8s_v2", Shape(8, 16)),
        ("Standard_D4s_v3", None),
        ("Standard_NC4as_T4_v3", None),
    ],
)
def test_and_so_do_azures_newer_series(name: str, shape: Shape | None) -> None:
    assert azure_shape(name) == shape
