"""One Prometheus page from what the five processes counted, right across their restarts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from shared.basics import telemetry

Sample = tuple[str, tuple[tuple[str, str], ...]]
"""A sample's name and its labels, sorted."""

Families = Mapping[str, Iterable[tuple[str, Mapping[str, str], float]]]
"""What a worker publishes: family to samples (shared.basics.telemetry.snapshot)."""


class Totals:
    """Sums over programs. What a program counted before it restarted stays counted."""

    def __init__(self, saved: Mapping[str, Any] | None = None) -> None:
        self._ended: dict[Sample, float] = {}
        self._current: dict[str, tuple[int, dict[Sample, float]]] = {}
        self._given: dict[Sample, float] = {}
        self._closed: dict[str, tuple[int, dict[Sample, float]]] = {}
        """The last process of each program that gave way to another, and what of it is among the ended."""
        self._over: dict[str, int] = {}
        """The last process of each program that said its last."""
        for name, labels, value in (saved or {}).get("ended", ()):
            self._ended[(name, tuple((key, text) for key, text in labels))] = value

    def update(self, program: str, pid: int, families: Families) -> bool:
        """Take in what ``program`` published; whether an earlier process of it was closed off."""
        samples = _flat(families)
        if self._over.get(program) == pid:
            return False  # Late: its last word was heard.
        before = self._current.get(program)
        restarted = before is not None and before[0] != pid
        if before is not None and restarted:
            counts = _counts_of(before[1])
            self._closed[program] = (before[0], counts)
            self._add(counts)
        self._current[program] = (pid, samples)
        return restarted

    def end(self, program: str, pid: int, families: Families) -> None:
        """Take in the last word of a process: what it counted in all, wherever the word of its successor is."""
        counts = _counts_of(_flat(families))
        if self._current.get(program, (None, {}))[0] == pid:
            self._current[program] = (pid, {})
        closed = self._closed.get(program)
        if closed is not None and closed[0] == pid:
            counts = {sample: value - closed[1].get(sample, 0.0) for sample, value in counts.items()}
        self._over[program] = pid
        self._add(counts)

    def _add(self, counts: Mapping[Sample, float]) -> None:
        for sample, value in counts.items():
            self._ended[sample] = self._ended.get(sample, 0.0) + value

    def count(self, name: str, label: str, text: str) -> None:
        """Count one more of what this process sees itself; kept with the sums of ended processes."""
        sample = (name, ((label, text),))
        self._ended[sample] = self._ended.get(sample, 0.0) + 1

    def set(self, name: str, label: str, values: Mapping[str, float]) -> None:
        """Samples that are totals already, by the value of their one ``label``: the spool's own counts."""
        self._given.update({(name, ((label, text),)): value for text, value in values.items()})

    def forget_gauges(self, program: str) -> None:
        """The program is silent: what it measured is no longer so; what it counted stays counted."""
        if program in self._current:
            pid, samples = self._current[program]
            self._current[program] = (pid, {s: v for s, v in samples.items() if _accumulates(s[0])})

    def saved(self) -> dict[str, Any]:
        """The sums of ended processes, to be kept across a restart of this one."""
        return {"ended": [[name, [list(label) for label in labels], v] for (name, labels), v in self._ended.items()]}

    def samples(self) -> dict[Sample, float]:
        """Every sample, summed."""
        total = dict(self._ended)
        for _, samples in self._current.values():
            for sample, value in samples.items():
                total[sample] = total.get(sample, 0.0) + value
        return {**total, **self._given}


def _flat(families: Families) -> dict[Sample, float]:
    return {
        (name, tuple(sorted(labels.items()))): value for entries in families.values() for name, labels, value in entries
    }


def _counts_of(samples: Mapping[Sample, float]) -> dict[Sample, float]:
    return {sample: value for sample, value in samples.items() if _accumulates(sample[0])}


def _accumulates(name: str) -> bool:
    """Whether a sample of this name counts (counters, histograms) rather than measures (gauges)."""
    return name.endswith(("_total", "_bucket", "_count", "_sum"))


class _Page(Collector):
    def __init__(self, samples: Mapping[Sample, float]) -> None:
        self._samples = samples

    def collect(self) -> Iterator[Metric]:
        by_family: dict[str, list[tuple[Sample, float]]] = {}
        for sample, value in self._samples.items():
            by_family.setdefault(_family_of(sample[0]), []).append((sample, value))
        for declared in telemetry.REGISTRY.collect():
            family = Metric(declared.name, declared.documentation, declared.type)
            for (name, labels), value in sorted(by_family.get(declared.name, ()), key=_order):
                family.add_sample(name, dict(labels), value)
            if family.samples:
                yield family


def _family_of(name: str) -> str:
    for suffix in ("_total", "_bucket", "_count", "_sum"):
        if name.endswith(suffix):
            return name[: -len(suffix)]
    return name


def _order(entry: tuple[Sample, float]) -> Any:
    """Series by series, and within one the buckets by their bound, +Inf last."""
    (name, labels), _ = entry
    bound = next((float(value) for key, value in labels if key == "le"), 0.0)
    return [label for label in labels if label[0] != "le"], name, bound


def render(totals: Totals) -> bytes:
    """The page in the text format."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Page(totals.samples()))
    return generate_latest(registry)
