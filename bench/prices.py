"""How far the shipped price table is right: coverage, errors against cited prices, and what looking up costs.

python -m bench.prices [--lists <folder>]

bench/data/known_prices.csv holds cited prices; none comes from what the table is built from. node_types.csv holds the
types that node pools use: whatever the sources of node_types_sources.csv name, which are templates and examples for
EKS and GKE, and the sizes that Karpenter knows AKS to take. Errors are relative, of the prices that the table has;
what it lacks is counted as missing. With --lists, the whole lists that the table is built from are compared too (the
folder that `make prices` reads), which shows what was lost on the way.
"""

from __future__ import annotations

import argparse
import csv
import re
import statistics
import time
import tracemalloc
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from bench.report import Figure, report
from scripts.prices.azure import vcpus
from scripts.prices.lists import read_list
from workers.metrics.pricing.families import predecessors
from workers.metrics.pricing.price import DERIVED, FALLBACK, TABLE
from workers.metrics.pricing.table import SHIPPED, PriceTable

DATA = Path(__file__).parent / "data"

SPOT_FACTOR = 0.35
"""The default of SPOT_PRICE_FACTOR, which prices spot nodes of providers whose spot prices nobody lists."""

FARTHEST = 6
"""How many of the worst are printed, of each provider and kind of capacity."""

HOME = {"aws": "us-east-1", "azure": "eastus", "gcp": "us-central1"}
"""Each provider's region with the most types."""

PRICED, RIGHT, SPOT_RIGHT = 98.0, 98.0, 90.0
"""Targets in percent: of node pools' types priced; of on-demand prices within 1%; of Google's spot within 10%."""

WHOLE = "whole list"

WINDOWS = 0.046
"""Dollars an hour that Azure asks for a vCPU's Windows licence."""

_SHAPED = re.compile(r"([mcr])[6-9][a-z]*\.(\d*x?large)")
_GIB = {"m": 4, "c": 2, "r": 8}


class Known(NamedTuple):
    """A price from a source that is not the table's."""

    provider: str
    region: str
    instance_type: str
    spot: bool
    dollars: float


class Compared(NamedTuple):
    """A known price and what the table makes of it."""

    known: Known
    found: float
    source: str

    @property
    def error(self) -> float:
        """Percent, without its sign."""
        return 100 * abs(self.found / self.known.dollars - 1)

    def __str__(self) -> str:
        known = self.known
        return f"{known.region} {known.instance_type}: {self.found:g}, not {known.dollars:g} ({self.error:.0f}% off)"


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--lists", type=Path, help="folder of the whole lists the table is built from")
    lists: Path | None = arguments.parse_args().lists
    table, known = PriceTable(), read_known(DATA / "known_prices.csv")
    figures: list[Figure] = []
    remarks: list[str] = []
    for provider in HOME:
        figures += coverage(provider)
        priced, unpriced = node_types(provider, table)
        share = 100 * priced / (priced + len(unpriced))
        what = f"{provider}: of {priced + len(unpriced)} types of node pools, priced"
        figures.append(Figure(what, share, "%", PRICED, at_least=True))
        remarks.append(f"{provider}: types of node pools without a price: {' '.join(unpriced)}")
    more, worst = against("known", known, table)
    figures += more
    remarks += worst
    derived = [one for one in compare(table, known)[0] if one.source == DERIVED and one.known.provider == "aws"]
    regions = len({one.known.region for one in derived})
    figures += within(f"aws derived, {regions} regions", derived, 1, RIGHT)
    if lists is not None:
        figures += against(WHOLE, whole_lists(lists), table)[0]
    figures += [by_factor(table, known), *newer(table), *rates(table), *cost_of_looking_up()]
    report("prices", figures, f"{len(known)} cited prices; table as of {days(table)}")
    print("\n" + "\n".join(remarks))


def days(table: PriceTable) -> str:
    """Each provider's day."""
    return ", ".join(f"{provider} {table.as_of(provider)}" for provider in HOME)


