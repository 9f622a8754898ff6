"""Figures with their targets beside them: a table for people, JSON for the record."""

from __future__ import annotations

import json
import platform
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path

RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True)
class Figure:
    """One measured figure. ``target`` None: reported only."""

    name: str
    value: float
    unit: str
    target: float | None = None
    at_least: bool = False
    """Whether more is better."""
    note: str = ""

    @property
    def met(self) -> bool | None:
        if self.target is None:
            return None
        return self.value >= self.target if self.at_least else self.value <= self.target


def report(bench: str, figures: list[Figure], where: str) -> None:
    """Print the table and write ``bench/results/BENCH.json``."""
    print(f"\n{bench} ({where})")
    print(f"{'':58} {'figure':>14}  {'target':>14}")
    for figure in figures:
        sign = "≥" if figure.at_least else "≤"
        target = "" if figure.target is None else f"{sign} {figure.target:g} {figure.unit}"
        verdict = {None: "", True: "ok", False: "MISSED"}[figure.met]
        note = f"  {figure.note}" if figure.note else ""
        print(f"{figure.name:58} {figure.value:10.4g} {figure.unit:4} {target:>14}  {verdict}{note}")
    RESULTS.mkdir(exist_ok=True)
    record = {
        "bench": bench,
        "where": where,
        "at": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "machine": f"{platform.machine()}, Python {platform.python_version()}",
        "figures": [{**asdict(figure), "met": figure.met} for figure in figures],
    }
    (RESULTS / f"{bench}.json").write_text(json.dumps(record, indent=1) + "\n")


def percentile(values: list[float], percent: float) -> float:
    """The smallest value that ``percent`` of the values do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, round(len(ordered) * percent / 100 + 0.5) - 1))]
