"""How far a watch came, kept with what was forwarded, so that a restart neither loses nor repeats.

Saved with every put, so it is small: what was forwarded lately stands in pieces, of which a put writes the last.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from shared.basics.timing import iso
from shared.schemas.events import ClusterEvent
from workers.event_watcher.aggregate import WINDOW_SECONDS
from workers.event_watcher.memo import Memo

LATENESS = timedelta(minutes=5)
"""How long after it happened something may show up, clocks of nodes being what they are."""

PIECE = 50
PIECES = 20
"""Ids in a piece, and pieces: so many forwarded last does a restart remember, for each watch."""

_RECENT = "/recent/"

_Told = tuple[int, float]
"""How often it had been seen when it was forwarded, and when last, in seconds since 1970."""


class Mark(NamedTuple):
    """Where a watch stood at some moment; the smaller came first."""

    order: int
    version: str
    time: datetime | None


class Checkpoint:
    """One watch's resourceVersion, the time of the newest it saw, and the ids forwarded lately.

    That time is the cluster's: were it ours, a clock of ours that is ahead would make everything history. It is
    never later than ours, so that the clock of one node that is ahead does not do so either. Only at the very first
    start, before anything was seen, it is ours.
    """

    def __init__(self, key: str, saved: Mapping[str, Any], memo: Memo | None = None) -> None:
        """``saved`` is what all watches saved: they may see the same things."""
        kept = saved.get(key)
        if not isinstance(kept, dict):
            kept = {}
        moment = kept.get("time")
        self.version: str = kept.get("version", "")
        self.time = datetime.fromisoformat(moment.replace("Z", "+00:00")) if moment else None
        self._moves = 0
        self._memo, self._memo_prefix = memo, f"{key}/memo/"
        if memo is not None:
            prefix = self._memo_prefix
            memo.load({name.removeprefix(prefix): record for name, record in saved.items() if name.startswith(prefix)})
        self._history = self.time
        """What is older than this, give or take latecomers, is history."""
        self._newest = self.time
        self._key = key
        self._number = int(kept.get("piece", 0))
        self._pieces: dict[str, dict[str, _Told]] = {}
        """Those to be saved, by key; the last one is being filled."""
        self._piece = _ids(saved.get(self._piece_key))
        self._before: dict[str, _Told] = {}
        """What was told of each id before this process began."""
        for ids in (_ids(record) for name, record in saved.items() if _RECENT in name):
            for event_id, (count, last) in ids.items():
                known_count, known_last = self._before.get(event_id, (0, 0.0))
                self._before[event_id] = max(count, known_count), max(last, known_last)

    @property
    def mark(self) -> Mark:
        """Where the watch stands."""
        return Mark(self._moves, self.version, self.time)

    def unsaved(self, mark: Mark) -> dict[str, Any]:
        """What is to be saved, as durable state of the queue: the ids forwarded by now, and that a restart shall
        go on at ``mark``, from where all that was not forwarded is seen again.
        """
        moment = iso(mark.time) if mark.time else None
        state = {self._key: {"version": mark.version, "time": moment, "piece": self._number}, **self._pieces}
        memo = self._memo.unsaved() if self._memo is not None else {}
        return {**state, **{self._memo_prefix + name: record for name, record in memo.items()}}

    def saved(self) -> None:
        """What ``unsaved`` gave is safe."""
        self._pieces = {}
        if self._memo is not None:
            self._memo.saved()

    def lost(self) -> None:
        """What ``unsaved`` gave is not."""
        if self._memo is not None:
            self._memo.lost()

    def begin(self) -> None:
        """A list or a watch begins here. What is history stays fixed until the next one begins: what happened
        while we were away comes in many bunches, and the first must not rule out the others.
        """
        self._history = self.time

    def saw(self, event: ClusterEvent) -> None:
        """Note the time of an occurrence that was no history, forwarded or not."""
        self._newest = max(self._newest or event.last_seen, event.last_seen)

    def moved(self, version: str, now: datetime) -> None:
        """The watch has seen everything up to ``version``; it is ``now`` by our clock."""
        self.version = version
        self._moves += 1
        if self.time is None:
            self.time = now
        elif self._newest is not None:
            self.time = max(self.time, min(self._newest, now))

    def is_history(self, event: ClusterEvent) -> bool:
        """Whether it is older than the checkpoint: a pod's status goes on showing an old OOM kill for days."""
        return self._history is not None and event.last_seen < self._history - LATENESS

    def is_news(self, event: ClusterEvent) -> bool:
        """Whether the occurrence, which is no history, was not forwarded before.

        Of what is no history, the ids forwarded before a restart are known, and how often and when each had been
        seen by then: only a repeat after that is news. As within a process, one much later is a repeat whatever it
        counts: another Event object about the same pod begins at one.
        """
        count, last = self._before.get(event.event_id, (0, 0.0))
        return event.count > count or event.last_seen.timestamp() >= last + WINDOW_SECONDS

    def was_told(self, event: ClusterEvent) -> bool:
        """Whether it was forwarded before this process began."""
        return event.event_id in self._before

    def forwarded(self, events: Iterable[ClusterEvent]) -> None:
        """Remember their ids for the next start, in the place of the oldest."""
        for event in events:
            if len(self._piece) >= PIECE:
                self._number, self._piece = (self._number + 1) % PIECES, {}
            self._piece[event.event_id] = event.count, round(event.last_seen.timestamp(), 3)
            self._pieces[self._piece_key] = self._piece

    @property
    def _piece_key(self) -> str:
        return f"{self._key}{_RECENT}{self._number}"


def _ids(record: Any) -> dict[str, _Told]:
    return {event_id: (count, last) for event_id, (count, last) in record.items()} if isinstance(record, dict) else {}
