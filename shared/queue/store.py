"""The queue's contents: messages by topic, retained state, bounds. SQLite in WAL mode underneath.

Nothing is durable before ``commit()``: the broker commits once for all requests it read at a time and only
then answers them. ``synchronous=NORMAL`` survives SIGKILL of any process, which is what an emptyDir can
promise; a power cut loses the directory anyway.
"""

from __future__ import annotations

import logging
import sqlite3
import time
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from shared.basics.errors import PermanentError, TemporaryError
from shared.basics.timing import SYSTEM_CLOCK, Clock
from shared.queue.messages import EVENTS, METRICS, NULL, RESULTS, TOPICS, Entry, Leased, Message, TopicStats

FORMAT = 1
"""Version of the spool's tables, kept in ``PRAGMA user_version``; another one is set aside."""

LEASE_BYTES = 1024 * 1024
"""A lease hands out no more than this at a time (but always one message)."""

MAX_MESSAGE = 2 * 1024 * 1024
"""Bytes of one body: what was put in a frame must fit into one when it is handed out, with all that is around it."""

_DROPPED_FOR = {METRICS: (METRICS,), EVENTS: (METRICS, EVENTS), RESULTS: (METRICS, EVENTS)}
"""Whose oldest messages make room for a topic, in order. Results are never dropped."""

_IDS = {topic: range(number << 56, (number + 1) << 56) for number, topic in enumerate(TOPICS)}
"""Ids of a topic's messages: those of each stand together, in order, without an index of their own."""

_FRONT = "FROM message WHERE id BETWEEN ? AND ? ORDER BY id LIMIT 1"
"""The oldest message of a topic."""

_BURIED_KEPT = 100

_REMOVALS_KEPT = 1000

_SCHEMA = """
CREATE TABLE message (
    id INTEGER PRIMARY KEY, topic TEXT NOT NULL, key TEXT NOT NULL, body BLOB NOT NULL, put_at REAL NOT NULL,
    UNIQUE (topic, key)
);
CREATE TABLE buried (id INTEGER PRIMARY KEY, topic TEXT, key TEXT, body BLOB, reason TEXT, buried_at REAL);
CREATE TABLE tally (topic TEXT PRIMARY KEY, dropped INTEGER NOT NULL, buried INTEGER NOT NULL);
CREATE TABLE state (key TEXT PRIMARY KEY, value BLOB NOT NULL, set_at REAL NOT NULL);
"""

_TABLES = {"message", "buried", "tally", "state"}


class QueueFull(TemporaryError):
    """There is no room, and nothing that may be dropped to make some."""


class NoRoom(QueueFull):
    """The bounds leave no room; found before anything was done."""


class SpoolUnavailable(TemporaryError):
    """The spool cannot be opened just now: no descriptors, no room, or another process holds it."""


class SpoolCorrupt(TemporaryError):
    """The spool cannot be read or written any more; it has to be set aside."""


class InvalidRequest(PermanentError):
    """The request makes no sense to the queue."""


@dataclass(frozen=True)
class Limits:
    """Bounds of what waits: bytes of bodies in all, and messages of each topic."""

    total_bytes: int = 48 * 1024 * 1024
    messages: dict[str, int] = field(default_factory=lambda: {RESULTS: 10_000, EVENTS: 50_000, METRICS: 1_440})


@dataclass
class _Fill:
    """Running totals of one topic."""

    depth: int = 0
    bytes: int = 0
    dropped: int = 0
    buried: int = 0


@dataclass
class _Retained:
    value: msgspec.Raw
    version: int
    set_at: float
    """Monotonic."""
    durable: bool


