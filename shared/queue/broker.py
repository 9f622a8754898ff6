"""The broker: one thread that serves the store on a Unix socket.

All requests read in one turn of the loop are committed together and answered after the commit, so a burst
costs one write to the spool.
"""

from __future__ import annotations

import contextlib
import logging
import selectors
import socket
import threading
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from shared.basics import telemetry
from shared.basics.errors import AgentError
from shared.basics.timing import SYSTEM_CLOCK, Clock
from shared.queue.errors import InvalidRequest, NoRoom, QueueFull, SpoolCorrupt
from shared.queue.frames import MAX_FRAME, RECEIVE, FrameError, FrameReader, pack
from shared.queue.handler import answer, nothing
from shared.queue.messages import Ack, Bury, Lease, Release, Reply, Request, WatchState, encoder, request_decoder
from shared.queue.store import Store

MAX_CONNECTIONS = 256
"""The five workers have a few each; more is somebody's mistake."""

SILENCE = 10.0
"""Seconds a connection may take for its first request, or for the rest of one it began."""

_BACKLOG = 128

DEAF_SECONDS = 1.0
"""Pause after a connection that could not be accepted."""

LOOK_SECONDS = 1.0
"""How often a busy loop looks whether its socket is still there: without it nobody new gets in."""

_MAX_UNREAD = 2 * MAX_FRAME
"""Bytes of answers a client may leave unread before it is cut off."""

_logger = logging.getLogger(__name__)


@dataclass
class _Client:
    """One connection."""

    socket: socket.socket
    reader: FrameReader = field(default_factory=FrameReader)
    unsent: bytearray = field(default_factory=bytearray)
    patience: float | None = 0.0
    """Monotonic time by which it must have completed a request; None: it may take its time."""


@dataclass
class _Waiter:
    """A lease or watch that waits for something to hand out."""

    client: _Client
    request: Lease | WatchState
    until: float
    seen: int
    """Version of the state when it was last tried: a watch need not look again before that moves."""


