"""What RBAC granted earlier in this run: an API server that restarts forbids everything for a moment (rule 16)."""

from __future__ import annotations

import re
import threading

from shared.basics.timing import Clock

PATIENCE = 60.0
"""Seconds a right that worked before may be refused before it counts as taken away."""

_OBJECT = re.compile(r"(/(?:namespaces|nodes|pods|[a-z]+sets|deployments|persistentvolumeclaims)/)[^/]+")


class Grants:
    """Remembers which kinds of requests worked. Thread-safe."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._worked: dict[tuple[str, str], tuple[float, float] | None] = {}
        """Method and path without names, to when it was refused first and last since it worked."""

    def worked(self, method: str, path: str) -> None:
        """The API server let such a request through."""
        with self._lock:
            self._worked[_right(method, path)] = None

    def refused(self, method: str, path: str) -> bool:
        """Whether a refusal by RBAC may pass by itself: the right worked, and has not been refused for long."""
        right, now = _right(method, path), self._clock.monotonic()
        with self._lock:
            if right not in self._worked:
                return False
            first, last = self._worked[right] or (now, now)
            if now - last >= PATIENCE:
                first = now  # Nobody asked for so long that this is another refusal.
            if now - first >= PATIENCE:
                del self._worked[right]
                return False
            self._worked[right] = (first, now)
            return True


def _right(method: str, path: str) -> tuple[str, str]:
    return method, _OBJECT.sub(r"\1*", path)
