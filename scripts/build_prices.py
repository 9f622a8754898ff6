"""Build the price table that ships with the agent: whole price lists of today, and what packages know beside them.

Run by ``make prices PRICE_LISTS=<folder>``: ``python -m scripts.build_prices <folder>``, with
scripts/prices/requirements.txt installed. The folder holds aws.csv, azure.csv and gcp.csv (scripts/prices/lists.py
says their form). The same lists and packages give the same bytes.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import json
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

from scripts.prices import aws, aws_regions, azure, gcp, rates
from scripts.prices.lists import read_list
from scripts.prices.ratios import family_ratios
from scripts.prices.table import Prices, Provider, render
from workers.metrics.pricing.families import GENERAL
from workers.metrics.pricing.table import SHIPPED

COLLECTED = {"aws": "2026-07-20", "azure": "2026-06-18", "gcp": "2026-08-03"}
"""The day (ISO) on which each list was collected: the samples and docs/prices.md tell it. Change it with the lists."""

_GPUS = Path(__file__).parent / "prices" / "gpus.csv"
_FARGATE = Path(__file__).parent / "prices" / "fargate.csv"


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("lists", type=Path, help="folder of aws.csv, azure.csv and gcp.csv")
    folder: Path = arguments.parse_args().lists
    instance_types = _read("moto", "moto/ec2/resources/instance_types.json.gz")
    shapes = {
        name: rates.Shape(about["VCpuInfo"]["DefaultVCpus"], about["MemoryInfo"]["SizeInMiB"] / 1024)
        for name, about in instance_types.items()
    }
    libcloud = _read("apache-libcloud", "libcloud/data/pricing.json")["compute"]
    amazon = build_aws(read_list(folder / "aws.csv").on_demand, libcloud["ec2_linux"], shapes)
    google = build_gcp(*read_list(folder / "gcp.csv"))
    providers = [amazon, build_azure(read_list(folder / "azure.csv").on_demand, libcloud["azure_linux"]), google]
    cards = rates.cards(amazon.prices[amazon.home], shapes, amazon.rates[GENERAL], google.gpus[google.home])
    SHIPPED.write_text(render(providers, cards), encoding="ascii", newline="\n")
    for one in providers:
        print(f"{one.name}: {sum(map(len, one.prices.values()))} prices in {len(one.prices)} regions")
    print(f"wrote {SHIPPED}, {SHIPPED.stat().st_size:,} bytes")


def build_aws(listed: Prices, libcloud: Any, shapes: dict[str, rates.Shape]) -> Provider:
    """The lists there are; for the other regions what holds of libcloud's, and factors."""
    memory = {name: shape.gib for name, shape in shapes.items()}
    listed = aws_regions.without_dedicated(listed, memory)
    home = listed[aws_regions.HOME]
    old = aws.repair(libcloud, memory)
    ratios = aws_regions.family_ratios(old, home)
    prices = {**aws_regions.confirmed(old, home, ratios), **listed}
    current = {name: shape for name, shape in shapes.items() if rates.is_current(name)}
    return Provider(
        "aws",
        COLLECTED["aws"],
        aws_regions.HOME,
        prices,
        ratios,
        fargate=_read_fargate(_FARGATE),
        rates=rates.rates("aws", home, current),
    )


def build_azure(listed: Prices, libcloud: Any) -> Provider:
    """The list put in order; government regions, which it lacks, by factors."""
    prices = azure.clean(listed)
    government = {region for figures in libcloud.values() for region in figures if region.startswith("usgov")}
    ratios = {**family_ratios("azure", prices, azure.HOME), **azure.government_ratios(libcloud, government)}
    home = prices[azure.HOME]
    shapes = {name: shape for name in home if (shape := rates.azure_shape(name))}
    by_class = rates.rates("azure", home, shapes)
    return Provider("azure", COLLECTED["azure"], azure.HOME, prices, ratios, rates=by_class)


def build_gcp(listed: Prices, spot: Prices) -> Provider:
    """The list, spot ratios and attached GPUs."""
    home = listed[gcp.HOME]
    shapes = {name: shape for name in home if (shape := rates.gcp_shape(name))}
    return Provider(
        "gcp",
        COLLECTED["gcp"],
        gcp.HOME,
        listed,
        family_ratios("gcp", listed, gcp.HOME),
        gcp.spot_ratios(listed, spot),
        gcp.read_gpus(_GPUS),
        rates=rates.rates("gcp", home, shapes),
    )


def _read_fargate(path: Path) -> dict[str, tuple[float, float]]:
    with path.open(newline="", encoding="utf-8") as file:
        return {row["region"]: (float(row["vcpu"]), float(row["gib"])) for row in csv.DictReader(file)}


def _read(package: str, path: str) -> Any:
    """A JSON file of an installed package, without importing the package."""
    raw = Path(str(distribution(package).locate_file(path))).read_bytes()
    return json.loads(gzip.decompress(raw) if path.endswith(".gz") else raw)


if __name__ == "__main__":
    main()
