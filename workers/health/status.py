"""``/`` and ``/status``: the agent at a glance, for people and for programs. Read-only."""

from __future__ import annotations

import threading
from dataclasses import asdict
from pathlib import Path

from shared.basics.errors import AgentError
from shared.process.lifecycle import Process
from shared.process.overview import look
from workers.health.http import Answer, Endpoint, as_json

_PAGE = Path(__file__).with_name("page.html")
"""Read when it is asked for: it costs no memory before."""

_SERVES = 1.0
"""Seconds for which one look serves all who ask: many browsers cost no more than one."""

_PATIENCE = 0.9
"""Seconds the queue has to answer, so that a page says soon that it does not."""


class StatusPage:
    """Thread-safe: each request comes on a thread of its own."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._lock = threading.Lock()
        self._answer: Answer = as_json(503, {"error": "nothing is known yet"})
        self._until = float("-inf")

    @property
    def endpoints(self) -> dict[str, Endpoint]:
        """By path."""
        return {"/": self.page, "/status": self.status}

    def page(self) -> Answer:
        """The page itself. What it shows it asks ``status`` for."""
        return 200, "text/html; charset=utf-8", _PAGE.read_bytes()

    def status(self) -> Answer:
        """200 and the overview as JSON, or 503 and why there is none."""
        clock = self._process.clock
        with self._lock:
            if clock.monotonic() >= self._until:
                self._answer = self._look()
                self._until = clock.monotonic() + _SERVES
            return self._answer

    def _look(self) -> Answer:
        process = self._process
        try:
            seen = look(process.queue, process.settings.agent.cluster_id, process.clock, _PATIENCE)
        except AgentError as error:
            return as_json(503, {"error": str(error)})
        finally:
            process.queue.disconnect()  # This thread ends with its request.
        return as_json(200, asdict(seen))
