"""How far the shipped price table is right: coverage, errors against cited prices, and what looking up costs.

python -m bench.prices

bench/data/known_prices.csv holds the cited prices; none comes from the packages the table is built from. Errors are
relative, of the prices that the table has; what it lacks is counted as missing.
"""

from __future__ import annotations

import csv
import statistics
import time
import tracemalloc
from pathlib import Path
from typing import NamedTuple

from bench.report import Figure, report
from workers.metrics.pricing.table import ON_DEMAND, SHIPPED, SPOT, PriceTable

KNOWN = Path(__file__).parent / "data" / "known_prices.csv"

SPOT_FACTOR = 0.35
"""The default of SPOT_PRICE_FACTOR, which prices spot nodes that the table does not list."""

FARTHEST = 6
"""How many of the worst are printed, of each provider and kind of capacity."""

HOME = {"aws": "us-east-1", "azure": "eastus", "gcp": "us-central1"}
"""Each provider's region with the most types."""

COMMON = {
    "aws": """
        c5.large c5.xlarge c5.2xlarge c5.4xlarge c6a.xlarge c6g.xlarge c6i.xlarge c6i.2xlarge c7g.xlarge c7i.xlarge
        g4dn.xlarge g5.xlarge g5.12xlarge i3.large i4i.xlarge m5.large m5.xlarge m5.2xlarge m5.4xlarge m5a.xlarge
        m6a.xlarge m6g.large m6i.large m6i.xlarge m7g.large m7i.xlarge m8g.large p4d.24xlarge r5.large r5.xlarge
        r5.2xlarge r6g.large r6i.xlarge r7g.large r7i.xlarge t3.medium t3.large t3.xlarge t3a.medium t4g.medium
    """,
    "azure": """
        Standard_B2ms Standard_B4ms Standard_B4as_v2 Standard_D2s_v3 Standard_D4s_v3 Standard_D8s_v3 Standard_D4as_v4
        Standard_D4ds_v4 Standard_D8ds_v4 Standard_D2s_v5 Standard_D4s_v5 Standard_D8s_v5 Standard_D4as_v5
        Standard_D4ds_v5 Standard_D8ds_v5 Standard_D16ds_v5 Standard_D4ps_v5 Standard_D4ds_v6 Standard_DS2_v2
        Standard_DS3_v2 Standard_DS4_v2 Standard_E4s_v3 Standard_E8s_v3 Standard_E4as_v4 Standard_E4s_v5
        Standard_E8s_v5 Standard_E4ds_v5 Standard_F2s_v2 Standard_F4s_v2 Standard_F8s_v2 Standard_F16s_v2
        Standard_L8s_v3 Standard_NC4as_T4_v3 Standard_NC6s_v3 Standard_NC24ads_A100_v4
    """,
    "gcp": """
        a2-highgpu-1g c2-standard-4 c2-standard-8 c2d-standard-8 c3-standard-4 c3-standard-8 c3d-standard-8
        c4-standard-4 c4a-standard-4 e2-medium e2-small e2-standard-2 e2-standard-4 e2-standard-8 e2-standard-16
        e2-highmem-4 g2-standard-4 n1-standard-1 n1-standard-2 n1-standard-4 n1-standard-8 n1-highmem-4
        n2-standard-2 n2-standard-4 n2-standard-8 n2-standard-16 n2-highmem-4 n2d-standard-4 n2d-standard-8
        n4-standard-4 t2a-standard-4 t2d-standard-4
    """,
}
"""Node types often met in EKS, AKS and GKE: their defaults and documentation, and the usual families since 2019."""


class Known(NamedTuple):
    """A price from a source that is not the table's."""

    provider: str
    region: str
    instance_type: str
    spot: bool
    dollars: float


class Compared(NamedTuple):
    """A known price and what the table says."""

    known: Known
    listed: float

    @property
    def error(self) -> float:
        """Percent, without its sign."""
        return 100 * abs(self.listed / self.known.dollars - 1)

    def __str__(self) -> str:
        known = self.known
        return f"{known.region} {known.instance_type}: {self.listed:g}, not {known.dollars:g} ({self.error:.0f}% off)"


