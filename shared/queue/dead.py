"""Dead letters: what Central refused for good, the newest of it, for a person to look at."""

from __future__ import annotations

import msgspec

from shared.queue.epoch import Epoch
from shared.queue.limits import AROUND, BURIED_BYTES, BURIED_KEPT, MAX_REASON, PAGE_BYTES
from shared.queue.messages import DeadLetter, Message, encoder
from shared.queue.places import topic_at
from shared.queue.spool import Spool


class DeadLetters:
    """A table beside the messages; no more than is worth looking at."""

    def __init__(self, spool: Spool, epoch: Epoch) -> None:
        self._spool, self._epoch = spool, epoch

    def keep(self, id_: int, reason: str) -> None:
        """Copy the message to the dead letters, if it is there."""
        self._spool.db.execute(
            "INSERT OR REPLACE INTO buried (id, topic, key, body, reason, buried_at)"
            " SELECT id, topic, key, body, ?, ? FROM message WHERE id = ?",
            (reason[:MAX_REASON], self._epoch.now(), id_),
        )

    def page(self, after: int) -> tuple[list[DeadLetter], bool]:
        """Letters with ids above ``after``, no more than a page holds but always one; whether there are others."""
        rows = self._spool.db.execute(
            "SELECT id, key, body, reason, buried_at FROM buried WHERE id > ? ORDER BY id", (after,)
        )
        letters: list[DeadLetter] = []
        size = 0
        for id_, key, body, reason, at in rows:
            topic = topic_at(id_)
            if topic is None:
                continue
            size += len(body) + len(encoder.encode((key, reason))) + AROUND
            if letters and size > PAGE_BYTES:
                return letters, True
            letters.append(DeadLetter(id_, topic, key, msgspec.Raw(body), reason, at))
        return letters, False

    def find(self, id_: int) -> tuple[str, Message] | None:
        """Topic and message of a letter, if it is there."""
        row = self._spool.db.execute("SELECT key, body FROM buried WHERE id = ?", (id_,)).fetchone()
        topic = topic_at(id_)
        return None if row is None or topic is None else (topic, Message(row[0], msgspec.Raw(row[1])))

    def forget(self, id_: int) -> None:
        self._spool.db.execute("DELETE FROM buried WHERE id = ?", (id_,))

    def trim(self) -> None:
        """Let the oldest go that are too many, or whose bytes are."""
        self._spool.db.execute(
            "DELETE FROM buried WHERE id NOT IN (SELECT id FROM ("
            " SELECT id, ROW_NUMBER() OVER newest AS place, SUM(LENGTH(body) + LENGTH(reason)) OVER newest AS size"
            " FROM buried WINDOW newest AS (ORDER BY buried_at DESC, id DESC))"
            " WHERE place = 1 OR (place <= ? AND size <= ?))",
            (BURIED_KEPT, BURIED_BYTES),
        )