class Broker:
    """Owns the store. ``serve()`` runs until ``stop()``; both may be called from any thread."""

    def __init__(self, path: Path, store: Store, clock: Clock = SYSTEM_CLOCK) -> None:
        self._path = path
        self._store = store
        self._clock = clock
        self._selector = selectors.DefaultSelector()
        self._clients: dict[int, _Client] = {}
        self._waiters: list[_Waiter] = []
        self._answers: list[tuple[_Client, Reply]] = []
        self._holders: dict[int, _Client] = {}
        """Who has a message on lease: when that connection ends, it is handed out again."""
        self._stopping = threading.Event()
        self._wake_up, self._woken = socket.socketpair()
        self._woken.setblocking(False)
        self._listener = _listen(path)
        self._looked = clock.monotonic()
        self._deaf_until: float | None = None
        """Monotonic time until which nobody is let in, for want of descriptors."""
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._selector.register(self._woken, selectors.EVENT_READ)

    def stop(self) -> None:
        """End ``serve()`` after its present turn."""
        self._stopping.set()
        with contextlib.suppress(OSError):  # It may be over by now.
            self._wake_up.send(b"x")

    def serve(self) -> None:
        """Serve until ``stop()``; then close every socket and the store."""
        try:
            while not self._stopping.is_set():
                self._turn()
        finally:
            for client in list(self._clients.values()):
                self._hang_up(client)
            for closing in (self._listener, self._woken, self._wake_up):
                closing.close()
            self._selector.close()
            self._path.unlink(missing_ok=True)
            self._store.close()

    def _turn(self) -> None:
        for key, events in self._selector.select(self._time_to_next()):
            if key.fileobj is self._listener:
                self._accept()
            elif key.fileobj is self._woken:
                self._woken.recv(64)
            else:
                client = self._clients.get(key.fd)
                if client is not None and events & selectors.EVENT_READ:
                    self._read(client)
                if client is not None and events & selectors.EVENT_WRITE:
                    self._write(client)
        self._try_waiters()
        self._commit()
        for client, reply in self._answers:
            self._queue(client, reply)
        self._answers.clear()
        self._hang_up_on_the_silent()
        self._listen_again_if_gone()
        if self._deaf_until is not None and self._deaf_until <= self._clock.monotonic():
            self._selector.register(self._listener, selectors.EVENT_READ)
            self._deaf_until = None

    # -- requests ---------------------------------------------------------------------------------

    def _read(self, client: _Client) -> None:
        try:
            data = client.socket.recv(RECEIVE)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._hang_up(client)
            return
        try:
            for payload in client.reader.feed(data):
                self._handle(client, payload)
        except FrameError as error:
            _logger.warning("closed a connection to the queue that sent garbage: %s", error)
            self._hang_up(client)
            return
        client.patience = self._clock.monotonic() + SILENCE if client.reader.partial else None

    def _handle(self, client: _Client, payload: bytes) -> None:
        try:
            request = request_decoder.decode(payload)
        except (msgspec.DecodeError, RecursionError) as error:
            self._answers.append((client, Reply(error=f"not a request: {error}", kind="invalid")))
            return
        reply = self._attempt(client, request)
        if reply is not None:
            self._answers.append((client, reply))
        elif isinstance(request, (Lease, WatchState)) and request.wait > 0:
            until = self._clock.monotonic() + request.wait
            self._waiters.append(_Waiter(client, request, until, self._store.version))
        else:
            self._answers.append((client, nothing(self._store, request)))

    def _attempt(self, client: _Client, request: Request) -> Reply | None:
        try:
            reply = answer(self._store, request)
        except (InvalidRequest, NoRoom) as error:  # Nothing was done, so the others of this turn need not hear of it.
            telemetry.BOUND_HITS.labels("queue_room" if isinstance(error, NoRoom) else "queue_invalid").inc()
            return _failure(error)
        except (QueueFull, SpoolCorrupt) as error:
            self._fail_turn(error)
            return _failure(error)
        except Exception as error:  # One request must never take the broker down.
            _logger.exception("the queue could not answer a request: %s", error)
            failure = AgentError(f"{type(error).__name__}: {error}")
            self._fail_turn(failure)
            return _failure(failure)
        if isinstance(request, (Ack, Release, Bury)):
            for id_ in request.ids:
                self._holders.pop(id_, None)
        elif reply is not None and reply.leased:
            self._holders.update((message.id, client) for message in reply.leased)
        return reply

    def _try_waiters(self) -> None:
        now, waiting = self._clock.monotonic(), []
        for waiter in self._waiters:
            if waiter.client.socket.fileno() not in self._clients:
                continue
            reply = None
            if isinstance(waiter.request, Lease) or waiter.seen != self._store.version:
                waiter.seen = self._store.version
                reply = self._attempt(waiter.client, waiter.request)
            if reply is None and waiter.until <= now:
                reply = nothing(self._store, waiter.request)
            if reply is None:
                waiting.append(waiter)
            else:
                self._answers.append((waiter.client, reply))
        self._waiters = waiting

    def _commit(self) -> None:
        if not self._answers:
            return
        try:
            self._store.commit()
        except AgentError as error:
            self._fail_turn(error)

    def _fail_turn(self, error: AgentError) -> None:
        """Nothing of this turn was kept: whoever was about to hear otherwise hears the error."""
        _logger.error("the queue lost a turn of %d requests: %s", len(self._answers), error)
        for _, reply in self._answers:
            self._store.release((message.id for message in reply.leased), delay=0.0)
        if isinstance(error, SpoolCorrupt):
            try:
                self._store.start_anew()
            except AgentError as failure:  # The next request tries again.
                _logger.error("the queue cannot begin anew: %s", failure)
        self._answers = [(client, _failure(error)) for client, _ in self._answers]

    # -- connections ------------------------------------------------------------------------------

    def _accept(self) -> None:
        """Take in all who wait: one a turn would leave the last of a crowd refused by the kernel."""
        for _ in range(_BACKLOG):
            try:
                connection, _ = self._listener.accept()
            except BlockingIOError:
                return
            except OSError as error:
                _logger.warning("the queue could not accept a connection: %s", error)
                self._selector.unregister(self._listener)  # Else it would be ready, and fail, again and again.
                self._deaf_until = self._clock.monotonic() + DEAF_SECONDS
                return
            self._admit(connection)

    def _admit(self, connection: socket.socket) -> None:
        if len(self._clients) >= MAX_CONNECTIONS:
            telemetry.BOUND_HITS.labels("queue_connections").inc()
            connection.close()
            return
        connection.setblocking(False)
        self._selector.register(connection, selectors.EVENT_READ)
        client = _Client(connection, patience=self._clock.monotonic() + SILENCE)
        self._clients[connection.fileno()] = client

    def _listen_again_if_gone(self) -> None:
        """Somebody removed the socket: those connected are still served, but no new one would ever be."""
        now = self._clock.monotonic()
        if now - self._looked < LOOK_SECONDS:
            return
        self._looked = now
        if self._deaf_until is not None or self._path.exists():
            return
        _logger.warning("the queue's socket %s is gone; making it again", self._path)
        try:
            listener = _listen(self._path)
        except OSError as error:
            _logger.error("cannot make the queue's socket again: %s", error)
            return
        self._selector.unregister(self._listener)
        self._listener.close()
        self._listener = listener
        self._selector.register(listener, selectors.EVENT_READ)

    def _queue(self, client: _Client, reply: Reply) -> None:
        if client.socket.fileno() not in self._clients:
            return
        try:
            frame = pack(encoder.encode(reply))
        except FrameError as error:
            self._store.release((message.id for message in reply.leased), delay=0.0)
            frame = pack(encoder.encode(_failure(error)))
        client.unsent += frame
        if len(client.unsent) > _MAX_UNREAD:
            telemetry.BOUND_HITS.labels("queue_unread").inc()
            _logger.warning("closed a connection to the queue that does not read its answers")
            self._hang_up(client)
        else:
            self._write(client)

    def _write(self, client: _Client) -> None:
        try:
            while client.unsent:
                del client.unsent[: client.socket.send(client.unsent)]
        except BlockingIOError:
            pass
        except OSError:
            self._hang_up(client)
            return
        interest = selectors.EVENT_READ | (selectors.EVENT_WRITE if client.unsent else 0)
        if self._selector.get_key(client.socket).events != interest:
            self._selector.modify(client.socket, interest)

    def _hang_up(self, client: _Client) -> None:
        if self._clients.pop(client.socket.fileno(), None) is None:
            return
        self._selector.unregister(client.socket)
        client.socket.close()
        held = [id_ for id_, holder in self._holders.items() if holder is client]
        self._store.release(held, delay=0.0)
        for id_ in held:
            del self._holders[id_]

    def _hang_up_on_the_silent(self) -> None:
        now = self._clock.monotonic()
        for client in list(self._clients.values()):
            if client.patience is not None and client.patience <= now:
                telemetry.BOUND_HITS.labels("queue_silence").inc()
                self._hang_up(client)

    def _time_to_next(self) -> float | None:
        """Seconds until the loop has something to do without being asked."""
        moments = [waiter.until for waiter in self._waiters]
        moments += [self._deaf_until] if self._deaf_until is not None else []
        moments += [client.patience for client in self._clients.values() if client.patience is not None]
        if any(isinstance(waiter.request, Lease) for waiter in self._waiters):
            release = self._store.next_release()
            moments += [release] if release is not None else []
        return max(0.0, min(moments) - self._clock.monotonic()) if moments else None


def _failure(error: AgentError) -> Reply:
    kinds = {QueueFull: "full", NoRoom: "full", InvalidRequest: "invalid"}
    return Reply(error=str(error), kind=kinds.get(type(error), "failed"))


def _listen(path: Path) -> socket.socket:
    """A listening socket at ``path`` that only this user can use, in place of one that a killed broker left.

    It is made under another name: nobody is refused by a socket that does not listen yet.
    """
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.setblocking(False)
    unready = path.with_name(f"{path.name}~")
    unready.unlink(missing_ok=True)
    listener.bind(str(unready))
    unready.chmod(0o600)
    listener.listen(_BACKLOG)
    unready.replace(path)
    return listener
