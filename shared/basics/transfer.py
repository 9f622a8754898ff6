"""HTTP calls with an end in sight: bounded in bytes and in time."""

from __future__ import annotations

import contextlib
import http.client
import os
import socket
import threading
from typing import Any

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.response import BaseHTTPResponse
from urllib3.util.retry import Retry

from shared.basics.errors import TemporaryError
from shared.basics.timing import Deadline

ONE_FRESH_CONNECTION = Retry(
    total=1,
    connect=1,
    read=1,
    redirect=0,
    status=0,
    other=0,
    allowed_methods=None,
    respect_retry_after_header=False,
)
"""A keep-alive connection that the other side closed shows only when it is used: one fresh one is tried at once, and
there is no retry besides. The default sleeps through three 429s without a word, and a Retry-After heeded there turns
an answer into an error without it."""

MAX_HEAD = 64 * 1024
"""Bytes of an answer's status line and headers together. http.client itself takes a hundred lines of 64 KiB each."""

_CHUNK = 256 * 1024


def read_body(response: BaseHTTPResponse, limit: int, deadline: Deadline, whole: bool = True) -> bytes:
    """The body, or its first ``limit`` bytes if it need not be ``whole``.

    Raises:
        TemporaryError: it is to be whole and is larger than ``limit`` bytes, or was not there by the ``deadline``.
    """
    body = bytearray()
    encoded = "content-encoding" in response.headers  # Else urllib3 need not look at each piece: a tenth of the cost.
    # read1 returns what is there; read would wait for a whole chunk, however slowly it drips.
    while chunk := response.read1(_CHUNK, decode_content=encoded):
        body += chunk
        if len(body) > limit:
            if not whole:
                del body[limit:]
                break
            raise TemporaryError(f"the answer is larger than {limit} bytes")
        if deadline.expired:
            raise TemporaryError("the answer drips in too slowly")
    return bytes(body)


class Cutoff:
    """Ends what this thread's calls wait for, in its block, once ``seconds`` have passed.

    The libraries' own time-outs begin anew with each byte, and a server may drip: in the TLS handshake, in the
    headers, in the length of a chunk. The calls' pool manager must be ``severable``.
    """

    def __init__(self, seconds: float) -> None:
        self._lock = threading.Lock()
        self._sockets: list[socket.socket] = []
        self._timer = threading.Timer(seconds, self.use)
        self._timer.daemon = True
        self.used = False
        """Whether the time ran out; an answer that just ends with its connection would look complete."""

    def __enter__(self) -> Cutoff:
        _thread.cutoff = self
        self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()
        _thread.cutoff = None
        with self._lock:
            while self._sockets:
                self._sockets.pop().close()

    def attach(self, connection: Any) -> None:
        """A connection that is to be ended; ended right away if it comes too late."""
        # A duplicate remains below TLS, which is not thread-safe, and after the libraries close theirs.
        duplicate = socket.socket(fileno=os.dup(connection.fileno()))
        with self._lock:
            self._sockets.append(duplicate)
            if self.used:
                _shut(duplicate)

    def use(self) -> None:
        """End them now; from any thread."""
        with self._lock:
            self.used = True
            for connection in self._sockets:
                _shut(connection)


def severable(manager: urllib3.PoolManager) -> None:
    """Let a ``Cutoff`` end the connections that ``manager`` makes."""
    manager.pool_classes_by_scheme = {"http": _Pool, "https": _TlsPool}


_thread = threading.local()


def _attach(connection: Any) -> None:
    cutoff = getattr(_thread, "cutoff", None)
    if cutoff is not None:
        cutoff.attach(connection)


def _shut(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):  # It ended by itself a moment ago.
        connection.shutdown(socket.SHUT_RDWR)


class _Head:
    """The beginning of an answer, line by line, and no more of it than ``MAX_HEAD`` bytes."""

    def __init__(self, whole: Any) -> None:
        self._whole = whole
        self._left = MAX_HEAD

    def readline(self, size: int) -> bytes:
        line: bytes = self._whole.readline(min(size, self._left + 1))
        self._left -= len(line)
        if self._left < 0:
            raise http.client.HTTPException(f"status line and headers of more than {MAX_HEAD} bytes")
        return line

    def __getattr__(self, name: str) -> Any:
        return getattr(self._whole, name)


class _Response(http.client.HTTPResponse):
    def begin(self) -> None:
        whole: Any = self.fp
        head: Any = _Head(whole)
        self.fp = head
        super().begin()
        if self.fp is head:  # Else it was closed: there is no body.
            self.fp = whole


class _Severable(HTTPConnection):
    response_class = _Response

    def __str__(self) -> str:
        """As urllib3's errors name it: whom they could not reach."""
        return f"{self.host}:{self.port}"

    def _new_conn(self) -> socket.socket:
        connection = super()._new_conn()
        _attach(connection)
        return connection

    def request(self, *args: Any, **kwargs: Any) -> None:
        if self.sock is not None:  # It was kept from an earlier call.
            _attach(self.sock)
        super().request(*args, **kwargs)


class _TlsSeverable(_Severable, HTTPSConnection):
    pass


class _Pool(urllib3.HTTPConnectionPool):
    ConnectionCls = _Severable


class _TlsPool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _TlsSeverable
