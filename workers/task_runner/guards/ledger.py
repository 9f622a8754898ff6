"""What was begun within the hour, on record before it begins: neither a restart nor a kill lets more through."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from datetime import datetime

from shared.basics.timing import Clock
from shared.process.state import TALLY
from shared.queue.client import Queue, value
from workers.task_runner.guards.hourly import HourAsked, Hourly, Tally


@dataclass(frozen=True)
class Permit:
    """One thing that may begin."""

    at: datetime


class Ledger:
    """The tally of one kind of thing, as durable state of the queue. Thread-safe."""

    def __init__(self, queue: Queue, kind: str, clock: Clock) -> None:
        self._queue = queue
        self._key = f"{TALLY}{kind}"
        self._clock = clock
        self._lock = threading.Lock()
        self._tally: Tally | None = None
        self._recorded = Tally({})

    def take(self, law: Hourly) -> Permit | str:
        """One more, counted and on record; or the rule that refuses it.

        Raises:
            TemporaryError: it cannot be recorded now, so it must not begin.
        """
        now = self._clock.now()
        if law.most is None:
            return Permit(now)
        with self._lock:
            tally = self._loaded()
            if rule := law.refusal(HourAsked(now, tally)):
                return rule
            self._record(tally.add(now))
            return Permit(now)

    def look(self, law: Hourly, count: int = 1) -> str | None:
        """The rule that would refuse one of ``count`` more; nothing is counted. Raises TemporaryError."""
        if law.most is None or not count:
            return None
        now = self._clock.now()
        with self._lock:
            return law.refusal(HourAsked(now, self._loaded().add(now, count - 1)))

    def give_back(self, permit: Permit) -> None:
        """It did not begin after all. Left on record, for the next of the same minute: at worst too much is counted."""
        with self._lock:
            if self._tally is not None:
                self._tally = self._tally.without(permit.at)

    def _loaded(self) -> Tally:
        if self._tally is None:
            entry = self._queue.get_state(self._key).get(self._key)
            self._tally = self._recorded = Tally.read(value(entry) if entry is not None else None)
        return self._tally

    def _record(self, tally: Tally) -> None:
        if not self._recorded.covers(tally):
            self._queue.set_state({self._key: tally.record()}, durable=True)
            self._recorded = tally
        self._tally = tally
