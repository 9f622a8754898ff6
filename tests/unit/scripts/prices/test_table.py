"""Writing the price table."""

from __future__ import annotations

from pathlib import Path

from scripts.prices.table import Listing, Source, render
from workers.metrics.pricing.table import PriceTable

_AWS = Source("aws", "2025-03-02", "apache-libcloud 3.9.1, moto 5.2.5")
_GCP = Source("gcp", "2024-01-23", "skrooge 1.1.0")


def test_what_is_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "prices.txt"
    path.write_text(render([_AWS], [Listing("aws", "on_demand", {"eu-west-1": {"m5.large": 0.107}})]), encoding="ascii")
    assert PriceTable(path).find("aws", "eu-west-1", "m5.large", spot=False) == 0.107
    assert PriceTable(path).as_of("aws") == "2025-03-02"


def test_equal_prices_are_equal_bytes_whatever_their_order() -> None:
    one, other = {"e2-small": 0.0168, "e2-medium": 1 / 3}, {"e2-medium": 1 / 3, "e2-small": 0.0168}
    spot = Listing("gcp", "spot", {"us-east1": {"e2-small": 0.005}})
    listings = [Listing("gcp", "on_demand", {"us-east1": one, "asia-east1": one}), spot]
    turned = [spot, Listing("gcp", "on_demand", {"asia-east1": other, "us-east1": other})]
    assert render([_AWS, _GCP], listings) == render([_GCP, _AWS], turned)


def test_implausible_prices_and_empty_regions_are_left_out() -> None:
    text = render([], [Listing("aws", "on_demand", {"a": {"x": 0.0}, "b": {"x": 0.5, "y": 0.0, "z": 5e4}})])
    assert text.splitlines()[1:] == ["prices\taws\tb\ton_demand\tx=0.5"]
