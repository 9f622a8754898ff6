"""The WebSocket on which Central pushes urgent tasks: frames in, a broken connection as an error."""

from __future__ import annotations

import json
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import websocket

from shared.central.identity import Caller
from shared.central.verdicts import error_of
from shared.errors import TemporaryError
from shared.timing import SYSTEM_CLOCK, Clock

PING_SECONDS = 15.0
"""Silence after which the peer is pinged; as much again and it counts as dead."""

MAX_FRAME = 1024 * 1024
"""Bytes in one message; a task is a few hundred."""

_CONNECT_TIMEOUT = 10.0


@dataclass(frozen=True)
class PushedTask:
    """A task as Central sent it, not validated."""

    task: Any


@dataclass(frozen=True)
class PushedCancel:
    """Stop a running task at its next safe point."""

    task_id: str


@dataclass(frozen=True)
class Unknown:
    """A frame that is none of ours; ``why`` for the log."""

    why: str


Push = PushedTask | PushedCancel | Unknown


def parse(text: str | bytes) -> list[Push]:
    """What a frame says: a bare task, a list of tasks, or an envelope with a ``type``. Never raises."""
    try:
        frame = json.loads(text)
    except (ValueError, RecursionError):
        return [Unknown("not JSON")]
    if isinstance(frame, list):
        return [PushedTask(task) if isinstance(task, dict) else Unknown("not a task") for task in frame]
    if not isinstance(frame, dict):
        return [Unknown("neither an object nor a list")]
    kind = frame.get("type")
    if kind == "task":
        return [PushedTask(frame["task"])] if isinstance(frame.get("task"), dict) else [Unknown("no task in it")]
    if kind == "cancel":
        task_id = frame.get("task_id")
        return [PushedCancel(task_id)] if isinstance(task_id, str) else [Unknown("cancel without a task_id")]
    if "task_type" in frame or "task_id" in frame:
        return [PushedTask(frame)]
    return [Unknown(f"type {kind!r}"[:80])]


class TaskStream:
    """One connection at a time to ``url``'s stream."""

    def __init__(
        self,
        url: str,
        cluster_id: str,
        caller: Caller,
        ca_bundle: str | None = None,
        ping_seconds: float = PING_SECONDS,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        query = urlencode({"cluster_id": cluster_id})
        # https becomes wss, http becomes ws.
        self._url = f"ws{url[len('http') :]}/api/v1/client/stream?{query}"
        self._caller = caller
        self._tls = {"ca_certs": ca_bundle} if ca_bundle else {}
        self._ping_seconds = ping_seconds
        self._clock = clock
        self._socket: Any = None

    def frames(self) -> Iterator[str | None]:
        """Connect and yield each text frame; None first, once connected, and after each answered silence.

        Raises:
            AuthenticationError: the handshake was answered 401.
            PermanentError: the handshake was refused in another way.
            TemporaryError: not reachable, or the connection ended or went silent.
        """
        self._connect()
        yield None
        silent_since = self._clock.monotonic()
        try:
            while True:
                try:
                    opcode, data = self._socket.recv_data(control_frame=True)
                except websocket.WebSocketTimeoutException:
                    if self._clock.monotonic() - silent_since >= 2 * self._ping_seconds:
                        silence = 2 * self._ping_seconds
                        raise TemporaryError(f"Central's stream was silent for {silence:g} s") from None
                    self._socket.ping()
                    continue
                silent_since = self._clock.monotonic()
                if opcode == websocket.ABNF.OPCODE_CLOSE:
                    raise TemporaryError(f"Central closed the stream{_closing_reason(data)}")
                yield data.decode("utf-8", "replace") if opcode == websocket.ABNF.OPCODE_TEXT else None
        except (websocket.WebSocketException, OSError) as error:
            raise TemporaryError(f"Central's stream broke: {type(error).__name__}: {error}") from error
        finally:
            self.close()

    def close(self) -> None:
        """Cut the connection; a ``frames()`` that waits on another thread raises TemporaryError."""
        if self._socket is not None:
            self._socket.shutdown()

    def _connect(self) -> None:
        headers = self._caller.headers()
        agent = headers.pop("User-Agent")
        try:
            self._socket = websocket.create_connection(
                self._url,
                timeout=_CONNECT_TIMEOUT,
                header=[*(f"{name}: {value}" for name, value in headers.items()), f"User-Agent: {agent}"],
                sslopt=self._tls,
                suppress_origin=True,
                enable_multithread=True,
                redirect_limit=0,
            )
        except websocket.WebSocketBadStatusException as error:
            refusal = error_of("stream", error.status_code, error.resp_headers or {}, "")
            raise refusal or TemporaryError(f"Central's stream did not open: {error}") from error
        except (websocket.WebSocketException, ssl.SSLError, OSError, ValueError) as error:
            raise TemporaryError(f"Central's stream is not reachable: {type(error).__name__}: {error}") from error
        self._socket.settimeout(self._ping_seconds)
        _cap_frames(self._socket)


def _closing_reason(data: bytes) -> str:
    """Code and text of a close frame (RFC 6455 5.5.1)."""
    if len(data) < 2:
        return ""
    return f" ({int.from_bytes(data[:2], 'big')} {data[2:].decode('utf-8', 'replace')})".replace(" )", ")")


def _cap_frames(connection: Any) -> None:
    """websocket-client reads a frame of any announced length; one over ``MAX_FRAME`` ends the connection."""
    buffer = connection.frame_buffer
    read_length = buffer.recv_length

    def recv_length() -> None:
        read_length()
        if buffer.length > MAX_FRAME:
            raise websocket.WebSocketPayloadException(f"a frame of {buffer.length} bytes")

    buffer.recv_length = recv_length
