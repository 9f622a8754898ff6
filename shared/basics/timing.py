"""Clocks, deadlines and pauses. All durations are seconds, all datetimes are aware UTC."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Protocol


class Clock(Protocol):
    """Where time comes from; tests and simulations bring their own."""

    def monotonic(self) -> float: ...

    def now(self) -> datetime: ...


class SystemClock:
    """The machine's clocks."""

    def monotonic(self) -> float:
        return time.monotonic()

    def now(self) -> datetime:
        return datetime.now(timezone.utc)


SYSTEM_CLOCK = SystemClock()


def boot_id() -> str:
    """Which start of the machine this is: monotonic times can be compared within one. "" where Linux does not say."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""


@dataclass(frozen=True)
class Deadline:
    """One budget of time, passed down through everything that has to fit into it."""

    clock: Clock
    at: float

    @classmethod
    def after(cls, seconds: float, clock: Clock = SYSTEM_CLOCK) -> Deadline:
        return cls(clock, clock.monotonic() + seconds)

    @classmethod
    def until(cls, moment: datetime, clock: Clock = SYSTEM_CLOCK) -> Deadline:
        """The deadline at a wall-clock ``moment``; later jumps of the wall clock do not move it."""
        return cls.after((moment - clock.now()).total_seconds(), clock)

    @property
    def remaining(self) -> float:
        """Seconds left, never negative."""
        return max(0.0, self.at - self.clock.monotonic())

    @property
    def expired(self) -> bool:
        return self.clock.monotonic() >= self.at

    def within(self, seconds: float) -> Deadline:
        """A tighter deadline ``seconds`` from now that still ends with this one."""
        return Deadline(self.clock, min(self.at, self.clock.monotonic() + seconds))


def backoff(first: float = 1.0, cap: float = 60.0, rng: random.Random | None = None) -> Iterator[float]:
    """Endless pauses with exponential growth and full jitter: uniform in 0..min(cap, first * 2^n).

    Full jitter spreads a herd best: https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter
    """
    draw = (rng or random).uniform
    ceiling = min(first, cap)
    while True:
        yield draw(0.0, ceiling)
        ceiling = min(cap, ceiling * 2)


class Backoff:
    """Pauses between attempts that go back to the first one after a success."""

    def __init__(self, first: float = 1.0, cap: float = 60.0, rng: random.Random | None = None) -> None:
        self._arguments = (first, cap, rng)
        self._draw = (rng or random).uniform
        self.reset()

    def reset(self) -> None:
        self.failures = 0
        self._pauses = backoff(*self._arguments)

    def pause(self, asked: float | None = None) -> float:
        """Seconds until the next attempt; never less than what the other side ``asked`` for.

        And up to half as much again: it asks thousands of us for the same.
        """
        self.failures += 1
        asked = asked or 0.0
        return max(self._draw(asked, 1.5 * asked), next(self._pauses))


def jittered(interval: float, fraction: float = 0.1, rng: random.Random | None = None) -> float:
    """``interval`` give or take ``fraction`` of it, so that thousands of agents do not march in step."""
    return interval * (rng or random).uniform(1.0 - fraction, 1.0 + fraction)


def iso(moment: datetime) -> str:
    """``moment`` as RFC 3339 in UTC with a ``Z``, to the millisecond."""
    return moment.astimezone(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")
