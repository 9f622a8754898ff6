"""Google's spot prices as parts of on-demand, and its cards."""

from __future__ import annotations

from pathlib import Path

import pytest

from scripts import build_prices
from scripts.prices.gcp import read_gpus, spot_ratios


def test_spot_is_one_ratio_for_each_family_and_region() -> None:
    on_demand = {"us-east1": {"e2-small": 0.1, "e2-medium": 0.2, "n2-standard-2": 1.0}}
    spot = {"us-east1": {"e2-small": 0.03, "e2-medium": 0.06, "n2-standard-2": 0.5, "n9-gone": 1.0}}
    assert spot_ratios(on_demand, spot) == {
        "us-east1": {"e2": pytest.approx(0.3), "n2": pytest.approx(0.5), "*": pytest.approx(0.4)}
    }


def test_the_cards_we_know_have_a_price_where_google_attaches_them() -> None:
    gpus = read_gpus(Path(build_prices.__file__).parent / "prices" / "gpus.csv")
    assert gpus["us-central1"]["nvidia-tesla-v100"] == (2.48, 1.0885)
    assert all(0 < spot < on_demand for models in gpus.values() for on_demand, spot in models.values())
