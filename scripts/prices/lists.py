"""Price lists as CSV: ``region,instance_type,on_demand,spot``, in dollars an hour, for Linux."""

from __future__ import annotations

import csv
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

COLUMNS = ["region", "instance_type", "on_demand", "spot"]


class PriceList(NamedTuple):
    """Region to instance type to dollars; ``spot`` where the list has it."""

    on_demand: dict[str, dict[str, float]]
    spot: dict[str, dict[str, float]]


def read_list(path: Path) -> PriceList:
    """The list in the file.

    Raises:
        SystemExit: there is no such file, or it has other columns; says what is expected, and where.
    """
    if not path.is_file():
        raise SystemExit(
            f"{path} is not there. `make prices PRICE_LISTS=<folder>` wants aws.csv, azure.csv and gcp.csv in it, each"
            f" with the columns {','.join(COLUMNS)}; docs/prices.md says where such lists come from."
        )
    on_demand: dict[str, dict[str, float]] = defaultdict(dict)
    spot: dict[str, dict[str, float]] = defaultdict(dict)
    with path.open(newline="", encoding="utf-8") as file:
        rows = csv.DictReader(file)
        if rows.fieldnames != COLUMNS:
            raise SystemExit(f"{path} has the columns {rows.fieldnames}; expected {COLUMNS}")
        for row in rows:
            on_demand[row["region"]][row["instance_type"]] = float(row["on_demand"])
            if row["spot"]:
                spot[row["region"]][row["instance_type"]] = float(row["spot"])
    return PriceList(dict(on_demand), dict(spot))
