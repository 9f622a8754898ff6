"""How full each topic is: running totals, and the tally of what was dropped and buried since the spool began."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from shared.queue.messages import TOPICS
from shared.queue.places import tally_of, topic_at
from shared.queue.spool import Spool


@dataclass
class Fill:
    """Running totals of one topic."""

    depth: int = 0
    bytes: int = 0
    dropped: int = 0
    buried: int = 0


class Fills:
    """The totals of all topics. ``load()`` counts anew what is in the tables."""

    def __init__(self, spool: Spool) -> None:
        self._spool = spool
        self._of: dict[str, Fill] = {}
        self.bytes = 0
        """Of all topics."""
        self.load()

    def __getitem__(self, topic: str) -> Fill:
        return self._of[topic]

    def __iter__(self) -> Iterator[str]:
        return iter(self._of)

    def load(self) -> None:
        """Count what the tables hold; when they cannot be read, what was known stays known."""
        fills = {topic: Fill() for topic in TOPICS}
        for first, depth, size in self._spool.db.execute(
            "SELECT MIN(id), COUNT(*), SUM(LENGTH(body)) FROM message GROUP BY id >> 56"
        ):
            if topic := topic_at(first):  # Else a newer version's: left for it.
                fills[topic].depth, fills[topic].bytes = depth, size
        for topic, dropped, buried in self._spool.db.execute("SELECT * FROM tally UNION ALL SELECT * FROM tally_added"):
            if topic in fills:
                fills[topic].dropped, fills[topic].buried = dropped, buried
        self._of, self.bytes = fills, sum(fill.bytes for fill in fills.values())

    def add(self, topic: str, size: int, depth: int = 1) -> None:
        """``depth`` messages of ``size`` bytes in all came; negative: they went."""
        self._of[topic].depth += depth
        self._of[topic].bytes += size
        self.bytes += size

    def count(self, topic: str, dropped: int = 0, buried: int = 0) -> None:
        """Messages of ``topic`` were lost, or refused for good."""
        fill = self._of[topic]
        fill.dropped += dropped
        fill.buried += buried
        self._spool.db.execute(
            f"INSERT OR REPLACE INTO {tally_of(topic)} (topic, dropped, buried) VALUES (?, ?, ?)",
            (topic, fill.dropped, fill.buried),
        )

    def begin_anew(self, lost: dict[str, Fill]) -> None:
        """The spool is a new one: what ``lost`` held counts as dropped."""
        self.load()
        for topic, fill in lost.items():
            self.count(topic, dropped=fill.dropped + fill.depth, buried=fill.buried)

    def snapshot(self) -> dict[str, Fill]:
        return dict(self._of)

    def restore(self, fills: dict[str, Fill]) -> None:
        """Know again what ``snapshot()`` knew."""
        self._of, self.bytes = fills, sum(fill.bytes for fill in fills.values())
