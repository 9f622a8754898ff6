"""How far a watch came, kept with what was forwarded, so that a restart neither loses nor repeats."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

from shared.schemas.events import ClusterEvent
from shared.timing import iso

LATENESS = timedelta(minutes=5)
"""How long after it happened something may show up, clocks of nodes being what they are."""

RECENT = 1000
"""Ids of what was forwarded last that a restart remembers, for each watch."""


class Checkpoint:
    """One watch's resourceVersion, the time up to which it saw everything, and the ids forwarded lately."""

    def __init__(self, record: Any = None) -> None:
        kept = record if isinstance(record, dict) else {}
        moment = kept.get("time")
        self.version: str = kept.get("version", "")
        self.time = datetime.fromisoformat(moment.replace("Z", "+00:00")) if moment else None
        self._recent: dict[str, tuple[float, int]] = {
            event_id: (last[0], last[1])
            for event_id, last in kept.get("recent", {}).items()
            if isinstance(last, list) and len(last) == 2
        }
        """Ids to when it was last seen (epoch seconds) and how often."""
        self._before = dict(self._recent)

    def record(self) -> dict[str, Any]:
        """The JSON form. Ids that the time alone will rule out are left out, and so is what is too much."""
        if self.time is not None:
            oldest = (self.time - LATENESS).timestamp()
            self._recent = {event_id: last for event_id, last in self._recent.items() if last[0] >= oldest}
        return {
            "version": self.version,
            "time": iso(self.time) if self.time else None,
            "recent": dict(list(self._recent.items())[-RECENT:]),
        }

    def moved(self, version: str, now: datetime) -> None:
        """The watch has seen everything up to ``version``, which is ``now``."""
        self.version, self.time = version, now

    def is_news(self, event: ClusterEvent) -> bool:
        """Whether the occurrence was not forwarded before.

        A pod's status goes on showing an old OOM kill for days: what is older than the checkpoint, give or
        take latecomers, is history. Of what is not, the ids forwarded before a restart are known, and how often
        each had been seen by then: only a repeat after that is news.
        """
        if self.time is not None and event.last_seen < self.time - LATENESS:
            return False
        _, count = self._before.get(event.event_id, (0.0, 0))
        return event.count > count

    def forwarded(self, events: Iterable[ClusterEvent]) -> None:
        """Remember their ids for the next start."""
        self._recent.update((event.event_id, (event.last_seen.timestamp(), event.count)) for event in events)
