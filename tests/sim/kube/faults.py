"""Answers made to order: what goes wrong, for which requests, how often."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.sim.kube.access import Ask
from tests.sim.kube.resources import Object


@dataclass
class Fault:
    """Answers the requests it matches; an empty field matches anything."""

    verb: str = ""
    resource: str = ""
    subresource: str | None = None
    namespace: str = ""
    name: str = ""
    path: str = ""
    """A prefix of the URL's path."""
    times: int | None = 1
    """How many requests it takes; None until it is removed."""
    status: int | None = None
    """The HTTP status; None lets the request through after ``delay``."""
    body: Object | str | Callable[[Ask], Object] = ""
    """A JSON object, what makes one for a request, or text sent as ``text/plain``."""
    headers: Mapping[str, str] = field(default_factory=dict)
    delay: float = 0.0
    close: bool = False
    """Cut the connection instead of answering."""
    hits: int = 0

    def matches(self, ask: Ask, path: str) -> bool:
        return (
            (self.times is None or self.hits < self.times)
            and self.verb in ("", ask.verb)
            and self.resource in ("", ask.resource)
            and self.subresource in (None, ask.subresource)
            and self.namespace in ("", ask.namespace)
            and self.name in ("", ask.name)
            and path.startswith(self.path)
        )


class Faults:
    """The faults in force, first added first tried."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._faults: list[Fault] = []

    def add(self, **fields: Any) -> Fault:
        fault = Fault(**fields)
        with self._lock:
            self._faults.append(fault)
        return fault

    def remove(self, fault: Fault) -> None:
        with self._lock:
            self._faults = [other for other in self._faults if other is not fault]

    def clear(self) -> None:
        with self._lock:
            self._faults.clear()

    def meet(self, ask: Ask, path: str) -> Fault | None:
        """The fault this request runs into, counted."""
        if not self._faults:
            return None
        with self._lock:
            fault = next((fault for fault in self._faults if fault.matches(ask, path)), None)
            if fault is not None:
                fault.hits += 1
            return fault
