"""Build the price table that ships with the agent from the data files of installed packages.

Run by ``make prices``: ``python -m scripts.build_prices``, with scripts/prices/requirements.txt installed. The same
packages give the same bytes.
"""

from __future__ import annotations

import gzip
import hashlib
import json
from datetime import datetime, timezone
from importlib.metadata import distribution, version
from pathlib import Path
from typing import Any

from scripts.prices import aws, azure, gcp
from scripts.prices.table import Listing, Source, render
from workers.metrics.pricing.table import ON_DEMAND, SHIPPED, SPOT

_COLLECTED = {
    # libcloud's azure_linux: unchanged since it first appeared in 3.2.0, whose pricing.json says so
    "39597d17c0c862f0": "2020-08-30",
    # skrooge's instances.json: unchanged since it was added to github.com/getsentry/skrooge in commit fd9195b8
    "4d4c5a0302bceaab": "2024-01-23",
}
"""The day on which data without a date of its own was collected, by its digest."""


def main() -> None:
    pricing = _read("apache-libcloud", "libcloud/data/pricing.json")
    instance_types = _read("moto", "moto/ec2/resources/instance_types.json.gz")
    google = _read("skrooge", "skrooge/instances.json")
    compute = pricing["compute"]
    memory = {name: about["MemoryInfo"]["SizeInMiB"] / 1024 for name, about in instance_types.items()}
    listings = [
        Listing("aws", ON_DEMAND, aws.repair(compute["ec2_linux"], memory)),
        Listing("azure", ON_DEMAND, azure.rename(compute["azure_linux"])),
        Listing("gcp", ON_DEMAND, gcp.on_demand(google)),
        Listing("gcp", SPOT, gcp.spot(google)),
    ]
    updated = datetime.fromtimestamp(pricing["updated"], timezone.utc).date().isoformat()
    sources = [
        Source("aws", updated, _packages("apache-libcloud", "moto")),
        Source("azure", _collected(compute["azure_linux"]), _packages("apache-libcloud")),
        Source("gcp", _collected(google), _packages("skrooge")),
    ]
    SHIPPED.write_text(render(sources, listings), encoding="ascii", newline="\n")
    for provider, kind, prices in listings:
        print(f"{provider} {kind}: {sum(map(len, prices.values()))} prices in {len(prices)} regions")
    print(f"wrote {SHIPPED}, {SHIPPED.stat().st_size:,} bytes")


def _read(package: str, path: str) -> Any:
    """A JSON file of an installed package, without importing the package."""
    raw = Path(str(distribution(package).locate_file(path))).read_bytes()
    return json.loads(gzip.decompress(raw) if path.endswith(".gz") else raw)


def _packages(*names: str) -> str:
    return ", ".join(f"{name} {version(name)}" for name in names)


def _collected(data: Any) -> str:
    """Refuses data that was never dated: an undated price would pass for a new one."""
    digest = hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()[:16]
    if digest not in _COLLECTED:
        raise SystemExit(f"this data is new: find out its day and add {digest!r} to _COLLECTED")
    return _COLLECTED[digest]


if __name__ == "__main__":
    main()
