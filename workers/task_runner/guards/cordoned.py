"""How many nodes may be cordoned at once: over all, and in each group of nodes that share a label's value."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from shared.config.limits import Share

_NAMED = 10


@dataclass(frozen=True)
class Census:
    """How many nodes there are: all, and by each value of the labels that shares group by."""

    nodes: int = 0
    groups: Mapping[tuple[str, str], int] = field(default_factory=dict)

    @staticmethod
    def of(nodes: Iterable[Mapping[str, str]], keys: Iterable[str]) -> Census:
        """Count nodes, of which only the labels matter. One without the label is in the group of those."""
        keys, total, groups = tuple(keys), 0, Counter[tuple[str, str]]()
        for labels in nodes:
            total += 1
            groups.update((key, labels.get(key, "")) for key in keys)
        return Census(total, groups)


@dataclass(frozen=True)
class CordonAsked:
    """A node to cordon, beside those that are cordoned already, by anyone."""

    name: str
    labels: Mapping[str, str]
    cordoned: Mapping[str, Mapping[str, str]]
    """Names of cordoned nodes to their labels; the node itself, cordoned by an earlier try, does not count."""
    census: Census = field(default_factory=Census)
    """Needed only where a share is a percentage."""


@dataclass(frozen=True)
class MaxCordoned:
    """``shares``: MAX_CORDONED_NODES."""

    shares: Sequence[Share]

    def refusal(self, subject: CordonAsked) -> str | None:
        others = {name: labels for name, labels in subject.cordoned.items() if name != subject.name}
        return next((said for share in self.shares if (said := _refusal(share, subject, others))), None)


def _refusal(share: Share, subject: CordonAsked, others: Mapping[str, Mapping[str, str]]) -> str | None:
    if share.label is None:
        names, total, where = sorted(others), subject.census.nodes, ""
    else:
        value = subject.labels.get(share.label, "")
        names = sorted(name for name, labels in others.items() if labels.get(share.label, "") == value)
        total = subject.census.groups.get((share.label, value), 0)
        where = f" of {share.label}={value}" if value else f" without {share.label}"
    limit = share.of(total)
    if len(names) < limit:
        return None
    shown = ", ".join(names[:_NAMED]) or "none"
    means = f" (of {total} nodes{where}: {limit})" if share.percent else ""
    return f"MAX_CORDONED_NODES is {share}{means} and {len(names)} nodes{where} are cordoned already ({shown})"
