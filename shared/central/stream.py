"""The WebSocket on which Central pushes urgent tasks: frames in, a broken connection as an error."""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import websocket
import websocket._handshake as websocket_handshake
import websocket._http as websocket_http
from requests.structures import CaseInsensitiveDict
from requests.utils import DEFAULT_CA_BUNDLE_PATH

from shared.basics.errors import AgentError, TemporaryError
from shared.basics.timing import SYSTEM_CLOCK, Clock
from shared.central.identity import Caller
from shared.central.items import Malformed, Offered, members, offered
from shared.central.verdicts import Answer, error_of
from shared.central.whereabouts import Whereabouts

PING_SECONDS = 15.0
"""Silence after which the peer is pinged; as much again and it counts as dead, and so does a frame that takes twice
as long."""

MAX_FRAME = 1024 * 1024
"""Bytes in one message; a task is a few hundred."""

MAX_HANDSHAKE = 64 * 1024
"""Bytes of the answer to the handshake, the page with which it may be refused included."""

_CONNECT_TIMEOUT = 10.0
"""Seconds for each step of the handshake."""

_OPEN_SECONDS = 30.0
"""For all of them: a server that drips its answer is as good as none."""

_SWITCHING_PROTOCOLS = 101


@dataclass(frozen=True)
class PushedCancel:
    """Stop a running task at its next safe point."""

    task_id: str


@dataclass(frozen=True)
class Unknown:
    """A frame that is none of ours; ``why`` for the log."""

    why: str


Push = Offered | PushedCancel | Unknown


def parse(frame: bytes) -> Push:
    """What a frame says: a bare task, a list of tasks, or an envelope with a ``type``. Never raises."""
    begin = frame.lstrip()[:1]
    try:
        if begin == b"[":
            return offered(frame)
        if begin != b"{":
            return Unknown("neither an object nor a list")
        found = members(frame, "type", "task", "task_id", "task_type")
        kind = _text(found.get("type"))
        if kind == "task":
            task = found.get("task", b"")
            return Offered([task]) if task.startswith(b"{") else Unknown("no task in it")
        if kind == "cancel":
            task_id = _text(found.get("task_id"))
            return PushedCancel(task_id) if task_id is not None else Unknown("cancel without a task_id")
        if "task_type" in found or "task_id" in found:
            return Offered([frame])
    except (Malformed, RecursionError) as error:
        return Unknown(f"not JSON, {error}")
    return Unknown(f"type {kind!r}"[:80])


def _text(value: bytes | None) -> str | None:
    """A member's value if it is a text, as JSON has it."""
    if value is None or not value.startswith(b'"'):
        return None
    try:
        return str(json.loads(value))
    except ValueError:
        return None


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
        trusted = ca_bundle or str(
            DEFAULT_CA_BUNDLE_PATH
        )  # The same authorities as for the calls, whatever else is in the environment.
        self._tls = {"ca_cert_path" if Path(trusted).is_dir() else "ca_certs": trusted}
        self._ping_seconds = ping_seconds
        self._clock = clock
        self._whereabouts = Whereabouts(url, clock)
        self._socket: Any = None

    def frames(self) -> Iterator[bytes | None]:
        """Connect and yield each text frame; None first, once connected, and after each answered silence.

        Raises:
            AuthenticationError: the handshake was answered 401.
            PermanentError: the handshake was refused in another way.
            TemporaryError: not reachable, or the connection ended or went silent.
        """
        try:
            self._connect()
            yield None
            silent_since = self._clock.monotonic()
            while not self._whereabouts.moved():
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
                    reason = self._caller.quoted(_closing_reason(data))
                    raise TemporaryError(f"Central closed the stream {reason}".rstrip())
                yield data if opcode == websocket.ABNF.OPCODE_TEXT else None
            raise TemporaryError("Central's name leads elsewhere now; the stream is opened there")
        except (websocket.WebSocketException, OSError) as error:
            raise TemporaryError(f"Central's stream broke: {self._reason(error)}") from error
        finally:
            if self._socket is not None:
                self._socket.shutdown()

    def close(self) -> None:
        """Cut the connection; a ``frames()`` that waits on another thread raises TemporaryError at once."""
        connection = getattr(self._socket, "sock", None)
        if connection is not None:
            # Closing alone would not wake whoever waits for bytes; below TLS, because that is not thread-safe.
            with contextlib.suppress(OSError):
                socket.socket.shutdown(connection, socket.SHUT_RDWR)

    def _connect(self) -> None:
        headers = self._caller.headers()
        agent = headers.pop("User-Agent")
        self._socket = _Connection(2 * self._ping_seconds, self._clock, self._tls)
        self._socket.settimeout(_CONNECT_TIMEOUT)
        watchdog = threading.Timer(_OPEN_SECONDS, self.close)
        watchdog.daemon = True
        watchdog.start()
        try:
            answer = self._socket.open(
                self._url, [*(f"{name}: {value}" for name, value in headers.items()), f"User-Agent: {agent}"]
            )
            if answer.status != _SWITCHING_PROTOCOLS:  # A redirect: no exception to websocket-client.
                raise self._refusal(answer.status, answer.headers)
        except websocket.WebSocketBadStatusException as error:
            body = error.resp_body or b""
            raise self._refusal(error.status_code, error.resp_headers or {}, body) from error
        except (websocket.WebSocketException, ssl.SSLError, OSError, ValueError) as error:
            raise TemporaryError(f"Central's stream is not reachable: {self._reason(error)}") from error
        finally:
            watchdog.cancel()
        self._socket.settimeout(self._ping_seconds)

    def _refusal(self, status: int, headers: Mapping[str, str], body: bytes = b"") -> AgentError:
        """What a handshake that was answered ``status`` means."""
        refusal = error_of("stream", Answer.of(self._caller, status, CaseInsensitiveDict(headers), body))
        return refusal or TemporaryError(f"Central's stream did not open: Central answered {status}")

    def _reason(self, error: Exception) -> str:
        return self._caller.quoted(f"{type(error).__name__}: {error}")


