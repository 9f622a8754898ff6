"""The queue's contents as one thing: messages by topic, retained state and the spool under both.

Nothing is durable before ``commit()``: the broker commits once for all requests it read at a time and only
then answers them.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Iterable
from pathlib import Path

import msgspec

from shared.basics.timing import SYSTEM_CLOCK, Clock
from shared.queue.epoch import Epoch
from shared.queue.errors import InvalidRequest, NoRoom, QueueFull, SpoolCorrupt
from shared.queue.fill import Fills
from shared.queue.limits import Limits
from shared.queue.messages import DeadLetter, Entry, Leased, Message, TopicStats
from shared.queue.retained import Retained
from shared.queue.spool import Spool
from shared.queue.topics import Topics

_logger = logging.getLogger(__name__)


class Store:
    """Not thread-safe: one thread owns it. ``path`` may be ``:memory:``."""

    def __init__(self, path: Path | str, limits: Limits | None = None, clock: Clock = SYSTEM_CLOCK) -> None:
        limits = limits or Limits()
        self._spool = Spool(path)
        self._fills = Fills(self._spool)
        epoch = Epoch(self._spool, clock)
        self._topics = Topics(self._spool, self._fills, limits, clock, epoch)
        self._retained = Retained(self._spool, limits, clock, epoch)

    # -- messages ---------------------------------------------------------------------------------

    def put(self, topic: str, messages: list[Message], state: dict[str, msgspec.Raw] | None = None) -> None:
        """Add ``messages`` and set durable ``state``, both or neither.

        Raises:
            InvalidRequest, NoRoom: nothing was done.
        """
        state = state or {}
        messages = self._topics.check(topic, messages)
        self._retained.check(state, durable=True, with_messages=True)
        self._topics.put(topic, messages)
        self._retained.set(state, durable=True)

    def lease(self, topics: list[str], limit: int, seconds: float) -> list[Leased]:
        return self._topics.lease(topics, limit, seconds)

    def ack(self, ids: Iterable[int]) -> None:
        self._topics.ack(ids)

    def release(self, ids: Iterable[int], delay: float) -> None:
        self._topics.release(ids, delay)

    def release_all(self) -> None:
        self._topics.release_all()

    def dead_letters(self, after: int) -> tuple[list[DeadLetter], bool]:
        """A page of the dead letters with ids above ``after``; whether there are more."""
        return self._topics.dead_letters(after)

    def revive(self, ids: Iterable[int]) -> int:
        """Queue dead letters again; how many were. Raises NoRoom."""
        return self._topics.revive(ids)

    def bury(self, ids: Iterable[int], reason: str) -> None:
        self._topics.bury(ids, reason)

    def next_release(self) -> float | None:
        """Monotonic time at which the next held message may be handed out again."""
        return self._topics.next_release()

    def stats(self) -> dict[str, TopicStats]:
        """Fill of each topic."""
        return self._topics.stats()

    # -- retained state ---------------------------------------------------------------------------

    def set_state(self, values: dict[str, msgspec.Raw], durable: bool) -> None:
        """Set keys; null removes one, wherever it is kept.

        Raises:
            InvalidRequest, NoRoom: nothing was done.
        """
        self._retained.check(values, durable)
        self._retained.set(values, durable)

    def get_state(self, prefix: str, after: str | None = None) -> tuple[list[Entry], bool]:
        """A page of the entries under ``prefix`` with keys behind ``after``; whether there are more."""
        return self._retained.page(prefix, after)

    def changes(self, prefix: str, newer_than: int) -> tuple[list[Entry], int]:
        """A page of what changed under ``prefix`` after that version; the version to go on from."""
        return self._retained.changes(prefix, newer_than)

    @property
    def version(self) -> int:
        """Version of the newest change of any key."""
        return self._retained.version

    # -- the whole --------------------------------------------------------------------------------

    def commit(self) -> None:
        """Make everything since the last commit durable.

        Raises:
            QueueFull: the disk is full; nothing since the last commit was kept.
            SpoolCorrupt: the spool must be set aside.
        """
        with self.translated():
            self._spool.db.commit()

    def translated(self) -> _Translated:
        """A block in which SQLite's errors become ours, with everything uncommitted undone."""
        return _Translated(self)

    def undo(self) -> None:
        """Forget everything since the last commit."""
        try:
            self._spool.db.rollback()
            self._fills.load()
            self._retained.load()
        except sqlite3.Error as error:
            raise SpoolCorrupt(f"the spool cannot be read: {error}") from error

    def start_anew(self) -> None:
        """Set a corrupt spool aside and go on with an empty one. Durable state is kept: it is in memory.

        The messages are lost, and counted as dropped.

        Raises:
            SpoolUnavailable, QueueFull: not now; the next call tries again, and knows as much.
        """
        lost, state = self._fills.snapshot(), self._retained.snapshot()
        try:
            self._spool.begin_anew()
            self._topics.release_all()
            self._fills.begin_anew(lost)
            self._retained.write_anew(state)
            self.commit()
        except BaseException:
            self._fills.restore(lost)
            self._retained.restore(state)
            self._spool.discard()
            raise
        for topic, fill in lost.items():
            if fill.depth:
                _logger.error("%d %s were lost with the damaged spool", fill.depth, topic)

    def close(self) -> None:
        self._spool.close()


class _Translated:
    """See Store.translated()."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if error is None or isinstance(error, (InvalidRequest, NoRoom)):
            return  # Either is found before anything is done for the request.
        self._store.undo()
        if isinstance(error, sqlite3.OperationalError):
            raise QueueFull(f"the spool cannot be written: {error}") from error
        if isinstance(error, sqlite3.DatabaseError):
            raise SpoolCorrupt(f"the spool is damaged: {error}") from error
