"""One watch of the event-watcher: from its checkpoint on, object by object, keeping none of them."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable
from typing import Generic, TypeVar

from shared import telemetry
from shared.kube.errors import Gone
from shared.kube.reads import Resource
from shared.queue.client import Queue, value
from shared.queue.messages import EVENTS
from shared.schemas.events import ClusterEvent
from shared.state import CHECKPOINT
from shared.timing import Clock, jittered
from workers.event_watcher.aggregate import Aggregator
from workers.event_watcher.checkpoint import Checkpoint

T = TypeVar("T")

SAVE_SECONDS = 30.0
"""How often the checkpoint of a watch without news is saved."""

_SHORT_WATCH = 1.0
"""Seconds; a watch that ended sooner is not opened again at once: an empty 200 must not make us spin."""

_logger = logging.getLogger(__name__)

Select = Callable[[T], Iterable[ClusterEvent]]


class Watch(Generic[T]):
    """Runs on one thread. ``wanted`` filters by the operator's settings."""

    def __init__(
        self,
        name: str,
        resource: Resource[T],
        select: Select[T],
        queue: Queue,
        clock: Clock,
        wanted: Callable[[ClusterEvent], bool] = lambda event: True,
        list_at_first: bool = False,
    ) -> None:
        self._name = name
        self._key = CHECKPOINT + name
        self._resource = resource
        self._select = select
        self._queue = queue
        self._clock = clock
        self._wanted = wanted
        self._list_at_first = list_at_first
        self._aggregator = Aggregator()
        self._checkpoint: Checkpoint | None = None
        self._saved_at = 0.0
        self._lock = threading.Lock()
        """Held while something is taken in or forwarded: the last flush comes from another thread."""

    def follow(self, alive: Callable[[], None]) -> float:
        """Go on from the checkpoint until the watch ends; the seconds until it shall be opened again.

        Raises:
            TemporaryError, PermanentError: the next call goes on from what was seen last.
        """
        checkpoint = self._load()
        if not checkpoint.version:
            self._catch_up(checkpoint, alive)
        started = time.monotonic()
        try:
            for change in self._resource.changes(checkpoint.version):
                alive()
                with self._lock:
                    if change.object is not None and change.kind != "DELETED":
                        self._take(change.object, checkpoint)
                    checkpoint.moved(change.version, self._clock.now())
                    self._flush(checkpoint)
        except Gone as error:
            _logger.info("%s: %s; listing what happened since", self._name, error)
            checkpoint.version = ""
            return jittered(1.0, 0.9)
        telemetry.RECONNECTS.labels(f"watch {self._name}").inc()
        return 0.0 if time.monotonic() - started > _SHORT_WATCH else jittered(_SHORT_WATCH, 0.5)

    def close(self) -> None:
        """Forward the repeats that wait for their window, and save the checkpoint."""
        with self._lock:
            if self._checkpoint is not None:
                self._put(self._aggregator.due(float("inf")), self._checkpoint)

    def _flush(self, checkpoint: Checkpoint) -> None:
        """Forward repeats that are due; save the checkpoint once in a while."""
        now = time.monotonic()
        repeats = self._aggregator.due(now)
        if repeats or now - self._saved_at > SAVE_SECONDS:
            self._put(repeats, checkpoint)

    def _load(self) -> Checkpoint:
        if self._checkpoint is None:
            entry = self._queue.get_state(self._key).get(self._key)
            self._checkpoint = Checkpoint(value(entry) if entry is not None else None)
        return self._checkpoint

    def _catch_up(self, checkpoint: Checkpoint, alive: Callable[[], None]) -> None:
        """Without a version to go on from: look through a list, or at the very first start just begin here."""
        reason = "first" if checkpoint.time is None else "lost"
        telemetry.RELISTS.labels(self._name, reason).inc()
        version, begun = "", self._clock.now()
        look = self._list_at_first or checkpoint.time is not None
        for page in self._resource.pages() if look else self._resource.pages(limit=1):
            version = version or page.metadata.resource_version
            if not look:
                break
            for item in page.items:
                self._take(item, checkpoint)
            alive()
        checkpoint.moved(version, begun)

    def _take(self, item: T, checkpoint: Checkpoint) -> None:
        news = []
        for event in self._select(item):
            if not self._wanted(event) or not checkpoint.is_news(event):
                continue
            telemetry.EVENTS_SEEN.labels(event.event_type).inc()
            first = self._aggregator.offer(event, time.monotonic())
            if first is not None:
                news.append(first)
        if news:
            self._put(news, checkpoint)

    def _put(self, events: list[ClusterEvent], checkpoint: Checkpoint) -> None:
        """Events and checkpoint in one transaction: neither is ever there without the other."""
        checkpoint.forwarded(events)
        messages = [(f"{event.event_id}/{event.count}", event.to_json()) for event in events]
        self._queue.put(EVENTS, messages, {self._key: checkpoint.record()})
        self._saved_at = time.monotonic()
        for event in events:
            telemetry.EVENTS_PUT.labels(event.event_type).inc()
            where = f"{event.namespace}/{event.name}" if event.namespace else event.name
            _logger.info("%s: %s %s: %s", event.event_type, event.kind, where, event.message[:200])
