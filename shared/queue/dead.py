"""Dead letters: what Central refused for good, the newest of it, for a person to look at."""

from __future__ import annotations

from shared.basics.timing import Clock
from shared.queue.limits import BURIED_BYTES, BURIED_KEPT, MAX_REASON
from shared.queue.spool import Spool


class DeadLetters:
    """A table beside the messages; no more than is worth looking at."""

    def __init__(self, spool: Spool, clock: Clock) -> None:
        self._spool, self._clock = spool, clock

    def keep(self, id_: int, reason: str) -> None:
        """Copy the message to the dead letters, if it is there."""
        self._spool.db.execute(
            "INSERT OR REPLACE INTO buried SELECT id, topic, key, body, ?, ? FROM message WHERE id = ?",
            (reason[:MAX_REASON], self._clock.now().timestamp(), id_),
        )

    def trim(self) -> None:
        """Let the oldest go that are too many, or whose bytes are."""
        self._spool.db.execute(
            "DELETE FROM buried WHERE id NOT IN (SELECT id FROM ("
            " SELECT id, ROW_NUMBER() OVER newest AS place, SUM(LENGTH(body) + LENGTH(reason)) OVER newest AS size"
            " FROM buried WINDOW newest AS (ORDER BY buried_at DESC, id DESC))"
            " WHERE place = 1 OR (place <= ? AND size <= ?))",
            (BURIED_KEPT, BURIED_BYTES),
        )
