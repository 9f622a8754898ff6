"""From one watch to the queue: from its checkpoint on, bunch by bunch, keeping no object."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable
from typing import Generic, TypeVar

from shared.basics import telemetry
from shared.basics.timing import Clock, iso
from shared.kube.reads import Change, Resource
from shared.kube.watch import Lists, Watch
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

_logger = logging.getLogger(__name__)

Select = Callable[[T], Iterable[ClusterEvent]]


class Relay(Generic[T]):
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
        self._watch: Watch[T] | None = None
        self._checkpoint = Checkpoint(CHECKPOINT + name, {})
        """The true one from the first turn on, for which the queue must answer."""
        self._list_began = clock.now()
        self._saved_at = 0.0
        self._lock = threading.Lock()
        """Held while something is taken in or forwarded: the last flush comes from another thread."""

    def follow(self, alive: Callable[[], None]) -> float:
        """Go on from the checkpoint until the watch ends; the seconds until it shall be opened again.

        Raises:
            TemporaryError, PermanentError: the next call goes on from what was forwarded last.
        """
        watch = self._watch or self._open()
        with self._lock:
            self._forward()
        self._checkpoint.begin()
        return watch.turn(alive)

    def close(self) -> None:
        """Forward the repeats that wait for their window, and save the checkpoint."""
        with self._lock:
            if self._watch is not None:
                self._unsent += self._aggregator.due(float("inf"))
                self._put_unsent()

    def _open(self) -> Watch[T]:
        saved = {key: value(entry) for key, entry in self._queue.get_state(CHECKPOINT).items()}
        self._checkpoint = Checkpoint(CHECKPOINT + self._name, saved)
        self._watch = Watch(self._name, self._resource, self, self._checkpoint.version)
        return self._watch

    # What the watch tells (shared.kube.watch.Reader).

    def begin(self, why: str) -> Lists:
        """Without a version to go on from: look through a list, or at the very first start just begin here."""
        self._list_began = self._clock.now()
        self._checkpoint.begin()
        return Lists.WHOLE if self._list_at_first or self._checkpoint.time is not None else Lists.VERSION

    def page(self, items: list[T]) -> None:
        with self._lock:
            self._take_in(items)
            self._forward()

    def listed(self, version: str) -> None:
        with self._lock:
            self._checkpoint.moved(version, self._list_began)
            self._put_unsent()  # Killed before it saw anything, the next one begins where this did.
            self._checkpoint.begin()

    def changed(self, bunch: list[Change[T]]) -> None:
        with self._lock:
            self._take_in(change.object for change in bunch if change.object and change.kind != "DELETED")
            self._checkpoint.moved(bunch[-1].version or self._checkpoint.version, self._clock.now())
            self._forward()

    def _take_in(self, items: Iterable[T]) -> None:
        """Note the occurrences among ``items`` that are to be forwarded now: first sights, and not too many."""
        now = time.monotonic()
        for item in items:
            try:
                occurrences = list(self._select(item))
            except Exception as error:  # Whatever one object may lead to, the others are told of.
                self._resource.skip(item, error)
                continue
            for event in occurrences:
                self._consider(event, now)

    def _consider(self, event: ClusterEvent, now: float) -> None:
        if not self._checkpoint.is_news(event):
            if self._checkpoint.is_history(event):
                telemetry.EVENTS_HISTORY.labels(event.event_type).inc()
            return
        self._checkpoint.saw(event)
        telemetry.EVENTS_SEEN.labels(event.event_type).inc()
        first = self._aggregator.offer(event, now)
        if first is None:
            return
        if self._allowance.lets_through(event.event_type, now):
            self._unsent.append(self._enrich(first))
        else:
            telemetry.EVENTS_DROPPED.labels(event.event_type).inc()

    def _forward(self) -> None:
        """Put what was noted and the repeats that are due on the queue; save the checkpoint once in a while."""
        now = time.monotonic()
        self._unsent += self._aggregator.due(now)
        if self._unsent or now - self._saved_at > SAVE_SECONDS:
            self._put_unsent()

    def _put_unsent(self) -> None:
        """In slices that fit into a frame; how far the watch came is saved with the last of them."""
        while len(self._unsent) > SLICE:
            self._put_slice(more=True)
        self._put_slice(more=False)
        self._saved_at = time.monotonic()

    def _put_slice(self, more: bool) -> None:
        """Events and checkpoint in one transaction: neither is ever there without the other."""
        events, rest = self._unsent[:SLICE], self._unsent[SLICE:]
        messages = [(f"{event.event_id}/{event.count}/{iso(event.last_seen)}", event.to_json()) for event in events]
        self._checkpoint.forwarded(events)
        self._queue.put(EVENTS, messages, self._checkpoint.unsaved(more))
        self._checkpoint.saved(more)
        self._unsent = rest
        for event in events:
            telemetry.EVENTS_PUT.labels(event.event_type).inc()
            where = f"{event.namespace}/{event.name}" if event.namespace else event.name
            _logger.info("%s: %s %s: %s", event.event_type, event.kind, where, event.message[:200])
