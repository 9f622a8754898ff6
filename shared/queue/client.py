"""The queue as workers see it: one interface, spoken to the broker here and to a store in memory.py."""

from __future__ import annotations

import socket
import struct
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from shared.basics.errors import PermanentError, TemporaryError
from shared.basics.timing import Backoff, Deadline
from shared.queue.frames import RECEIVE, FrameError, FrameReader, pack
from shared.queue.messages import (
    NULL,
    Ack,
    Bury,
    DeadLetter,
    Entry,
    GetDead,
    GetState,
    Lease,
    Leased,
    Message,
    Put,
    Release,
    ReleaseAll,
    Reply,
    Request,
    Revive,
    SetState,
    Stats,
    TopicStats,
    WatchState,
    encoder,
    reply_decoder,
)

PATIENCE = 5.0
"""Seconds a call goes on trying to reach the broker before it raises; a restart takes less."""

_ANSWER = 10.0
"""Seconds the broker may take to answer, beyond what it was asked to wait; less when the caller has less patience."""

_SHORTEST_ANSWER = 0.1


class QueueUnavailable(TemporaryError):
    """The broker could not be reached or did not answer in time."""

    own_fault = True


class QueueRefused(TemporaryError):
    """The broker answered that it cannot do it now: it is full, or its disk is."""


class QueueFailed(QueueRefused):
    """The broker answered that it could not do it, and not for want of room."""

    own_fault = True


class Queue(ABC):
    """Typed calls. Each is atomic: it raises and nothing happened, or it returns and it is durable.

    Raises (all of them):
        QueueUnavailable: the broker cannot be reached; a put may then have happened, and is repeatable.
        QueueRefused: no room.
        QueueFailed: something else keeps it from doing so.
        PermanentError: the request itself is wrong.
    """

    @abstractmethod
    def call(self, request: Request, patience: float) -> Reply:
        """Send one request and return its answer."""

    def disconnect(self) -> None:  # noqa: B027 - nothing to do is a fair default
        """Close this thread's connection, if there is one; its leases are handed out again at once."""

    def put(
        self,
        topic: str,
        messages: Iterable[tuple[str, bytes]],
        state: Mapping[str, Any] | None = None,
        patience: float = PATIENCE,
    ) -> None:
        """Store (key, JSON body) messages and durable ``state`` (None removes a key) in one transaction."""
        batch = [Message(key, msgspec.Raw(body)) for key, body in messages]
        self.call(Put(topic, batch, _raw(state or {})), patience)

    def lease(
        self, topics: Sequence[str], limit: int, seconds: float, wait: float = 0.0, patience: float = PATIENCE
    ) -> list[Leased]:
        """Up to ``limit`` messages of the first topic that has any, for ``seconds``; [] after ``wait`` s."""
        return self.call(Lease(list(topics), limit, seconds, wait), patience).leased

    def ack(self, ids: Iterable[int]) -> None:
        """Forget delivered messages."""
        self.call(Ack(list(ids)), PATIENCE)

    def release(self, ids: Iterable[int], delay: float = 0.0) -> None:
        """Hand leased messages out again after ``delay`` seconds."""
        self.call(Release(list(ids), delay), PATIENCE)

    def release_all(self, patience: float = PATIENCE) -> None:
        """End every lease and delay, whoever has it."""
        self.call(ReleaseAll(), patience)

    def dead_letters(self) -> list[DeadLetter]:
        """What Central refused for good, as far as it is kept, in the order in which that happened."""
        letters: list[DeadLetter] = []
        more = True
        while more:
            reply = self.call(GetDead(letters[-1].id if letters else -1), PATIENCE)
            letters += reply.dead
            more = reply.more
        return sorted(letters, key=lambda letter: letter.buried_at)

    def revive(self, ids: Iterable[int]) -> int:
        """Queue dead letters again, as far as there is room; how many were."""
        return self.call(Revive(list(ids)), PATIENCE).revived

    def bury(self, ids: Iterable[int], reason: str) -> None:
        """Make messages dead letters."""
        self.call(Bury(list(ids), reason), PATIENCE)

    def set_state(self, values: Mapping[str, Any], durable: bool = False, patience: float = PATIENCE) -> None:
        """Retain values (None removes a key); durable ones survive the broker."""
        self.call(SetState(_raw(values), durable), patience)

    def get_state(self, prefix: str, patience: float = PATIENCE) -> dict[str, Entry]:
        """Entries by key, of all keys that start with ``prefix``, however many pages they fill.

        What is set while the pages are read may be among them or not.
        """
        entries: dict[str, Entry] = {}
        after: str | None = None
        while True:
            reply = self.call(GetState(prefix, after), patience)
            entries.update((entry.key, entry) for entry in reply.entries)
            if not reply.more:
                return entries
            after = reply.entries[-1].key

    def watch_state(self, prefix: str, version: int, wait: float) -> tuple[dict[str, Entry], int]:
        """Entries changed after ``version`` (0: all) and the version to go on from; empty after ``wait`` s.

        A removed key comes as null. When there is more than a page, the rest is newer than that version.
        """
        reply = self.call(WatchState(prefix, version, wait), PATIENCE)
        return {entry.key: entry for entry in reply.entries}, reply.version

    def stats(self, patience: float = PATIENCE) -> dict[str, TopicStats]:
        """Fill of each topic."""
        return self.call(Stats(), patience).stats