def _closing_reason(data: bytes) -> str:
    """Code and text of a close frame (RFC 6455 5.5.1)."""
    if len(data) < 2:
        return ""
    return f"({int.from_bytes(data[:2], 'big')} {data[2:].decode('utf-8', 'replace')})".replace(" )", ")")


class _Connection(websocket.WebSocket):
    """Ends when a message is larger than ``MAX_FRAME`` or a frame takes longer than ``slowest`` seconds.

    websocket-client itself reads whatever is announced, in as many fragments and for as long as it takes.
    """

    def __init__(self, slowest: float, clock: Clock, tls: Mapping[str, str]) -> None:
        super().__init__(sslopt=dict(tls), enable_multithread=True)
        self._slowest = slowest
        self._clock = clock
        self._begun: float | None = None
        """When the first bytes of the frame came that is being read."""
        self._size = 0
        """Bytes of the message so far: all of its fragments."""
        buffer: Any = self.frame_buffer
        self._read_length = buffer.recv_length
        buffer.recv_length = self._recv_length

    def open(self, url: str, headers: list[str]) -> Any:
        """Connect and shake hands, once; the answer, which may be a redirect.

        websocket-client's own ``connect`` follows redirects, key and all, and reads an answer of any size. The jar in
        which it keeps the cookies of all connections cannot be turned off, so it is emptied.
        """
        self.sock, address = websocket_http.connect(url, self.sock_opt, websocket_http.proxy_info(), None)  # type: ignore[no-untyped-call]
        answered: Any = _Answered(self.sock, MAX_HANDSHAKE)
        try:
            answer = websocket_handshake.handshake(answered, url, *address, header=headers, suppress_origin=True)
        finally:
            websocket_handshake.CookieJar.jar.clear()
        self.connected = True
        return answer

    def recv_frame(self) -> Any:
        frame: Any = super().recv_frame()  # type: ignore[no-untyped-call]  # so websocket-client leaves it
        self._begun = None
        if frame.opcode in (websocket.ABNF.OPCODE_TEXT, websocket.ABNF.OPCODE_BINARY):
            self._size = 0
        if frame.opcode < websocket.ABNF.OPCODE_CLOSE:  # No control frame, of which any may come in between.
            self._size += len(frame.data)
            self._check(self._size)
        return frame

    def _recv(self, bufsize: int) -> bytes:
        data: bytes = super()._recv(bufsize)  # type: ignore[no-untyped-call]
        now = self._clock.monotonic()
        if self._begun is None:
            self._begun = now
        elif now - self._begun > self._slowest:
            raise websocket.WebSocketPayloadException(f"a frame that took longer than {self._slowest:g} s")
        return data

    def _recv_length(self) -> None:
        self._read_length()
        self._check(self.frame_buffer.length or 0)

    @staticmethod
    def _check(size: int) -> None:
        if size > MAX_FRAME:
            raise websocket.WebSocketPayloadException(f"a message of {size} bytes or more")


class _Answered:
    """A socket of which at most ``limit`` bytes are read."""

    def __init__(self, connection: Any, limit: int) -> None:
        self._connection = connection
        self._limit = self._left = limit

    def recv(self, size: int) -> bytes:
        data: bytes = self._connection.recv(size)
        self._left -= len(data)
        if self._left < 0:
            raise websocket.WebSocketPayloadException(f"an answer of more than {self._limit} bytes")
        return data

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)