class Store:
    """Not thread-safe: one thread owns it. ``path`` may be ``:memory:``."""

    def __init__(self, path: Path | str, limits: Limits | None = None, clock: Clock = SYSTEM_CLOCK) -> None:
        self._path = path
        self._limits = limits or Limits()
        self._clock = clock
        self._held: dict[int, float] = {}
        """Message id to the monotonic time it may be handed out (again): leases and delays alike.

        Not durable on purpose: a new broker hands everything out again at once.
        """
        self._state: dict[str, _Retained] = {}
        self._removed: deque[str] = deque()
        self._fill: dict[str, _Fill] = {}
        # Watchers compare versions across a restart of the broker, so a new one starts higher.
        self._version = int(time.time() * 1000)
        self._db = _open(path)
        # Never given out twice, also not by the next broker: an acknowledgement may come late. The clock may have
        # been set back, so what the spool holds has a say, too.
        self._next_id = max(time.time_ns() >> 10, self._highest_id())
        self._load()

    # -- messages ---------------------------------------------------------------------------------

    def put(self, topic: str, messages: list[Message], state: dict[str, msgspec.Raw] | None = None) -> None:
        """Add ``messages``; one whose key is still queued under the topic is there already.

        Raises:
            InvalidRequest: for an unknown topic or a message larger than all the room there is.
            NoRoom: when the oldest of what may be dropped does not make enough room; nothing was done.
        """
        _check(topic)
        largest = max((len(message.body) for message in messages), default=0)
        if largest > min(MAX_MESSAGE, self._limits.total_bytes):
            allowed = min(MAX_MESSAGE, self._limits.total_bytes)
            raise InvalidRequest(f"a message of {largest} bytes can never fit into {allowed}")
        fill, size = self._fill[topic], sum(len(message.body) for message in messages)
        if fill.depth + len(messages) > self._limits.messages[topic] or self._bytes + size > self._limits.total_bytes:
            messages = self._not_queued(topic, messages)  # A repeat needs no room.
            self._check_room(topic, messages)
        now = self._clock.now().timestamp()
        for message in messages:
            self._make_room(topic, len(message.body))
            self._next_id += 1
            added = self._db.execute(
                "INSERT OR IGNORE INTO message (id, topic, key, body, put_at) VALUES (?, ?, ?, ?, ?)",
                (_IDS[topic].start + self._next_id, topic, message.key, bytes(message.body), now),
            ).rowcount
            if added:
                self._fill[topic].depth += 1
                self._fill[topic].bytes += len(message.body)
                self._bytes += len(message.body)
        if state:
            self.set_state(state, durable=True)

    def lease(self, topics: list[str], limit: int, seconds: float) -> list[Leased]:
        """Up to ``limit`` messages, oldest first, of the first topic that has any to hand out."""
        for topic in topics:
            _check(topic)
        self._forget_expired()
        wall, until = self._clock.now().timestamp(), self._clock.monotonic() + seconds
        for topic in topics:
            rows = self._db.execute(
                "SELECT id, key, body, put_at FROM message WHERE id BETWEEN ? AND ? ORDER BY id LIMIT ?",
                (_IDS[topic].start, _IDS[topic].stop, limit + len(self._held)),
            )
            leased: list[Leased] = []
            size = 0
            for id_, key, body, put_at in rows:
                if id_ in self._held:
                    continue
                size += len(body)
                if leased and (len(leased) == limit or size > LEASE_BYTES):
                    break
                leased.append(Leased(id_, topic, key, msgspec.Raw(body), max(0.0, wall - put_at)))
            if leased:
                self._held.update((message.id, until) for message in leased)
                return leased
        return []

    def ack(self, ids: Iterable[int]) -> None:
        """Forget delivered messages; unknown ids are fine (acknowledged twice)."""
        for id_ in ids:
            self._remove(id_)

    def release(self, ids: Iterable[int], delay: float) -> None:
        """End the leases; the messages may be handed out again after ``delay`` seconds."""
        for id_ in ids:
            if id_ in self._held:
                self._held[id_] = self._clock.monotonic() + delay

    def bury(self, ids: Iterable[int], reason: str) -> None:
        """Move messages to the dead letters, of which the last hundred are kept."""
        for id_ in ids:
            self._db.execute(
                "INSERT OR REPLACE INTO buried SELECT id, topic, key, body, ?, ? FROM message WHERE id = ?",
                (reason, self._clock.now().timestamp(), id_),
            )
            if topic := self._remove(id_):
                self._count(topic, buried=1)
        self._db.execute(
            "DELETE FROM buried WHERE id NOT IN (SELECT id FROM buried ORDER BY id DESC LIMIT ?)",
            (_BURIED_KEPT,),
        )

    def next_release(self) -> float | None:
        """Monotonic time at which the next held message may be handed out again."""
        return min(self._held.values(), default=None)

    # -- retained state ---------------------------------------------------------------------------

    def set_state(self, values: dict[str, msgspec.Raw], durable: bool) -> None:
        """Set keys; null removes one, wherever it is kept."""
        for key, value in values.items():
            self._version += 1
            before = self._state.get(key)
            self._state[key] = _Retained(msgspec.Raw(bytes(value)), self._version, self._clock.monotonic(), durable)
            if value == NULL:
                self._remember_removal(key)
                if before is not None and before.durable:
                    self._db.execute("DELETE FROM state WHERE key = ?", (key,))
            elif durable:
                self._db.execute(
                    "INSERT OR REPLACE INTO state (key, value, set_at) VALUES (?, ?, ?)",
                    (key, bytes(value), self._clock.now().timestamp()),
                )

    def get_state(self, prefix: str, newer_than: int = -1) -> list[Entry]:
        """Entries under ``prefix`` changed after ``newer_than``; a removed key shows as null to a watcher."""
        now = self._clock.monotonic()
        return [
            Entry(key, kept.value, kept.version, now - kept.set_at)
            for key, kept in self._state.items()
            if key.startswith(prefix) and kept.version > newer_than and (newer_than >= 0 or kept.value != NULL)
        ]

    @property
    def version(self) -> int:
        """Version of the newest change of any key."""
        return self._version

    # -- the whole --------------------------------------------------------------------------------

    def stats(self) -> dict[str, TopicStats]:
        """Fill of each topic."""
        now = self._clock.now().timestamp()
        stats = {}
        for topic, fill in self._fill.items():
            (oldest,) = self._db.execute(
                f"SELECT put_at {_FRONT}", (_IDS[topic].start, _IDS[topic].stop)
            ).fetchone() or (now,)
            stats[topic] = TopicStats(fill.depth, fill.bytes, max(0.0, now - oldest), fill.dropped, fill.buried)
        return stats

    def commit(self) -> None:
        """Make everything since the last commit durable.

        Raises:
            QueueFull: the disk is full; nothing since the last commit was kept.
            SpoolCorrupt: the spool must be set aside.
        """
        with self.translated():
            self._db.commit()

    def translated(self) -> _Translated:
        """A block in which SQLite's errors become ours, with everything uncommitted undone."""
        return _Translated(self)

    def undo(self) -> None:
        """Forget everything since the last commit."""
        try:
            self._db.rollback()
            self._load()
        except sqlite3.Error as error:
            raise SpoolCorrupt(f"the spool cannot be read: {error}") from error

    def start_anew(self) -> None:
        """Set a corrupt spool aside and go on with an empty one. Durable state is kept: it is in memory.

        The messages are lost, and counted as dropped.

        Raises:
            SpoolUnavailable, QueueFull: not now; the next call tries again, and knows as much.
        """
        lost, state = self._fill, self._state
        self._db.close()
        if isinstance(self._path, Path):
            set_aside(self._path, "corrupt")
        try:
            self._db = _open(self._path)
            self._held.clear()
            self._load()
            for topic, fill in lost.items():
                self._fill[topic].buried = fill.buried
                self._count(topic, dropped=fill.dropped + fill.depth)
            self.set_state({key: kept.value for key, kept in state.items() if kept.durable}, durable=True)
            self.commit()
        except BaseException:
            self._fill, self._state = lost, state
            self._db.close()
            if isinstance(self._path, Path):  # Else the next attempt would set this one aside, over the damaged one.
                for part in _parts(self._path):
                    part.unlink(missing_ok=True)
            raise
        for topic, fill in lost.items():
            if fill.depth:
                logging.error("%d %s were lost with the damaged spool", fill.depth, topic)

    def close(self) -> None:
        self._db.close()

    # -- inside -----------------------------------------------------------------------------------

    def _load(self) -> None:
        """Totals and durable state from the tables; when they cannot be read, what was known stays known."""
        fills = {topic: _Fill() for topic in TOPICS}
        for topic, depth, size in self._db.execute(
            "SELECT topic, COUNT(*), SUM(LENGTH(body)) FROM message GROUP BY topic"
        ):
            fills[topic].depth, fills[topic].bytes = depth, size
        for topic, dropped, buried in self._db.execute("SELECT topic, dropped, buried FROM tally"):
            fills[topic].dropped, fills[topic].buried = dropped, buried
        durable = self._db.execute("SELECT key, value, set_at FROM state").fetchall()
        self._fill, self._bytes = fills, sum(fill.bytes for fill in fills.values())
        wall, monotonic = self._clock.now().timestamp(), self._clock.monotonic()
        known = self._state
        self._state = {key: kept for key, kept in known.items() if not kept.durable}
        for key, value, set_at in durable:
            before = known.get(key)
            if before is not None and before.durable and before.value == msgspec.Raw(value):
                self._state[key] = before  # Watchers are not woken for what did not change.
                continue
            self._version += 1
            age = max(0.0, wall - set_at)
            self._state[key] = _Retained(msgspec.Raw(value), self._version, monotonic - age, True)

    def _highest_id(self) -> int:
        """The highest number in use, whatever its topic."""
        ranges = ((ids.start, ids.stop - 1) for ids in _IDS.values())
        query = "SELECT MAX(id) FROM message WHERE id BETWEEN ? AND ?"
        found = ((self._db.execute(query, (first, last)).fetchone()[0], first) for first, last in ranges)
        return max((id_ - first for id_, first in found if id_ is not None), default=0)

    def _not_queued(self, topic: str, messages: list[Message]) -> list[Message]:
        """Those of ``messages`` whose key does not wait already, each once."""
        query = "SELECT 1 FROM message WHERE topic = ? AND key = ?"
        first = {message.key: message for message in reversed(messages)}
        new = {key for key in first if self._db.execute(query, (topic, key)).fetchone() is None}
        return [message for message in messages if message.key in new and first[message.key] is message]

    def _check_room(self, topic: str, messages: list[Message]) -> None:
        """Raise NoRoom if dropping all that may be dropped for them would not make room for ``messages``."""
        sizes = [len(message.body) for message in messages]
        stays = sum(fill.bytes for other, fill in self._fill.items() if other not in _DROPPED_FOR[topic])
        if topic in _DROPPED_FOR[topic]:  # They make room for one another.
            needed = max(sizes, default=0)
        else:
            needed = sum(sizes)
            if messages and self._fill[topic].depth + len(messages) > self._limits.messages[topic]:
                raise NoRoom(f"{self._fill[topic].depth} {topic} wait to be delivered, the most allowed")
        if messages and stays + needed > self._limits.total_bytes:
            raise NoRoom(f"{self._limits.total_bytes} bytes of messages wait to be delivered")

    def _make_room(self, topic: str, size: int) -> None:
        """Drop the oldest of what may be; _check_room() found that it is enough."""
        if self._fill[topic].depth >= self._limits.messages[topic]:
            self._drop_oldest(topic)
        for victim in _DROPPED_FOR[topic]:
            while self._bytes + size > self._limits.total_bytes and self._drop_oldest(victim):
                pass

    def _drop_oldest(self, victim: str) -> bool:
        """Drop the oldest message of ``victim``; False when it has none."""
        row = self._db.execute(f"SELECT id {_FRONT}", (_IDS[victim].start, _IDS[victim].stop)).fetchone()
        if row is None:
            return False
        self._remove(row[0])
        self._count(victim, dropped=1)
        return True

    def _count(self, topic: str, dropped: int = 0, buried: int = 0) -> None:
        self._fill[topic].dropped += dropped
        self._fill[topic].buried += buried
        self._db.execute(
            "INSERT OR REPLACE INTO tally (topic, dropped, buried) VALUES (?, ?, ?)",
            (topic, self._fill[topic].dropped, self._fill[topic].buried),
        )

    def _remove(self, id_: int) -> str | None:
        """Delete a message; its topic, or None when it is not there."""
        row = self._db.execute("SELECT topic, LENGTH(body) FROM message WHERE id = ?", (id_,)).fetchone()
        self._held.pop(id_, None)
        if row is None:
            return None
        self._db.execute("DELETE FROM message WHERE id = ?", (id_,))
        topic: str = row[0]
        self._fill[topic].depth -= 1
        self._fill[topic].bytes -= row[1]
        self._bytes -= row[1]
        return topic

    def _remember_removal(self, key: str) -> None:
        """Watchers see a removed key as null; the last thousand removals are enough."""
        self._removed.append(key)
        if len(self._removed) > _REMOVALS_KEPT:
            oldest = self._removed.popleft()
            if oldest in self._state and self._state[oldest].value == NULL:
                del self._state[oldest]

    def _forget_expired(self) -> None:
        now = self._clock.monotonic()
        for id_ in [id_ for id_, until in self._held.items() if until <= now]:
            del self._held[id_]


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


