"""The retained state: a value by key, durable or not, read in pages by prefix and watched by version."""

from __future__ import annotations

import logging
import time
from bisect import bisect_left, insort
from collections import deque
from dataclasses import dataclass

import msgspec

from shared.basics.timing import Clock
from shared.queue.epoch import Epoch
from shared.queue.errors import NoRoom
from shared.queue.limits import PAGE_BYTES, RESERVE, Limits, check_record, record_bytes
from shared.queue.messages import NULL, Entry
from shared.queue.spool import Spool

_REMOVALS_KEPT = 1000

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Kept:
    """One value, as it is in memory."""

    value: msgspec.Raw
    version: int
    set_at: float
    """Monotonic."""
    durable: bool
    size: int
    """Bytes in a page."""


class Retained:
    """Durable values are in the spool, too; all are in memory."""

    def __init__(self, spool: Spool, limits: Limits, clock: Clock, epoch: Epoch) -> None:
        self._spool, self._limits, self._clock, self._epoch = spool, limits, clock, epoch
        self._kept: dict[str, Kept] = {}
        self._keys: list[str] = []
        """Sorted: a page begins where the last one ended, whatever was set or removed in between."""
        self._removed: deque[str] = deque()
        self._bytes = {True: 0, False: 0}
        """In pages, of what is durable and of what is not: journals never crowd out the workers' beats."""
        # Watchers compare versions across a restart of the broker, so a new one starts higher.
        self.version = int(time.time() * 1000)
        """Version of the newest change of any key."""
        self.load()

    def check(self, values: dict[str, msgspec.Raw], durable: bool, with_messages: bool = False) -> None:
        """Whether the values could be read again, and there is room. Changes nothing.

        What is set with messages closes what was begun: a share of the room is for it alone. What makes the
        whole no larger always has room.

        Raises:
            InvalidRequest: a key or a value is larger than a record may be.
            NoRoom: all of them together are too many bytes.
        """
        grown = 0
        for key, value in values.items():
            check_record(key, bytes(value))
            before = self._kept.get(key)
            grown += record_bytes(key, bytes(value)) - (before.size if before and before.durable == durable else 0)
        room = self._limits.state_bytes if durable else self._limits.passing_bytes
        if durable and not with_messages:
            room -= room // RESERVE
        if grown > 0 and self._bytes[durable] + grown > room:
            raise NoRoom(f"the state holds {self._bytes[durable]} bytes; with {grown} more it would be over {room}")

    def set(self, values: dict[str, msgspec.Raw], durable: bool) -> None:
        """Set keys that were checked; null removes one, wherever it is kept."""
        for key, value in values.items():
            self.version += 1
            before = self._kept.get(key)
            self._keep(key, value, self.version, self._clock.monotonic(), durable)
            if value == NULL:
                self._remember_removal(key)
                if before is not None and before.durable:
                    self._spool.db.execute("DELETE FROM state WHERE key = ?", (key,))
            elif durable:
                self._spool.db.execute(
                    "INSERT OR REPLACE INTO state (key, value, set_at) VALUES (?, ?, ?)",
                    (key, bytes(value), self._epoch.now()),
                )

    def page(self, prefix: str, after: str | None) -> tuple[list[Entry], bool]:
        """Entries whose key starts with ``prefix`` and comes behind ``after``, by key; whether there are more."""
        entries: list[Entry] = []
        size, now = 0, self._clock.monotonic()
        place = bisect_left(self._keys, max(prefix, after or ""))
        while place < len(self._keys) and (key := self._keys[place]).startswith(prefix):
            kept = self._kept[key]
            place += 1
            if key == after or kept.value == NULL:
                continue
            size += kept.size
            if entries and size > PAGE_BYTES:
                return entries, True
            entries.append(Entry(key, kept.value, kept.version, now - kept.set_at))
        return entries, False

    def changes(self, prefix: str, newer_than: int) -> tuple[list[Entry], int]:
        """Entries under ``prefix`` changed after ``newer_than``, oldest change first, and where to go on from.

        A removed key shows as null. What does not fit into a page is newer than the version returned.
        """
        changed: list[Entry] = []
        size, now = 0, self._clock.monotonic()
        found = [
            (kept.version, key, kept)
            for key, kept in self._kept.items()
            if kept.version > newer_than and key.startswith(prefix)
        ]
        for version, key, kept in sorted(found, key=lambda one: one[0]):
            size += kept.size
            if changed and size > PAGE_BYTES:
                return changed, changed[-1].version
            changed.append(Entry(key, kept.value, version, now - kept.set_at))
        return changed, self.version

    def load(self) -> None:
        """Durable values anew from the spool; when it cannot be read, what was known stays known."""
        durable = self._spool.db.execute("SELECT key, value, set_at FROM state").fetchall()
        monotonic = self._clock.monotonic()
        known = self._kept
        self.restore({key: kept for key, kept in known.items() if not kept.durable})
        for key, value, set_at in durable:
            if not _is_json(value):  # One record that was damaged must not keep all others from being read.
                _logger.error("the record %s of the spool is damaged, it is left out: %r", key, bytes(value)[:40])
                continue
            before = known.get(key)
            if before is not None and before.durable and before.value == msgspec.Raw(value):
                # Watchers are not woken for what did not change.
                self._keep(key, before.value, before.version, before.set_at, durable=True)
                continue
            self.version += 1
            self._keep(key, msgspec.Raw(value), self.version, monotonic - self._epoch.age(set_at), durable=True)

    def snapshot(self) -> dict[str, Kept]:
        return dict(self._kept)

    def restore(self, kept: dict[str, Kept]) -> None:
        """Know again what ``snapshot()`` knew; the spool is left alone."""
        self._kept, self._keys = kept, sorted(kept)
        self._bytes = {kind: sum(one.size for one in kept.values() if one.durable == kind) for kind in (True, False)}

    def write_anew(self, known: dict[str, Kept]) -> None:
        """The spool is a new one: write what is durable of ``known`` into it."""
        self.load()
        self.set({key: kept.value for key, kept in known.items() if kept.durable}, durable=True)

    def _keep(self, key: str, value: msgspec.Raw, version: int, set_at: float, durable: bool) -> None:
        if key in self._kept:
            self._forget(key)
        insort(self._keys, key)
        self._kept[key] = Kept(msgspec.Raw(bytes(value)), version, set_at, durable, record_bytes(key, bytes(value)))
        self._bytes[durable] += self._kept[key].size

    def _forget(self, key: str) -> None:
        gone = self._kept.pop(key)
        self._bytes[gone.durable] -= gone.size
        del self._keys[bisect_left(self._keys, key)]

    def _remember_removal(self, key: str) -> None:
        """Watchers see a removed key as null; the last thousand removals are enough."""
        self._removed.append(key)
        if len(self._removed) > _REMOVALS_KEPT:
            oldest = self._removed.popleft()
            if oldest in self._kept and self._kept[oldest].value == NULL:
                self._forget(oldest)


def _is_json(value: bytes) -> bool:
    try:
        msgspec.json.decode(value)
    except (msgspec.DecodeError, RecursionError):
        return False
    return True