def value(entry: Entry) -> Any:
    """The JSON value of a state entry."""
    return msgspec.json.decode(entry.value)


def raise_for(reply: Reply) -> Reply:
    """``reply``, or its error as an exception."""
    if reply.error is None:
        return reply
    if reply.kind == "invalid":
        raise PermanentError(f"the queue refused a request: {reply.error}")
    failure = QueueRefused if reply.kind == "full" else QueueFailed
    raise failure(f"the queue could not do it: {reply.error}")


def _raw(values: Mapping[str, Any]) -> dict[str, msgspec.Raw]:
    return {key: NULL if v is None else msgspec.Raw(encoder.encode(v)) for key, v in values.items()}


def _limit(connection: socket.socket, option: int, seconds: float) -> None:
    """Let the kernel end a wait, with BlockingIOError: Python's own time-outs cost a poll() for each call."""
    connection.setsockopt(socket.SOL_SOCKET, option, struct.pack("ll", int(seconds), int(seconds % 1 * 1e6)))


class QueueClient(Queue):
    """Speaks to the broker at ``path``. Thread-safe: every thread has a connection of its own."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._threads = threading.local()

    def call(self, request: Request, patience: float = PATIENCE) -> Reply:
        """Send ``request``, connecting anew as often as ``patience`` seconds allow.

        With less than the usual patience, an answer may not take longer either: two such spans, and it raises.
        """
        payload = pack(encoder.encode(request))
        wait = request.wait if isinstance(request, (Lease, WatchState)) else 0.0
        allowed = wait + (_ANSWER if patience >= PATIENCE else max(patience, _SHORTEST_ANSWER))
        deadline: Deadline | None = None
        while True:
            try:
                return raise_for(self._exchange(payload, allowed))
            except (OSError, FrameError, msgspec.DecodeError) as error:
                self.disconnect()
                if deadline is None:
                    deadline, pauses = Deadline.after(patience), Backoff(0.02, 0.5)
                if deadline.expired:
                    raise QueueUnavailable(
                        f"the queue at {self._path} does not answer ({error}); is the health worker running?"
                    ) from error
                time.sleep(min(deadline.remaining, pauses.pause()))

    def disconnect(self) -> None:
        connection = getattr(self._threads, "connection", None)
        if connection is not None:
            connection.close()
            self._threads.connection = None

    def _exchange(self, payload: bytes, timeout: float) -> Reply:
        connection = getattr(self._threads, "connection", None)
        if connection is None:
            connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self._threads.connection = connection
            _limit(connection, socket.SO_SNDTIMEO, _ANSWER)
            connection.connect(str(self._path))
            self._threads.reader, self._threads.timeout = FrameReader(), None
        if timeout != self._threads.timeout:
            _limit(connection, socket.SO_RCVTIMEO, timeout)
            self._threads.timeout = timeout
        connection.sendall(payload)
        while True:
            data = connection.recv(RECEIVE)
            if not data:
                raise ConnectionResetError("the broker closed the connection")
            for answer in self._threads.reader.feed(data):
                return reply_decoder.decode(answer)