def _open(path: Path | str) -> sqlite3.Connection:
    """The spool at ``path``, made anew (the old one set aside) when it is unreadable or of another format.

    Raises:
        SpoolUnavailable: it may be good, but cannot be opened just now.
    """
    try:
        return _connect(path)
    except _OtherFormat as error:
        reason = "format"
        logging.error("the spool %s has format %s, not %d; starting an empty one", path, error, FORMAT)
    except sqlite3.OperationalError as error:
        # Locked, no descriptors, no room, no permission: corruption is a plain DatabaseError.
        raise SpoolUnavailable(f"the spool {path} cannot be opened: {error}") from error
    except sqlite3.DatabaseError as error:
        reason = "corrupt"
        logging.error("the spool %s cannot be read (%s); starting an empty one", path, error)
    set_aside(Path(path), reason)
    return _connect(path)


class _OtherFormat(Exception):
    pass


def _check(topic: str) -> None:
    if topic not in TOPICS:
        raise InvalidRequest(f"unknown topic {topic!r}; expected one of {', '.join(TOPICS)}")


def _connect(path: Path | str) -> sqlite3.Connection:
    # The broker thread owns the connection, but the process opens it before that thread starts.
    db = sqlite3.connect(path, check_same_thread=False, timeout=5)
    try:
        # This process alone uses the file: without shared memory and file locks a commit takes half as long.
        db.execute("PRAGMA locking_mode = EXCLUSIVE")
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = NORMAL")
        db.execute("PRAGMA journal_size_limit = 4194304")
        db.execute("PRAGMA wal_autocheckpoint = 4000")
        (found,) = db.execute("PRAGMA user_version").fetchone()
        tables = {name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        if not tables:
            db.executescript(f"BEGIN; {_SCHEMA} PRAGMA user_version = {FORMAT}; COMMIT;")
        elif found != FORMAT:
            raise _OtherFormat(found)
        elif not tables >= _TABLES:
            raise sqlite3.DatabaseError(f"it has no table {', '.join(sorted(_TABLES - tables))}")
        (verdict,) = db.execute("PRAGMA quick_check(1)").fetchone()
        if verdict != "ok":
            raise sqlite3.DatabaseError(verdict)
    except BaseException:
        db.close()
        raise
    return db


def set_aside(path: Path, reason: str) -> None:
    """Move a spool out of the way, as ``NAME.REASON`` over an earlier one, so that it can be looked at."""
    for part, aside in zip(_parts(path), _parts(Path(f"{path}.{reason}")), strict=True):
        if part.exists():
            part.replace(aside)


def _parts(path: Path) -> list[Path]:
    return [Path(f"{path}{suffix}") for suffix in ("", "-wal", "-shm")]
