"""Wrong answers on request: statuses, delays, garbage, cut connections."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field


@dataclass
class Fault:
    """How calls of one kind are answered instead. ``times`` None: until cleared."""

    call: str
    """A call's name, or ``*`` for all."""
    status: int = 500
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    delay: float = 0.0
    cut: bool = False
    """Close the connection without an answer."""
    after: bool = False
    """Take what was sent, then answer wrongly: a delivery that arrived and was not confirmed."""
    times: int | None = None


class Faults:
    """Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._active: list[Fault] = []

    def add(self, fault: Fault) -> Fault:
        with self._lock:
            self._active.append(fault)
        return fault

    def clear(self) -> None:
        with self._lock:
            self._active.clear()

    def take(self, call: str) -> Fault | None:
        """The fault to apply to this call, used up once."""
        with self._lock:
            for fault in self._active:
                if fault.call in ("*", call) and fault.times != 0:
                    if fault.times is not None:
                        fault.times -= 1
                    return fault
        return None
