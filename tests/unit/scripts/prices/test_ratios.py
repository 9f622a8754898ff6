"""What a family costs more in one region than in another."""

from __future__ import annotations

import pytest

from scripts.prices.ratios import family_ratios

HOME = {"e2-small": 1.0, "e2-medium": 2.0, "n2-standard-2": 4.0, "n2-standard-4": 8.0}


def test_only_families_that_lack_a_size_there_are_kept() -> None:
    there = {"e2-small": 1.1, "n2-standard-2": 5.0, "n2-standard-4": 10.0}
    assert family_ratios("gcp", {"home": HOME, "there": there}, "home") == {
        "there": {"e2": pytest.approx(1.1), "*": pytest.approx(1.175)},
        "*": {"*": pytest.approx(1.175)},
    }
