"""Keeps totals equal to the cluster: one list in pages, then one watch for as long as it lasts."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from shared import telemetry
from shared.kube.connection import Hangup
from shared.kube.errors import Gone
from shared.kube.reads import Change, Page, Resource
from shared.timing import jittered

T = TypeVar("T")

_SHORT_WATCH = 1.0
"""Seconds; a watch that ended sooner without a change is not opened again at once."""

_logger = logging.getLogger(__name__)


class Followed(Generic[T]):
    """One kind of object and the totals of it. ``lock`` guards the totals; they are None before the first list."""

    def __init__(self, name: str, resource: Resource[T], make: Callable[[], Any], put: Any, remove: Any) -> None:
        self.lock = threading.Lock()
        self.totals: Any = None
        self._name = name
        self._resource = resource
        self._make = make
        self._put = put
        self._remove = remove
        self._version = ""
        self._hangup = Hangup()

    def follow(self, alive: Callable[[], None]) -> float:
        """List if there is need to, then watch until the watch ends; ``alive`` is called as things move.

        Raises:
            TemporaryError, PermanentError: the totals stay as they are; the next call goes on from there.
        """
        if not self._version:
            self._list("first" if self.totals is None else "lost", alive)
        started, moved = time.monotonic(), False
        try:
            for change in self._resource.changes(self._version, hangup=self._hangup):
                self._apply(change)
                moved = True
                alive()
        except Gone as error:
            _logger.info("%s: %s", self._name, error)
            self._version = ""
            return jittered(1.0, 0.9)
        telemetry.RECONNECTS.labels(f"watch {self._name}").inc()
        return 0.0 if moved or time.monotonic() - started > _SHORT_WATCH else jittered(_SHORT_WATCH, 0.5)

    def list_again(self) -> None:
        """Forget how far the watch came: the next ``follow`` lists. Ends the present watch."""
        self._version = ""
        self._hangup.use()
        self._hangup = Hangup()

    def _list(self, reason: str, alive: Callable[[], None]) -> None:
        telemetry.RELISTS.labels(self._name, reason).inc()
        fresh, version = self._make(), ""
        for page in self._resource.pages():
            version = version or page.metadata.resource_version
            self._fill(fresh, page)
            alive()
        with self.lock:
            self.totals = fresh
        self._version = version
        _logger.info("listed %d %s", len(fresh), self._name)

    def _fill(self, totals: Any, page: Page[T]) -> None:
        for item in page.items:
            self._put(totals, item)

    def _apply(self, change: Change[T]) -> None:
        self._version = change.version
        if change.object is None:
            return
        telemetry.CHANGES.labels(self._name).inc()
        with self.lock:
            if change.kind == "DELETED":
                self._remove(self.totals, change.object)
            else:
                self._put(self.totals, change.object)
