"""The messages: put by topic, leased oldest first, acknowledged, dropped when room runs out."""

from __future__ import annotations

import time
from collections.abc import Iterable

import msgspec

from shared.basics.timing import Clock
from shared.queue.dead import DeadLetters
from shared.queue.epoch import Epoch
from shared.queue.errors import InvalidRequest, NoRoom
from shared.queue.fill import Fills
from shared.queue.limits import AROUND, DROPPED_FOR, LEASE_BYTES, MAX_MESSAGE, Limits, check_key, check_topic
from shared.queue.messages import TOPICS, DeadLetter, Leased, Message, TopicStats
from shared.queue.places import IDS, topic_at, written_as
from shared.queue.spool import Spool

_FRONT = "FROM message WHERE id BETWEEN ? AND ? ORDER BY id LIMIT 1"
"""The oldest message of a topic."""


class Topics:
    """What waits to be delivered, and what is on lease."""

    def __init__(self, spool: Spool, fills: Fills, limits: Limits, clock: Clock, epoch: Epoch) -> None:
        self._spool, self._fills, self._limits, self._clock, self._epoch = spool, fills, limits, clock, epoch
        self._dead = DeadLetters(spool, epoch)
        self._held: dict[int, float] = {}
        """Message id to the monotonic time it may be handed out (again): leases and delays alike.

        Not durable on purpose: a new broker hands everything out again at once.
        """
        # Never given out twice, also not by the next broker: an acknowledgement may come late. The clock may have
        # been set back, so what the spool holds has a say, too.
        self._next_id = max(time.time_ns() >> 10, self._highest_id())

    def put(self, topic: str, messages: list[Message]) -> None:
        """Add ``messages``; one whose key is still queued under the topic is there already.

        Raises:
            InvalidRequest: for an unknown topic or a message that could never be handed out.
            NoRoom: when the oldest of what may be dropped does not make enough room; nothing was done.
        """
        messages = self.check(topic, messages)
        now = self._epoch.now()
        for message in messages:
            self._make_room(topic, len(message.body))
            self._next_id += 1
            added = self._spool.db.execute(
                "INSERT OR IGNORE INTO message (id, topic, key, body, put_at) VALUES (?, ?, ?, ?, ?)",
                (IDS[topic].start + self._next_id, written_as(topic), message.key, bytes(message.body), now),
            ).rowcount
            if added:
                self._fills.add(topic, len(message.body))

    def check(self, topic: str, messages: list[Message]) -> list[Message]:
        """Those of ``messages`` to add, all of which there is, or can be made, room for. Changes nothing.

        Raises:
            InvalidRequest, NoRoom: as ``put``.
        """
        check_topic(topic)
        allowed = min(MAX_MESSAGE, self._limits.total_bytes)
        for message in messages:
            check_key(message.key)
            if len(message.body) > allowed:
                raise InvalidRequest(f"a message of {len(message.body)} bytes can never fit into {allowed}")
        fill, size = self._fills[topic], sum(len(message.body) for message in messages)
        full = fill.depth + len(messages) > self._limits.messages[topic]
        if full or self._fills.bytes + size > self._limits.total_bytes:
            messages = self._not_queued(topic, messages)  # A repeat needs no room.
            self._check_room(topic, messages)
        return messages

    def lease(self, topics: list[str], limit: int, seconds: float) -> list[Leased]:
        """Up to ``limit`` messages, oldest first, of the first topic that has any to hand out."""
        for topic in topics:
            check_topic(topic)
        self._forget_expired()
        until = self._clock.monotonic() + seconds
        for topic in topics:
            rows = self._spool.db.execute(
                "SELECT id, key, body, put_at FROM message WHERE id BETWEEN ? AND ? ORDER BY id LIMIT ?",
                (IDS[topic].start, IDS[topic].stop, limit + len(self._held)),
            )
            leased: list[Leased] = []
            size = 0
            for id_, key, body, put_at in rows:
                if id_ in self._held:
                    continue
                size += len(body) + len(key) + AROUND
                if leased and (len(leased) == limit or size > LEASE_BYTES):
                    break
                leased.append(Leased(id_, topic, key, msgspec.Raw(body), self._epoch.age(put_at)))
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

    def release_all(self) -> None:
        """End all leases and delays."""
        self._held.clear()

    def dead_letters(self, after: int) -> tuple[list[DeadLetter], bool]:
        """A page of the dead letters; whether there are more."""
        return self._dead.page(after)

    def revive(self, ids: Iterable[int]) -> int:
        """Queue dead letters again, as far as there is room; how many were.

        Raises:
            NoRoom: there is none for the first of them; nothing was done.
        """
        revived = 0
        for id_ in ids:
            found = self._dead.find(id_)
            if found is None:
                continue
            topic, message = found
            try:
                self.put(topic, [message])
            except NoRoom:
                if not revived:
                    raise
                break
            self._dead.forget(id_)
            revived += 1
        return revived

    def bury(self, ids: Iterable[int], reason: str) -> None:
        """Move messages to the dead letters."""
        for id_ in ids:
            self._dead.keep(id_, reason)
            if topic := self._remove(id_):
                self._fills.count(topic, buried=1)
        self._dead.trim()

    def next_release(self) -> float | None:
        """Monotonic time at which the next held message may be handed out again."""
        return min(self._held.values(), default=None)

    def stats(self) -> dict[str, TopicStats]:
        """Fill of each topic."""
        now = self._epoch.now()
        stats = {}
        for topic in self._fills:
            fill = self._fills[topic]
            (oldest,) = self._spool.db.execute(
                f"SELECT put_at {_FRONT}", (IDS[topic].start, IDS[topic].stop)
            ).fetchone() or (now,)
            stats[topic] = TopicStats(fill.depth, fill.bytes, self._epoch.age(oldest), fill.dropped, fill.buried)
        return stats

    def _highest_id(self) -> int:
        """The highest number in use, whatever its topic."""
        ranges = ((ids.start, ids.stop - 1) for ids in IDS.values())
        query = "SELECT MAX(id) FROM message WHERE id BETWEEN ? AND ?"
        found = ((self._spool.db.execute(query, (first, last)).fetchone()[0], first) for first, last in ranges)
        return max((id_ - first for id_, first in found if id_ is not None), default=0)

    def _not_queued(self, topic: str, messages: list[Message]) -> list[Message]:
        """Those of ``messages`` whose key does not wait already, each once."""
        query = "SELECT 1 FROM message WHERE topic = ? AND key = ?"
        first = {message.key: message for message in reversed(messages)}
        new = {key for key in first if self._spool.db.execute(query, (written_as(topic), key)).fetchone() is None}
        return [message for message in messages if message.key in new and first[message.key] is message]

    def _check_room(self, topic: str, messages: list[Message]) -> None:
        """Raise NoRoom if dropping all that may be dropped for them would not make room for ``messages``."""
        sizes = [len(message.body) for message in messages]
        stays = sum(self._fills[other].bytes for other in TOPICS if other not in DROPPED_FOR[topic])
        if topic in DROPPED_FOR[topic]:  # They make room for one another.
            needed = max(sizes, default=0)
        else:
            needed = sum(sizes)
            if messages and self._fills[topic].depth + len(messages) > self._limits.messages[topic]:
                raise NoRoom(f"{self._fills[topic].depth} {topic} wait to be delivered, the most allowed")
        if messages and stays + needed > self._limits.total_bytes:
            raise NoRoom(f"{self._limits.total_bytes} bytes of messages wait to be delivered")

    def _make_room(self, topic: str, size: int) -> None:
        """Drop the oldest of what may be; check() found that it is enough."""
        if self._fills[topic].depth >= self._limits.messages[topic]:
            self._drop_oldest(topic)
        for victim in DROPPED_FOR[topic]:
            while self._fills.bytes + size > self._limits.total_bytes and self._drop_oldest(victim):
                pass

    def _drop_oldest(self, victim: str) -> bool:
        """Drop the oldest message of ``victim``; False when it has none."""
        row = self._spool.db.execute(f"SELECT id {_FRONT}", (IDS[victim].start, IDS[victim].stop)).fetchone()
        if row is None:
            return False
        self._remove(row[0])
        self._fills.count(victim, dropped=1)
        return True

    def _remove(self, id_: int) -> str | None:
        """Delete a message; its topic, or None when it is not there."""
        row = self._spool.db.execute("SELECT LENGTH(body) FROM message WHERE id = ?", (id_,)).fetchone()
        self._held.pop(id_, None)
        topic = topic_at(id_)
        if row is None or topic is None:
            return None
        self._spool.db.execute("DELETE FROM message WHERE id = ?", (id_,))
        self._fills.add(topic, -row[0], -1)
        return topic

    def _forget_expired(self) -> None:
        now = self._clock.monotonic()
        for id_ in [id_ for id_, until in self._held.items() if until <= now]:
            del self._held[id_]
