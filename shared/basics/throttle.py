"""No source of log lines floods the log: what is beyond its allowance is counted, and the count is a line."""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass

from shared.basics import telemetry
from shared.basics.timing import SYSTEM_CLOCK, Clock

BURST = 1000
"""Lines that one source may write at once. A source is a place in the code."""

PER_SECOND = 20.0
"""And then so many a second. At 4 KiB each the longest of them are 80 KiB a second."""

_QUOTED = 200


@dataclass
class _Source:
    allowance: float
    at: float
    """When the allowance was that (monotonic)."""
    left_out: int = 0
    last: logging.LogRecord | None = None


class Throttle(logging.Filter):
    """A filter for a handler. Thread-safe."""

    def __init__(self, clock: Clock = SYSTEM_CLOCK) -> None:
        super().__init__()
        self._clock = clock
        self._lock = threading.Lock()
        self._sources: dict[tuple[str, int], _Source] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the line is written."""
        now = self._clock.monotonic()
        with self._lock:
            source = self._sources.setdefault((record.pathname, record.lineno), _Source(BURST, now))
            source.allowance = min(BURST, source.allowance + (now - source.at) * PER_SECOND)
            source.at = now
            if source.allowance >= 1:
                source.allowance -= 1
                return True
            source.left_out += 1
            source.last = record
        telemetry.LOG_LINES_DROPPED.inc()
        return False

    def summaries(self) -> list[logging.LogRecord]:
        """A line for each source of which some were left out since the last time."""
        with self._lock:
            told = []
            for source in self._sources.values():
                if source.last is not None:
                    told.append(_summary(source.last, source.left_out))
                    source.left_out, source.last = 0, None
        return told


def _summary(last: logging.LogRecord, left_out: int) -> logging.LogRecord:
    message = f"{left_out} more lines like this were left out: {last.getMessage()[:_QUOTED]}"
    return logging.LogRecord(last.name, last.levelno, last.pathname, last.lineno, message, None, None)


class FirstSight:
    """How loud to say what comes again and again: once as a warning, then for those who look for it."""

    MOST = 1000
    """Texts that are remembered; with one more all of them are forgotten, and said once more."""

    def __init__(self) -> None:
        self._said: set[str] = set()

    def level_of(self, text: str) -> int:
        """WARNING where ``text`` is new, else DEBUG."""
        if text in self._said:
            return logging.DEBUG
        if len(self._said) >= self.MOST:
            self._said.clear()
        self._said.add(text)
        return logging.WARNING
