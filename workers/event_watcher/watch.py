"""One watch of the event-watcher: from its checkpoint on, bunch by bunch, keeping no object."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable
from typing import Generic, TypeVar

from shared.basics import telemetry
from shared.basics.timing import Clock, iso, jittered
from shared.kube.errors import Gone, KubeUnavailable
from shared.kube.reads import Resource
from shared.process.state import CHECKPOINT
from shared.queue.client import Queue, value
from shared.queue.messages import EVENTS
from shared.schemas.events import ClusterEvent
from workers.event_watcher.aggregate import Aggregator, Allowance
from workers.event_watcher.checkpoint import Checkpoint

T = TypeVar("T")

SAVE_SECONDS = 30.0
"""How often the checkpoint of a watch without news is saved."""

SLICE = 200
"""Events in one put. A frame of the queue holds 4 MiB; an event has 9 KiB at the very most."""

_SHORT_WATCH = 1.0
"""Seconds; a watch that ended sooner is not opened again at once: an empty 200 must not make us spin."""

_logger = logging.getLogger(__name__)

Select = Callable[[T], Iterable[ClusterEvent]]


class Watch(Generic[T]):
    """Runs on one thread. ``select`` gives the occurrences an object shows that are wanted."""

    def __init__(
        self,
        name: str,
        resource: Resource[T],
        select: Select[T],
        queue: Queue,
        clock: Clock,
        enrich: Callable[[ClusterEvent], ClusterEvent] = lambda event: event,
        list_at_first: bool = False,
        aggregator: Aggregator | None = None,
    ) -> None:
        self._name = name
        self._key = CHECKPOINT + name
        self._resource = resource
        self._select = select
        self._queue = queue
        self._clock = clock
        self._enrich = enrich
        self._list_at_first = list_at_first
        self._aggregator = aggregator or Aggregator()
        self._allowance = Allowance()
        self._unsent: list[ClusterEvent] = []
        """What the queue did not take yet. While it does not, nothing more is read from the watch."""
        self._checkpoint: Checkpoint | None = None
        self._saved_at = 0.0
        self._lock = threading.Lock()
        """Held while something is taken in or forwarded: the last flush comes from another thread."""

    def follow(self, alive: Callable[[], None]) -> float:
        """Go on from the checkpoint until the watch ends; the seconds until it shall be opened again.

        Raises:
            TemporaryError, PermanentError: the next call goes on from what was forwarded last.
        """
        checkpoint = self._load()
        with self._lock:
            self._forward(checkpoint)
        if not checkpoint.version:
            self._catch_up(checkpoint, alive)
            with self._lock:
                self._put_unsent(checkpoint)  # Killed before it saw anything, the next one begins where this did.
        checkpoint.begin()
        started, moved = time.monotonic(), False
        try:
            for bunch in self._resource.changes(checkpoint.version):
                moved = True
                alive()
                if not bunch:
                    continue
                with self._lock:
                    self._take_in((c.object for c in bunch if c.object and c.kind != "DELETED"), checkpoint)
                    checkpoint.moved(bunch[-1].version, self._clock.now())
                    self._forward(checkpoint)
        except Gone as error:
            _logger.info("%s: %s; listing what happened since", self._name, error)
            checkpoint.version = ""
            return jittered(1.0, 0.9)
        except KubeUnavailable as error:
            if not moved:
                raise
            # It was worth something, so this is no failure after the failures of earlier days.
            _logger.warning("%s: the watch broke: %s", self._name, error)
            return jittered(1.0, 0.9)
        telemetry.RECONNECTS.labels(f"watch {self._name}").inc()
        return 0.0 if time.monotonic() - started > _SHORT_WATCH else jittered(_SHORT_WATCH, 0.5)

    def close(self) -> None:
        """Forward the repeats that wait for their window, and save the checkpoint."""
        with self._lock:
            if self._checkpoint is not None:
                self._unsent += self._aggregator.due(float("inf"))
                self._put_unsent(self._checkpoint)

    def _load(self) -> Checkpoint:
        if self._checkpoint is None:
            saved = {key: value(entry) for key, entry in self._queue.get_state(CHECKPOINT).items()}
            self._checkpoint = Checkpoint(self._key, saved)
        return self._checkpoint

    def _catch_up(self, checkpoint: Checkpoint, alive: Callable[[], None]) -> None:
        """Without a version to go on from: look through a list, or at the very first start just begin here."""
        reason = "first" if checkpoint.time is None else "lost"
        telemetry.RELISTS.labels(self._name, reason).inc()
        checkpoint.begin()
        version, begun = "", self._clock.now()
        look = self._list_at_first or checkpoint.time is not None
        for page in self._resource.pages() if look else self._resource.pages(limit=1):
            version = version or page.metadata.resource_version
            if not look:
                break
            with self._lock:
                self._take_in(page.items, checkpoint)
                self._forward(checkpoint)
            alive()
        checkpoint.moved(version, begun)

    def _take_in(self, items: Iterable[T], checkpoint: Checkpoint) -> None:
        """Note the occurrences among ``items`` that are to be forwarded now: first sights, and not too many."""
        now = time.monotonic()
        for item in items:
            for event in self._select(item):
                if not checkpoint.is_news(event):
                    if checkpoint.is_history(event):
                        telemetry.EVENTS_HISTORY.labels(event.event_type).inc()
                    continue
                checkpoint.saw(event)
                telemetry.EVENTS_SEEN.labels(event.event_type).inc()
                first = self._aggregator.offer(event, now)
                if first is None:
                    continue
                if self._allowance.lets_through(event.event_type, now):
                    self._unsent.append(self._enrich(first))
                else:
                    telemetry.EVENTS_DROPPED.labels(event.event_type).inc()

    def _forward(self, checkpoint: Checkpoint) -> None:
        """Put what was noted and the repeats that are due on the queue; save the checkpoint once in a while."""
        now = time.monotonic()
        self._unsent += self._aggregator.due(now)
        if self._unsent or now - self._saved_at > SAVE_SECONDS:
            self._put_unsent(checkpoint)

    def _put_unsent(self, checkpoint: Checkpoint) -> None:
        """In slices that fit into a frame; how far the watch came is saved with the last of them."""
        while len(self._unsent) > SLICE:
            self._put_slice(checkpoint, more=True)
        self._put_slice(checkpoint, more=False)
        self._saved_at = time.monotonic()

    def _put_slice(self, checkpoint: Checkpoint, more: bool) -> None:
        """Events and checkpoint in one transaction: neither is ever there without the other."""
        events, rest = self._unsent[:SLICE], self._unsent[SLICE:]
        messages = [(f"{event.event_id}/{event.count}/{iso(event.last_seen)}", event.to_json()) for event in events]
        checkpoint.forwarded(events)
        self._queue.put(EVENTS, messages, checkpoint.unsaved(more))
        checkpoint.saved(more)
        self._unsent = rest
        for event in events:
            telemetry.EVENTS_PUT.labels(event.event_type).inc()
            where = f"{event.namespace}/{event.name}" if event.namespace else event.name
            _logger.info("%s: %s %s: %s", event.event_type, event.kind, where, event.message[:200])
