"""What a person sees of Central in a browser: a page, and a stream of server-sent events that fills it.

Event kinds: ``cluster`` (all nodes and their pods, when they changed), ``asked`` (a task), and each arrival by the name
of its call. Ids are numbers of the last arrival and the last task, so that a browser that reconnects misses nothing.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tests.sim.central.ledger import Ledger

Cluster = Callable[[], list[dict[str, Any]]]
"""The nodes with their pods as they are now (tests.sim.picture)."""

_PAGE = Path(__file__).with_name("console.html")
_SHOWN = ("result", "metrics", "events", "heartbeat", "register", "deregister")
_HISTORY = 200
"""Arrivals that a browser is told of when it comes."""
_LOOK_SECONDS = 0.25
_CLUSTER_SECONDS = 0.5
"""For so long one look at the cluster serves all browsers."""
_ALIVE_SECONDS = 10.0
"""After so long without news a comment finds out whether the browser is still there."""


class Console:
    """Thread-safe: each browser follows on a thread of its own."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self.cluster: Cluster | None = None
        """Where the cluster can be seen; without it the page shows what arrives, and no nodes."""
        self._lock = threading.Lock()
        self._seen: tuple[float, str] = (float("-inf"), "")

    def serve(self, handler: BaseHTTPRequestHandler, path: str) -> bool:
        """Answer a GET of ``path`` if it is the console's: the page, or events until the browser goes away."""
        if path == "/":
            page = _PAGE.read_bytes()
            _begin(handler, "text/html; charset=utf-8", {"Content-Length": str(len(page))})
            handler.wfile.write(page)
        elif path == "/sim/console":
            handler.close_connection = True
            _begin(handler, "text/event-stream", {"Cache-Control": "no-store"})
            for frame in self.follow(handler.headers.get("Last-Event-ID") or ""):
                handler.wfile.write(frame)
                handler.wfile.flush()
        else:
            return False
        return True

    def follow(self, last_id: str) -> Iterator[bytes]:
        """Frames of text/event-stream, for ever; from behind ``last_id``, or the last few arrivals without one."""
        arrived, asked = _parse(last_id) or (max(0, len(self._ledger.arrivals) - _HISTORY), 0)
        cluster, told = "", time.monotonic()
        while True:
            frames: list[tuple[str, Any]] = []
            for number, task in self._ledger.asked_after(asked):
                asked = number
                frames.append(("asked", task))
            for arrival in self._ledger.arrivals[arrived:]:
                arrived += 1
                if arrival.call in _SHOWN:
                    frames.append((arrival.call, arrival.body))
            for kind, data in frames:
                yield f"id: {arrived}-{asked}\nevent: {kind}\ndata: {json.dumps(data)}\n\n".encode()
            if (seen := self._look()) != cluster:
                cluster = seen
                frames.append(("cluster", None))
                yield f"event: cluster\ndata: {seen}\n\n".encode()
            now = time.monotonic()
            if frames:
                told = now
            elif now - told > _ALIVE_SECONDS:
                told = now
                yield b": alive\n\n"
            time.sleep(_LOOK_SECONDS)

    def _look(self) -> str:
        """The cluster as JSON; as it was seen last while it does not answer."""
        if self.cluster is None:
            return ""
        with self._lock:
            at, seen = self._seen
            if time.monotonic() - at > _CLUSTER_SECONDS:
                try:
                    seen = json.dumps(self.cluster())
                except Exception as error:  # The API server may be away for a test, and the page goes on.
                    print(f"console: the cluster cannot be seen: {error}")
                self._seen = time.monotonic(), seen
            return seen


def _begin(handler: BaseHTTPRequestHandler, kind: str, headers: Mapping[str, str]) -> None:
    handler.send_response(200)
    handler.send_header("Content-Type", kind)
    for name, value in headers.items():
        handler.send_header(name, value)
    handler.end_headers()


def may_command(origin: str | None, host: str | None) -> bool:
    """Whether a request may give tasks. A page of somebody else's in the same browser may not: this drains nodes.

    Such a request names its page as ``origin``; one whose name was made to lead here has that name as ``host``.
    """
    if origin is None:
        return True
    address = urlsplit(f"//{host}").hostname or ""
    named = address != "localhost" and not all(part.isdigit() for part in address.split("."))
    return not named and urlsplit(origin).netloc == host


def _parse(last_id: str) -> tuple[int, int] | None:
    arrived, _, asked = last_id.partition("-")
    return (int(arrived), int(asked)) if arrived.isdigit() and asked.isdigit() else None
