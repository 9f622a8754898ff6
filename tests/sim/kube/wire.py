"""A small HTTP/1.1 server: keep-alive, one write for each answer, chunked streams, connections that can be cut."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import IO
from urllib.parse import parse_qsl, unquote, urlsplit

from tests.sim.kube.watches import Cut

_MAX_LINE = 65537
_MAX_BODY = 3 * 2**20
"""What a real API server accepts."""


@dataclass
class Request:
    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes = b""


@dataclass
class Response:
    status: int
    body: bytes = b""
    content_type: str = "application/json"
    headers: dict[str, str] = field(default_factory=dict)
    stream: Generator[list[bytes], None, None] | None = None
    """Batches of lines, each sent as a chunk of its own."""


Handler = Callable[[Request], Response]


class HttpServer:
    """Serves ``handler`` on one port, which it keeps when stopped and started again; a thread for each connection."""

    def __init__(
        self, handler: Handler, host: str = "127.0.0.1", port: int = 0, tls: ssl.SSLContext | None = None
    ) -> None:
        self.host, self.port = host, port
        self._handler, self._tls = handler, tls
        self._listening: socket.socket | None = None
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()

    @property
    def url(self) -> str:
        return f"{'https' if self._tls else 'http'}://{self.host}:{self.port}"

    def start(self) -> None:
        listening = self._listening = socket.create_server((self.host, self.port), backlog=512)
        self.port = listening.getsockname()[1]
        threading.Thread(target=self._accept, args=(listening,), name="kube-api", daemon=True).start()

    def stop(self) -> None:
        """Stop listening and cut every connection."""
        if self._listening is not None:
            with contextlib.suppress(OSError):
                self._listening.shutdown(socket.SHUT_RDWR)  # wakes accept()
            self._listening.close()
            self._listening = None
        self.cut_connections()

    def cut_connections(self) -> None:
        with self._lock:
            for connection in self._open:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def _accept(self, listening: socket.socket) -> None:
        while True:
            try:
                connection, _ = listening.accept()
            except OSError:
                return  # stopped
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._tls is not None:
                connection = self._tls.wrap_socket(connection, server_side=True)
            with self._tracked(connection), connection.makefile("rb") as reader:
                while self._answer(connection, reader):
                    pass
        except (Cut, OSError, ValueError):
            pass  # the other side is gone, or we cut it off: nobody is left to tell
        finally:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()

    @contextlib.contextmanager
    def _tracked(self, connection: socket.socket) -> Iterator[None]:
        with self._lock:
            self._open.add(connection)
        try:
            yield
        finally:
            with self._lock:
                self._open.discard(connection)

    def _answer(self, connection: socket.socket, reader: IO[bytes]) -> bool:
        """Serve one request; False when the connection is over."""
        line = reader.readline(_MAX_LINE)
        if not line.strip():
            return bool(line)
        method, target, version = line.decode("latin-1").split()
        headers = dict(_headers(reader))
        if headers.get("expect", "").lower() == "100-continue":
            connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        length = int(headers.get("content-length", 0))
        if length > _MAX_BODY:
            connection.sendall(b"HTTP/1.1 413 Request Entity Too Large\r\nContent-Length: 0\r\n\r\n")
            return False
        url = urlsplit(target)
        query = dict(reversed(parse_qsl(url.query, keep_blank_values=True)))
        request = Request(method, unquote(url.path), query, headers, reader.read(length) if length else b"")
        _send(connection, self._handler(request), with_body=method != "HEAD")
        return version == "HTTP/1.1" and headers.get("connection", "").lower() != "close"


def _headers(reader: IO[bytes]) -> Iterator[tuple[str, str]]:
    while (line := reader.readline(_MAX_LINE)) not in (b"\r\n", b"\n", b""):
        name, _, value = line.decode("latin-1").partition(":")
        yield name.strip().lower(), value.strip()


def _send(connection: socket.socket, response: Response, with_body: bool) -> None:
    status = response.status
    phrase = HTTPStatus(status).phrase if status in HTTPStatus._value2member_map_ else "Unknown"
    lines = [f"HTTP/1.1 {status} {phrase}", "Cache-Control: no-cache, private"]
    lines.append(f"Content-Type: {response.content_type}")
    lines += [f"{name}: {value}" for name, value in response.headers.items()]
    if response.stream is None:
        lines.append(f"Content-Length: {len(response.body)}")
        head = "\r\n".join([*lines, "", ""]).encode("latin-1")
        connection.sendall(head + response.body if with_body else head)
        return
    lines.append("Transfer-Encoding: chunked")
    connection.sendall("\r\n".join([*lines, "", ""]).encode("latin-1"))
    with contextlib.closing(response.stream) as batches:
        for batch in batches:
            if batch:
                connection.sendall(b"".join([b"%x\r\n%s\r\n" % (len(line), line) for line in batch]))
    connection.sendall(b"0\r\n\r\n")
