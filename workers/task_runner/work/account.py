"""What a task did, line by line, for the person who reads the result's ``logs``."""

from __future__ import annotations

import logging

from shared.basics.timing import Clock

MAX_BYTES = 64 * 1024
"""Size of a result's logs in UTF-8; the middle is cut, because the plan is at the top and the end matters."""

_logger = logging.getLogger(__name__)


class Account:
    """Collects lines, each with the seconds since the task began, in bounded memory."""

    def __init__(self, clock: Clock, limit: int = MAX_BYTES) -> None:
        self._clock = clock
        self._started = clock.monotonic()
        self._half = (limit - 100) // 2
        self._head: list[str] = []
        self._head_size = 0
        self._tail: list[str] = []
        self._tail_size = 0
        self._cut = 0

    def say(self, text: str) -> None:
        """Add a line that is worth a line in the agent's log, too."""
        _logger.info("%s", text)
        self.note(text)

    def note(self, text: str) -> None:
        """Add a line to the result only: one of many alike."""
        line = f"+{self._clock.monotonic() - self._started:.2f}s {text}"
        size = len(line.encode()) + 1
        if size > self._half:
            line = line.encode()[: self._half - 20].decode("utf-8", "ignore") + " ..."
            size = len(line.encode()) + 1
        if not self._tail and self._head_size + size <= self._half:
            self._head.append(line)
            self._head_size += size
            return
        self._tail.append(line)
        self._tail_size += size
        while self._tail_size > self._half:
            self._tail_size -= len(self._tail.pop(0).encode()) + 1
            self._cut += 1

    def text(self) -> str:
        """All lines, at most the limit's bytes."""
        cut = [f"... {self._cut} lines cut ..."] if self._cut else []
        return "\n".join([*self._head, *cut, *self._tail])