def main() -> None:
    table, known = PriceTable(), read_known(KNOWN)
    listings = [line.split("\t") for line in SHIPPED.read_text(encoding="ascii").splitlines()]
    figures: list[Figure] = []
    remarks: list[str] = []
    for provider, region in HOME.items():
        figures += coverage(provider, [fields[2:] for fields in listings if fields[:2] == ["prices", provider]])
        names = COMMON[provider].split()
        unpriced = [name for name in names if table.find(provider, region, name, spot=False) is None]
        share = 100 * (1 - len(unpriced) / len(names))
        figures.append(Figure(f"{provider}: of {len(names)} common types, priced", share, "%", 90, at_least=True))
        remarks.append(f"{provider}: common types without a price in {region}: {' '.join(unpriced)}")
    for provider, spot in sorted({(price.provider, price.spot) for price in known}):
        sample = [price for price in known if (price.provider, price.spot) == (provider, spot)]
        found, missing = compare(table, sample)
        what = f"{provider} {SPOT if spot else ON_DEMAND}"
        figures.append(Figure(f"{what}: of {len(sample)} known prices, missing", len(missing), ""))
        figures += errors(what, found)
        remarks.append(f"{what}: missing: {', '.join(f'{price.region} {price.instance_type}' for price in missing)}")
        worst = sorted((price for price in found if price.error > 1), key=lambda price: -price.error)
        remarks += [f"{what}: {price}" for price in worst[:FARTHEST]]
    figures += [by_factor(table, known), *cost_of_looking_up()]
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


def coverage(provider: str, lines: list[list[str]]) -> list[Figure]:
    """Rows, regions and types of one provider's lines: region, kind, prices."""
    entries = [entry for *_, prices in lines for entry in prices.split(" ")]
    return [
        Figure(f"{provider}: prices", len(entries), ""),
        Figure(f"{provider}: regions", len({region for region, *_ in lines}), ""),
        Figure(f"{provider}: types", len({entry.partition("=")[0] for entry in entries}), ""),
    ]


def compare(table: PriceTable, sample: list[Known]) -> tuple[list[Compared], list[Known]]:
    """The known prices that the table has, and those that it lacks."""
    listed = [(known, table.find(*known[:4])) for known in sample]
    found = [Compared(known, price) for known, price in listed if price is not None]
    return found, [known for known, price in listed if price is None]


def errors(what: str, found: list[Compared]) -> list[Figure]:
    """How many of the known prices that the table has are right."""
    figures = []
    for percent, target in ((1, 90), (5, None), (10, None)):
        share = 100 * sum(price.error <= percent for price in found) / len(found)
        figures.append(Figure(f"{what}: of {len(found)} found, within {percent}%", share, "%", target, at_least=True))
    return [*figures, Figure(f"{what}: median error", statistics.median(price.error for price in found), "%")]


def by_factor(table: PriceTable, known: list[Known]) -> Figure:
    """The median error if the same spot nodes were priced by the factor: whether listing spot prices pays."""
    guesses = [
        Compared(price, on_demand * SPOT_FACTOR)
        for price in known
        if price.spot and (on_demand := table.find(*price[:3], spot=False)) is not None
    ]
    median = statistics.median(guess.error for guess in guesses)
    return Figure(f"gcp spot: median error of {SPOT_FACTOR} of on-demand instead", median, "%")


def cost_of_looking_up() -> list[Figure]:
    """What a region costs once, and a node at every sample."""
    seconds = []
    for _ in range(20):
        started = time.perf_counter()
        PriceTable().find("aws", HOME["aws"], "m5.large", spot=False)
        seconds.append(time.perf_counter() - started)
    tracemalloc.start()
    table = PriceTable()
    table.find("aws", HOME["aws"], "m5.large", spot=False)
    kept, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    started = time.perf_counter()
    for _ in range(100_000):
        table.find("aws", HOME["aws"], "m5.large", spot=False)
    each = (time.perf_counter() - started) / 100_000
    return [
        Figure("file", SHIPPED.stat().st_size / 1e6, "MB", 1.0),
        Figure("largest region: read", 1e3 * statistics.median(seconds), "ms", 4.0),
        Figure("largest region: kept", kept / 1e6, "MB", 0.7),
        Figure("largest region: peak while reading", peak / 1e6, "MB", 0.7),
        Figure("one look-up", 1e6 * each, "µs"),
    ]


if __name__ == "__main__":
    main()
