"""Taking Google's prices from skrooge."""

from __future__ import annotations

from scripts.prices.gcp import on_demand, spot

_FAMILIES = {
    "e2": {
        "e2-medium": {"regions": {"europe": {"ondemand": 0.04}, "europe-west1": {"ondemand": 0.037, "preemptible": 0}}},
        "e2-small": {"regions": {"europe-west1": {"ondemand": 0.018, "preemptible": 0.006}, "us-east5": {}}},
        "e2-micro": {"regions": {"europe-west1": {"ondemand": 0.009, "preemptible": 0.01}}},
    },
    "license": {"rhel": {"cores": 4}},
}


def test_groups_of_regions_and_unknown_prices_are_left_out() -> None:
    assert on_demand(_FAMILIES) == {"europe-west1": {"e2-medium": 0.037, "e2-small": 0.018, "e2-micro": 0.009}}


def test_a_spot_price_above_the_on_demand_price_is_left_out() -> None:
    assert spot(_FAMILIES) == {"europe-west1": {"e2-small": 0.006}}