def read_known(path: Path) -> list[Known]:
    """The cited prices."""
    with path.open(newline="", encoding="utf-8") as file:
        return [
            Known(
                row["provider"],
                row["region"],
                row["instance_type"],
                row["spot"] == "true",
                float(row["dollars_per_hour"]),
            )
            for row in csv.DictReader(file)
        ]


def whole_lists(folder: Path) -> list[Known]:
    """Every price of the lists in ``folder``."""
    known = []
    for provider in HOME:
        for spot, listed in enumerate(read_list(folder / f"{provider}.csv")):
            for region, prices in listed.items():
                known += [Known(provider, region, name, bool(spot), dollars) for name, dollars in prices.items()]
    return known


def _shipped(kind: str, provider: str) -> Iterator[list[str]]:
    """The other fields of the table's lines of this kind."""
    for line in SHIPPED.read_text(encoding="ascii").splitlines():
        fields = line.split("\t")
        if fields[:2] == [kind, provider]:
            yield fields[2:]


def coverage(provider: str) -> list[Figure]:
    """Prices, regions and types of one provider."""
    lines = list(_shipped("prices", provider))
    (types,) = next(_shipped("types", provider))
    return [
        Figure(f"{provider}: prices", sum(bool(cell) for _, cells in lines for cell in cells.split(" ")), ""),
        Figure(f"{provider}: regions", len(lines), ""),
        Figure(f"{provider}: types", len(types.split(" ")), ""),
    ]


def node_types(provider: str, table: PriceTable) -> tuple[int, list[str]]:
    """How many types of node pools are priced where they are sold (and not by rates), and the others."""
    regions = [HOME[provider], *(region for region, _ in _shipped("prices", provider))]
    with (DATA / "node_types.csv").open(newline="", encoding="utf-8") as file:
        names = [row["instance_type"] for row in csv.DictReader(file) if row["provider"] == provider]
    unpriced = [name for name in names if not any(_is_priced(table, provider, region, name) for region in regions)]
    return len(names) - len(unpriced), unpriced


def _is_priced(table: PriceTable, provider: str, region: str, name: str) -> bool:
    found = table.find(provider, region, name)
    return found is not None and found.source != FALLBACK


def against(what: str, known: list[Known], table: PriceTable) -> tuple[list[Figure], list[str]]:
    """Missing prices and errors by provider and kind of capacity, and the farthest off."""
    figures: list[Figure] = []
    remarks: list[str] = []
    for provider, spot in sorted({(price.provider, price.spot) for price in known}):
        sample = [price for price in known if (price.provider, price.spot) == (provider, spot)]
        found, missing = compare(table, sample)
        name = f"{what}, {provider} {'spot' if spot else 'on demand'}"
        figures.append(Figure(f"{name}: of {len(sample)}, missing", len(missing), ""))
        if what == WHOLE:
            mended = [one for one in found if is_mended(one)]
            figures.append(Figure(f"{name}: mended on purpose", len(mended), ""))
            found = [one for one in found if one not in set(mended)]
        for percent in (1, 5, 10):
            target = SPOT_RIGHT if spot and percent == 10 else RIGHT if not spot and percent == 1 else None
            figures += within(name, found, percent, target)
        figures.append(Figure(f"{name}: median error", statistics.median(price.error for price in found), "%"))
        remarks.append(f"{name}: missing: {', '.join(f'{one.region} {one.instance_type}' for one in missing[:20])}")
        worst = sorted((price for price in found if price.error > 1), key=lambda price: -price.error)
        remarks += [f"{name}: {price}" for price in worst[:FARTHEST]]
    return figures, remarks


def compare(table: PriceTable, sample: Iterable[Known]) -> tuple[list[Compared], list[Known]]:
    """The known prices that the table has, and those that it lacks or knows only roughly."""
    found, missing = [], []
    # One region after another: the table remembers answers, not regions.
    for known in sample:
        listed = table.find(*known[:3])
        ratio = table.spot_ratio(*known[:3]) if known.spot else 1.0
        if listed is None or ratio is None or listed.source == FALLBACK:
            missing.append(known)
        else:
            found.append(Compared(known, listed.dollars * ratio, listed.source))
    return found, missing


