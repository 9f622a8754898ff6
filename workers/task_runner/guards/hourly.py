"""How many drains and evictions may begin in an hour, counted so that a restart forgets none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

_HOUR = 3600
_MINUTE = 60


@dataclass(frozen=True)
class Tally:
    """What was begun lately, by the minute; 61 numbers at most, however much it is.

    Wall-clock time, since it must hold over a restart. A minute counts until its last second is an hour ago, so
    that no hour ever sees more than the limit. Minutes ahead of the clock (it was set back) count as now.
    """

    minutes: Mapping[int, int]

    def add(self, now: datetime, count: int = 1) -> Tally:
        """The tally with ``count`` more at ``now``, without what is no longer of interest."""
        minute, kept = _minute(now), self._recent(now)
        return Tally({**kept, minute: kept.get(minute, 0) + count})

    def without(self, moment: datetime) -> Tally:
        """The tally with one less in the minute of ``moment``."""
        minute = _minute(moment)
        return Tally({**self.minutes, minute: max(0, self.minutes.get(minute, 0) - 1)})

    def covers(self, other: Tally) -> bool:
        """Whether this one counts at least as much, minute by minute."""
        return all(self.minutes.get(minute, 0) >= count for minute, count in other.minutes.items())

    def count(self, now: datetime) -> int:
        return sum(self._recent(now).values())

    def frees_at(self, now: datetime, limit: int) -> datetime:
        """When fewer than ``limit`` will count, if nothing more is begun."""
        left = self.count(now)
        for minute, count in sorted(self._recent(now).items()):
            left -= count
            if left < limit:
                return datetime.fromtimestamp((minute + 1) * _MINUTE + _HOUR, timezone.utc)
        return now + timedelta(seconds=_HOUR)  # The limit is 0.

    def record(self) -> dict[str, int]:
        """As it is kept."""
        return {str(minute): count for minute, count in self.minutes.items()}

    @staticmethod
    def read(record: object) -> Tally:
        """What ``record`` kept; nothing, where it is none of ours."""
        kept = record.items() if isinstance(record, dict) else ()
        return Tally({int(minute): count for minute, count in kept if str(minute).isdigit() and isinstance(count, int)})

    def _recent(self, now: datetime) -> dict[int, int]:
        recent: dict[int, int] = {}
        newest, stamp = _minute(now), now.timestamp()
        for minute, count in self.minutes.items():
            if (minute + 1) * _MINUTE + _HOUR > stamp:
                minute = min(minute, newest)
                recent[minute] = recent.get(minute, 0) + count
        return recent


@dataclass(frozen=True)
class HourAsked:
    """One more of what is counted."""

    now: datetime
    tally: Tally


@dataclass(frozen=True)
class Hourly:
    """``most`` of what ``variable`` counts in an hour; None for as many as there are."""

    variable: str
    what: str
    most: int | None

    def refusal(self, subject: HourAsked) -> str | None:
        if self.most is None or (begun := subject.tally.count(subject.now)) < self.most:
            return None
        frees = subject.tally.frees_at(subject.now, self.most)
        return (
            f"{self.variable} is {self.most} and {begun} {self.what} began within the hour;"
            f" the next may begin at {frees:%Y-%m-%dT%H:%M:%SZ}"
        )


def _minute(now: datetime) -> int:
    return int(now.timestamp()) // _MINUTE
