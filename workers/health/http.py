"""The endpoints: a small HTTP server that cannot be talked to death."""

from __future__ import annotations

import contextlib
import json
import logging
import socket
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

from shared.basics import telemetry
from shared.basics.errors import ConfigurationError

CONCURRENT = 16
"""Connections served at once; one more takes the place of the oldest, whoever that is: probes take milliseconds."""

REQUEST_SECONDS = 5.0
"""Seconds a connection may last, for its request and for reading the answer."""

_ROOM_SECONDS = 1.0
"""Seconds the oldest may take to make room, once it is cut off; then the newest is turned away instead."""

_ONLY_OURSELVES = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:; connect-src 'self';"
    " base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""A page of ours loads nothing, sends nothing anywhere else, and is in nobody's frame."""

PROMETHEUS = "text/plain; version=0.0.4; charset=utf-8"

_logger = logging.getLogger(__name__)

Answer = tuple[int, str, bytes]
"""Status, content type, body."""

Endpoint = Callable[[], Answer]


def as_json(status: int, body: dict[str, Any]) -> Answer:
    return status, "application/json", json.dumps(body).encode() + b"\n"


class EndpointServer(ThreadingHTTPServer):
    """Serves ``endpoints`` by path. ``port`` 0 takes any free one; see ``server_port``.

    Raises:
        ConfigurationError: the port is in use, or not for us.
    """

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, address: str, port: int, endpoints: dict[str, Endpoint]) -> None:
        self.endpoints = endpoints
        self._slots = threading.BoundedSemaphore(CONCURRENT)
        self._lock = threading.Lock()
        self._open: dict[socket.socket, float] = {}
        """The connections being served and since when, the oldest first."""
        try:
            super().__init__((address, port), _Handler)
        except OSError as error:
            raise ConfigurationError(
                [f"HEALTH_CHECK_PORT={port} cannot be listened on at {address or 'any address'}: {error.strerror}"]
            ) from error

    def process_request(self, request: Any, client_address: Any) -> None:
        if not self._slots.acquire(blocking=False):
            self._cut_off(1)
            if not self._slots.acquire(timeout=_ROOM_SECONDS):
                self.shutdown_request(request)
                return
        with self._lock:
            self._open[request] = time.monotonic()
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._slots.release()

    def shutdown_request(self, request: Any) -> None:
        with self._lock:  # Else it might be cut off when its descriptor is another's already.
            self._open.pop(request, None)
        super().shutdown_request(request)

    def service_actions(self) -> None:
        """Between two connections, and every half second: a client that drips must not keep its place for ever."""
        now = time.monotonic()
        with self._lock:
            over = sum(now - since > REQUEST_SECONDS for since in self._open.values())
        self._cut_off(over)

    def _cut_off(self, count: int) -> None:
        """End the oldest connections; their threads find them closed, and let go."""
        with self._lock:
            for connection in list(self._open)[:count]:
                del self._open[connection]
                telemetry.BOUND_HITS.labels("endpoint").inc()
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        _logger.debug("a client of the endpoints went away", exc_info=True)


class _Handler(BaseHTTPRequestHandler):
    """One request per connection; GET and HEAD only."""

    timeout = REQUEST_SECONDS
    server: EndpointServer
    server_version = "cloudoptim-agent"
    sys_version = ""

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def _answer(self, with_body: bool) -> None:
        endpoint = self.server.endpoints.get(urlsplit(self.path).path.rstrip("/") or "/")
        if endpoint is None:
            known = ", ".join(self.server.endpoints)
            status, kind, body = as_json(404, {"error": f"not found; there are {known}"})
        else:
            try:
                status, kind, body = endpoint()
            except Exception:
                _logger.exception("%s failed", self.path)
                status, kind, body = as_json(500, {"error": "see the agent's log"})
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Content-Security-Policy", _ONLY_OURSELVES)
        self.end_headers()
        if with_body:
            self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Probes come every few seconds; they are not worth a line."""
        _logger.debug("%s %s", self.address_string(), format % args)

    def setup(self) -> None:
        super().setup()
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