def is_mended(one: Compared) -> bool:
    """Whether a listed price was wrong: metal at the price of dedicated tenancy, Linux at that of Windows."""
    known = one.known
    if known.provider == "aws":
        return ".metal" in known.instance_type and one.error > 1
    licence = WINDOWS * vcpus(known.instance_type)
    return known.provider == "azure" and one.error > 1 and abs(known.dollars - one.found - licence) < 0.001


def within(what: str, found: list[Compared], percent: int, target: float | None) -> list[Figure]:
    """How many of the prices are right."""
    share = 100 * sum(price.error <= percent for price in found) / len(found)
    return [Figure(f"{what}: of {len(found)} found, within {percent}%", share, "%", target, at_least=True)]


def by_factor(table: PriceTable, known: list[Known]) -> Figure:
    """The median error if the same spot nodes were priced by the factor: whether ratios pay."""
    guesses = [
        Compared(price, on_demand.dollars * SPOT_FACTOR, on_demand.source)
        for price in known
        if price.spot and (on_demand := table.find(*price[:3])) is not None
    ]
    median = statistics.median(guess.error for guess in guesses)
    return Figure(f"gcp spot: median error of {SPOT_FACTOR} of on-demand instead", median, "%")


def rates(table: PriceTable) -> list[Figure]:
    """How far the fallback rates are off for AWS' current general, compute and memory machines, were they unknown."""
    errors: dict[str, list[float]] = defaultdict(list)
    (types,) = next(_shipped("types", "aws"))
    for name in types.split(" "):
        shape, listed = _SHAPED.fullmatch(name), table.find("aws", HOME["aws"], name)
        if shape is not None and listed is not None:
            vcpus = 2 if shape[2] == "large" else 4 * int(shape[2].removesuffix("xlarge") or 1)
            rate = table.rate("aws", HOME["aws"], name)
            guess = vcpus * (rate.vcpu + _GIB[shape[1]] * rate.gib)
            errors[shape[1]].append(100 * abs(guess / listed.dollars - 1))
    return [
        Figure(f"aws rates, {kind} families since the 6th: median error", statistics.median(found), "%")
        for kind, found in sorted(errors.items())
    ]


def newer(table: PriceTable) -> list[Figure]:
    """How far a type is off that is priced like the generation before it: all types whose predecessor is listed."""
    figures = []
    for provider, home in HOME.items():
        (types,) = next(_shipped("types", provider))
        errors = []
        for name in types.split(" "):
            listed, before = table.find(provider, home, name), next(predecessors(provider, name), "")
            known = table.find(provider, home, before) if listed is not None else None
            if listed is not None and known is not None and known.source == listed.source == TABLE:
                errors.append(100 * abs(known.dollars / listed.dollars - 1))
        what = f"{provider}: {len(errors)} types as if newer than the table: median error"
        figures.append(Figure(what, statistics.median(errors), "%"))
    return figures


def cost_of_looking_up() -> list[Figure]:
    """What a type costs the first time and after that, and what a cluster's worth of answers takes."""
    (types,) = next(_shipped("types", "aws"))
    some = types.split(" ")[::10]
    table = PriceTable()
    started = time.perf_counter()
    for name in some:
        table.find("aws", HOME["aws"], name)
    first = (time.perf_counter() - started) / len(some)
    tracemalloc.start()
    table = PriceTable()
    for name in some:
        table.find("aws", HOME["aws"], name)
    kept, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    started = time.perf_counter()
    for _ in range(100_000):
        table.find("aws", HOME["aws"], some[0])
    again = (time.perf_counter() - started) / 100_000
    return [
        Figure("file", SHIPPED.stat().st_size / 1e6, "MB", 1.0),
        Figure("a type, looked up first", 1e3 * first, "ms", 4.0),
        Figure("a type, looked up again", 1e6 * again, "µs"),
        Figure(f"{len(some)} types: kept", kept / 1e6, "MB", 0.3),
        Figure(f"{len(some)} types: peak while reading", peak / 1e6, "MB", 0.3),
    ]


if __name__ == "__main__":
    main()
