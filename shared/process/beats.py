"""How each loop of a worker is: when it last did its work, when it is expected back, what keeps it from its work.

All ages are monotonic: a clock that is set says nothing about a loop.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from shared.basics.errors import AgentError
from shared.basics.timing import SYSTEM_CLOCK, Clock

_SOON, _LATE = 5.0, 60.0
"""Seconds that a pass has to go on, at least and at most, to be past what made the last one fail."""

_WHY = 300
"""Characters of a reason that are told to the other workers."""


@dataclass
class _Loop:
    """One loop. Times are monotonic."""

    due: float
    done_at: float
    """When it last did its work; at first, when it began."""
    began_at: float
    """When its present pass began."""
    waits: bool = False
    """In its present pass it cannot do its work."""
    failed_after: float = 0.0
    """Seconds that the pass took that failed last."""
    hindered_at: float | None = None
    """Since when it could not do its work."""
    why: str = ""
    own_fault: bool = False


class Beats:
    """When each loop promised to be back, and how its work goes.

    A loop that is late is hung, whatever it is hung on. One that is back in time and has not done its work is
    hindered: by somebody's refusal, by an error, or by what it waits for.
    """

    def __init__(self, clock: Clock = SYSTEM_CLOCK) -> None:
        self._clock = clock
        self._loops: dict[str, _Loop] = {}

    def begin(self, loop: str, within: float) -> None:
        """A pass begins, and will say more within so many seconds."""
        known, now = self._of(loop), self._clock.monotonic()
        known.due, known.began_at, known.waits = now + within, now, False

    def expect(self, loop: str, within: float) -> None:
        """In the middle of a long pass: the work goes on, and ``loop`` will say more within so many seconds.

        After a failure that counts for something once the pass is well past where the last one failed: a watch
        may read a while, and fail at the same object each time.
        """
        known, now = self._of(loop), self._clock.monotonic()
        known.due = now + within
        sound_after = max(_SOON, min(_LATE, 2 * known.failed_after)) if known.hindered_at is not None else 0.0
        if now - known.began_at >= sound_after:
            known.done_at, known.hindered_at = now, None

    def wait(self, loop: str, why: str) -> None:
        """This pass cannot do its work, and that is no error: it waits for what ``why`` says."""
        self._of(loop).waits = True
        self._hinder(self._of(loop), why, own_fault=False)

    def end(self, loop: str, within: float) -> None:
        """The pass is over, and the next one begins within so many seconds."""
        known, now = self._of(loop), self._clock.monotonic()
        known.due = now + within
        if not known.waits:
            known.done_at, known.hindered_at, known.failed_after = now, None, 0.0

    def fail(self, loop: str, within: float, error: Exception) -> None:
        """The pass failed, and the next one begins within so many seconds."""
        known, now = self._of(loop), self._clock.monotonic()
        known.due, known.failed_after = now + within, now - known.began_at
        if isinstance(error, AgentError):
            self._hinder(known, str(error), error.own_fault)
        else:
            self._hinder(known, f"{type(error).__name__}: {error}", own_fault=True)

    def overdue(self) -> dict[str, float]:
        """Seconds each late loop is late."""
        now = self._clock.monotonic()
        return {name: round(now - loop.due, 1) for name, loop in list(self._loops.items()) if loop.due < now}

    def jobs(self) -> dict[str, dict[str, Any]]:
        """What is told of each loop: ``done``, seconds since it last did its work; and of one that is hindered
        also ``hindered``, for how many seconds, ``why``, and whether it is this pod's ``own_fault``.
        """
        now = self._clock.monotonic()
        jobs: dict[str, dict[str, Any]] = {}
        for name, loop in list(self._loops.items()):
            jobs[name] = {"done": round(now - loop.done_at, 1)}
            if loop.hindered_at is not None:
                hindered = round(now - loop.hindered_at, 1)
                jobs[name].update({"hindered": hindered, "why": loop.why, "own_fault": loop.own_fault})
        return jobs

    def _of(self, loop: str) -> _Loop:
        now = self._clock.monotonic()
        return self._loops.setdefault(loop, _Loop(now, now, now))

    def _hinder(self, loop: _Loop, why: str, own_fault: bool) -> None:
        if loop.hindered_at is None:
            loop.hindered_at = self._clock.monotonic()
        loop.why, loop.own_fault = why[:_WHY], own_fault
