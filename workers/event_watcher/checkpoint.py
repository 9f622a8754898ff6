"""How far a watch came, kept with what was forwarded, so that a restart neither loses nor repeats.

Saved with every put, so it is small: what was forwarded lately stands in pieces, of which a put writes the last.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from shared.schemas.events import ClusterEvent
from shared.timing import iso

LATENESS = timedelta(minutes=5)
"""How long after it happened something may show up, clocks of nodes being what they are."""

PIECE = 50
PIECES = 20
"""Ids in a piece, and pieces: so many forwarded last does a restart remember, for each watch."""

_RECENT = "/recent/"


class Checkpoint:
    """One watch's resourceVersion, the time up to which it saw everything, and the ids forwarded lately."""

    def __init__(self, key: str, saved: Mapping[str, Any]) -> None:
        """``saved`` is what all watches saved: they may see the same things."""
        kept = saved.get(key)
        if not isinstance(kept, dict):
            kept = {}
        moment = kept.get("time")
        self.version: str = kept.get("version", "")
        self.time = datetime.fromisoformat(moment.replace("Z", "+00:00")) if moment else None
        self._key = key
        self._number = int(kept.get("piece", 0))
        self._pieces: dict[str, dict[str, int]] = {}
        """Those to be saved, by key; the last one is being filled."""
        self._piece = _ids(saved.get(self._piece_key))
        self._before: dict[str, int] = {}
        """Ids to how often each was seen by the time it was forwarded."""
        for ids in (_ids(record) for name, record in saved.items() if _RECENT in name):
            for event_id, count in ids.items():
                self._before[event_id] = max(count, self._before.get(event_id, 0))

    def unsaved(self) -> dict[str, Any]:
        """What is to be saved, as durable state of the queue."""
        moment = iso(self.time) if self.time else None
        return {self._key: {"version": self.version, "time": moment, "piece": self._number}, **self._pieces}

    def saved(self) -> None:
        """What ``unsaved`` gave is safe."""
        self._pieces = {}

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
        return event.count > self._before.get(event.event_id, 0)

    def forwarded(self, events: Iterable[ClusterEvent]) -> None:
        """Remember their ids for the next start, in the place of the oldest."""
        for event in events:
            if len(self._piece) >= PIECE:
                self._number, self._piece = (self._number + 1) % PIECES, {}
            self._piece[event.event_id] = event.count
            self._pieces[self._piece_key] = self._piece

    @property
    def _piece_key(self) -> str:
        return f"{self._key}{_RECENT}{self._number}"


def _ids(record: Any) -> dict[str, int]:
    return dict(record) if isinstance(record, dict) else {}
