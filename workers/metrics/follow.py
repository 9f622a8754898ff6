"""Keeps totals equal to the cluster: one list in pages, then one watch for as long as it lasts."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from shared.basics import telemetry
from shared.kube.reads import Change, Resource
from shared.kube.watch import Lists, Watch

T = TypeVar("T")

_LOOKS = 10
_LOOK_AGAIN = 5.0
"""A self-check looks so often, so many seconds apart, before it believes in a mismatch."""

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
        self._fresh: Any = None
        """The totals of a list that is not complete."""
        self._watch = Watch(name, resource, self)

    def follow(self, alive: Callable[[], None]) -> float:
        """List if there is need to, then watch until the watch ends; ``alive`` is called as things move.

        Raises:
            TemporaryError, PermanentError: the totals stay as they are; the next call goes on from there.
        """
        return self._watch.turn(alive)

    def check(self, wait: Callable[[float], object]) -> bool:
        """Compare the totals with the API server's own count; list again when they stay apart.

        The count costs one object (``limit=1``, ``remainingItemCount``). Where things come and go, the two are
        always apart by a few, now this way and now that: only what is so the same way at every look, ``wait``
        seconds apart, is a mismatch. An API server need not say how many remain; then there is nothing to compare.
        """
        ways = set()
        for look in range(_LOOKS):
            counted = self._counted()
            if counted is None:
                telemetry.SELF_CHECKS.labels(self._name, "unknown").inc()
                _logger.debug("the API server does not say how many %s there are: no self-check", self._name)
                return True
            with self.lock:
                kept = len(self.totals) + len(self._resource.skipped)
            ways.add(kept > counted)
            if kept == counted or len(ways) > 1:
                telemetry.SELF_CHECKS.labels(self._name, "match").inc()
                return True
            if look < _LOOKS - 1:
                wait(_LOOK_AGAIN)
        telemetry.SELF_CHECKS.labels(self._name, "mismatch").inc()
        _logger.error("the totals know %d %s, the API server %d; listing them again", kept, self._name, counted)
        self._watch.list_again("mismatch")
        return False

    def _counted(self) -> int | None:
        """How many there are; None where the API server does not say."""
        page = next(iter(self._resource.pages(limit=1)))
        remaining = page.metadata.remaining_item_count
        if remaining is None and page.metadata.continue_:
            return None
        return len(page.items) + page.skipped + (remaining or 0)

    # What the watch tells (shared.kube.watch.Reader).

    def begin(self, why: str) -> Lists:
        self._fresh = self._make()
        return Lists.WHOLE

    def page(self, items: list[T]) -> None:
        for item in items:
            self._move(self._put, self._fresh, item)

    def listed(self, version: str) -> None:
        with self.lock:
            self.totals, self._fresh = self._fresh, None
        _logger.info("listed %d %s", len(self.totals), self._name)

    def changed(self, bunch: list[Change[T]]) -> None:
        with self.lock:
            for change in bunch:
                if change.object is None:
                    continue
                telemetry.CHANGES.labels(self._name).inc()
                move = self._remove if change.kind == "DELETED" else self._put
                self._move(move, self.totals, change.object)

    def _move(self, move: Any, totals: Any, item: T) -> None:
        try:
            move(totals, item)
        except Exception as error:  # Whatever one object may lead to, the others count.
            self._resource.skip(item, error)
