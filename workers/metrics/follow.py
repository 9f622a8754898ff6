"""Keeps totals equal to the cluster: one list in pages, then one watch for as long as it lasts."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from shared.basics import telemetry
from shared.basics.timing import jittered
from shared.kube.connection import Hangup
from shared.kube.errors import Gone, KubeUnavailable
from shared.kube.reads import Change, Page, Resource

T = TypeVar("T")

_LOOKS = 10
_LOOK_AGAIN = 5.0
"""A self-check looks so often, so many seconds apart, before it believes in a mismatch."""

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
        self._distrusted = False

    def follow(self, alive: Callable[[], None]) -> float:
        """List if there is need to, then watch until the watch ends; ``alive`` is called as things move.

        Raises:
            TemporaryError, PermanentError: the totals stay as they are; the next call goes on from there.
        """
        if self._distrusted:
            self._distrusted, self._version, self._hangup = False, "", Hangup()
            self._list("mismatch", alive)
        elif not self._version:
            self._list("first" if self.totals is None else "gone", alive)
        started, moved = time.monotonic(), False
        try:
            for bunch in self._resource.changes(self._version, hangup=self._hangup):
                self._apply(bunch)
                moved = True
                alive()
        except Gone as error:
            _logger.info("%s: %s", self._name, error)
            self._version = ""
            return jittered(1.0, 0.9)
        except KubeUnavailable as error:
            if not moved:
                raise
            # It was worth something, so this is no failure after the failures of earlier days.
            _logger.warning("%s: the watch broke: %s", self._name, error)
            return jittered(1.0, 0.9)
        telemetry.RECONNECTS.labels(f"watch {self._name}").inc()
        return 0.0 if moved or time.monotonic() - started > _SHORT_WATCH else jittered(_SHORT_WATCH, 0.5)

    def check(self, wait: Callable[[float], object]) -> bool:
        """Compare the totals with the API server's own count; list again when they stay apart.

        The count costs one object (``limit=1``, ``remainingItemCount``). Where things come and go, the two are
        always apart by a few, now this way and now that: only what is so the same way at every look, ``wait``
        seconds apart, is a mismatch.
        """
        ways = set()
        for look in range(_LOOKS):
            page = next(iter(self._resource.pages(limit=1)))
            counted = len(page.items) + (page.metadata.remaining_item_count or 0)
            with self.lock:
                kept = len(self.totals)
            ways.add(kept > counted)
            if kept == counted or len(ways) > 1:
                telemetry.SELF_CHECKS.labels(self._name, "match").inc()
                return True
            if look < _LOOKS - 1:
                wait(_LOOK_AGAIN)
        telemetry.SELF_CHECKS.labels(self._name, "mismatch").inc()
        _logger.error("the totals know %d %s, the API server %d; listing them again", kept, self._name, counted)
        self._list_again()
        return False

    def _list_again(self) -> None:
        """End the present watch, and begin with a list."""
        present = self._hangup  # A watch that begins from here on has another, and a list before it.
        self._distrusted = True
        present.use()

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

    def _apply(self, bunch: list[Change[T]]) -> None:
        with self.lock:
            for change in bunch:
                self._version = change.version
                if change.object is None:
                    continue
                telemetry.CHANGES.labels(self._name).inc()
                if change.kind == "DELETED":
                    self._remove(self.totals, change.object)
                else:
                    self._put(self.totals, change.object)
