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
from shared.queue.messages import EVENTS, NOTICES
from shared.schemas.events import ClusterEvent
from workers.event_watcher.aggregate import Aggregator, Allowance
from workers.event_watcher.checkpoint import Checkpoint, Mark
from workers.event_watcher.memo import Memo
from workers.event_watcher.pending import LOOKUP_SECONDS, Pending
from workers.event_watcher.sights.sight import Sight
from workers.event_watcher.unplaced import HOLD_SECONDS, Unplaced

T = TypeVar("T")

SAVE_SECONDS = 30.0
"""How often the checkpoint of a watch without news is saved."""

SLICE = 200
"""Events in one put. A frame of the queue holds 4 MiB; an event has 12 KiB at the very most."""

_logger = logging.getLogger(__name__)

Select = Callable[[T], Iterable[Sight]]


def _known_already(pending: Pending) -> None:
    pending.known = True


class Relay(Generic[T]):
    """Takes in what its watch brings on one thread, and forwards what is due on any.

    ``select`` gives the occurrences an object shows that are wanted; ``gone`` is told of objects that are no more.
    ``complete`` has what else there is to know looked up. ``memo`` is kept with the checkpoint.
    """

    def __init__(
        self,
        name: str,
        resource: Resource[T],
        select: Select[T],
        queue: Queue,
        clock: Clock,
        complete: Callable[[Pending], None] = _known_already,
        gone: Callable[[T], None] = lambda item: None,
        list_at_first: bool = False,
        aggregator: Aggregator | None = None,
        unplaced: Unplaced | None = None,
        memo: Memo | None = None,
    ) -> None:
        self._name = name
        self._resource = resource
        self._select = select
        self._queue = queue
        self._clock = clock
        self._complete = complete
        self._gone = gone
        self._list_at_first = list_at_first
        self._aggregator = aggregator or Aggregator()
        self._unplaced = unplaced or Unplaced()
        self._memo = memo
        self._allowance = Allowance()
        self._pending: list[Pending] = []
        """Seen for the first time and not due yet, in the order they were seen."""
        self._unsent: list[tuple[ClusterEvent, Mark]] = []
        """What the queue did not take yet. While it does not, nothing more is read from the watch."""
        self._watch: Watch[T] | None = None
        self._checkpoint = Checkpoint(CHECKPOINT + name, {})
        """The true one from the first turn on, for which the queue must answer."""
        self._list_began = clock.now()
        self._saved_at = 0.0
        self._lock = threading.Lock()
        """Held while something is taken in or forwarded."""

    def follow(self, alive: Callable[[], None]) -> float:
        """Go on from the checkpoint until the watch ends; the seconds until it shall be opened again.

        Raises:
            TemporaryError, PermanentError: the next call goes on from what was forwarded last.
        """
        watch = self._watch or self._open()
        self.forward()
        self._checkpoint.begin()
        return watch.turn(alive)

    def take_in(self, sights: Iterable[Sight]) -> None:
        """Occurrences that no change shows, but the time that passed."""
        with self._lock:
            if self._watch is None:
                return  # Nothing is known yet of what was told before; its first list will show it.
            for sight in sights:
                self._consider(sight, time.monotonic())
            self._forward()

    def forward(self) -> bool:
        """Put what is due on the queue; whether something waits that will be due soon.

        Raises:
            TemporaryError: the queue does not take it now.
        """
        with self._lock:
            if self._watch is not None:
                self._forward()
            return bool(self._pending)

    def close(self) -> None:
        """Forward all that waits, for whatever it waits, and save the checkpoint."""
        with self._lock:
            if self._watch is not None:
                self._settle(float("inf"))
                self._note_repeats(float("inf"))
                self._put_unsent()

    def _open(self) -> Watch[T]:
        saved = {key: value(entry) for key, entry in self._queue.get_state(CHECKPOINT).items()}
        self._checkpoint = Checkpoint(CHECKPOINT + self._name, saved, self._memo)
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
            for change in bunch:
                if change.kind == "DELETED" and change.object is not None:
                    self._gone(change.object)
            self._take_in(change.object for change in bunch if change.object and change.kind != "DELETED")
            self._checkpoint.moved(bunch[-1].version or self._checkpoint.version, self._clock.now())
            self._forward()

    # From a sight to what is forwarded.

    def _take_in(self, items: Iterable[T]) -> None:
        now = time.monotonic()
        for item in items:
            try:
                sights = list(self._select(item))
            except Exception as error:  # Whatever one object may lead to, the others are told of.
                self._resource.skip(item, error)
                continue
            for sight in sights:
                self._consider(sight, now)

    def _consider(self, sight: Sight, now: float) -> None:
        """Note an occurrence to be forwarded: a first sight, not too many of them, that is neither history nor told."""
        event = sight.event
        if self._checkpoint.is_history(event) and not sight.late:
            telemetry.EVENTS_HISTORY.labels(event.event_type).inc()
            return
        if sight.undated and (self._aggregator.knows(event) or self._checkpoint.was_told(event)):
            return
        if event.event_type == "pod_scheduling_failed":
            event = self._unplaced.counted(sight)
            event = self._unplaced.of_group(event) or event
        if not self._checkpoint.is_news(event):
            return
        self._checkpoint.saw(event)
        telemetry.EVENTS_SEEN.labels(event.event_type).inc()
        first = self._aggregator.offer(event, now)
        if first is None:
            return
        if not self._allowance.lets_through(event.event_type, now):
            telemetry.EVENTS_DROPPED.labels(event.event_type).inc()
            return
        pending = Pending(first, self._checkpoint.mark, now + LOOKUP_SECONDS, controller=sight.controller)
        pending.from_event = bool(sight.source)
        if event.event_type == "pod_scheduling_failed" and event.uid == sight.event.uid:
            pending.due = pending.held_until = now + HOLD_SECONDS
        self._pending.append(pending)
        if event.event_type == "node_disruption_notice":
            pending.known = True  # Each second counts, and the node says it all.
        else:
            self._complete(pending)

    def _settle(self, now: float) -> None:
        """Note what is to be told of the pending ones whose time has come."""
        ready: list[Pending] = []
        waiting: list[Pending] = []
        for pending in self._pending:  # Each is asked once: a look-up may complete one at any moment.
            (ready if pending.is_ready(now) else waiting).append(pending)
        self._pending = waiting
        for pending in ready:
            event: ClusterEvent | None = pending.event
            if pending.event.event_type == "pod_scheduling_failed":
                event = self._joined(pending)
            if event is not None:
                self._unsent.append((self._aggregator.told(event, time.monotonic()), pending.mark))

    def _joined(self, pending: Pending) -> ClusterEvent | None:
        """What to tell of a pod that could not be placed; None if it was since, or is told with another one."""
        event = pending.event
        if pending.placed or self._unplaced.is_placed(event):
            self._aggregator.forget(event)
            telemetry.EVENTS_PLACED.inc()
            return None
        controller = pending.controller or self._unplaced.controller(event)
        if controller is None:
            return event
        joined = self._unplaced.join(controller, event)
        if joined.event_id == event.event_id:
            for other in [one for one in self._pending if self._belongs(one, controller.uid)]:
                self._pending.remove(other)
                self._aggregator.forget(other.event)
                joined = self._unplaced.join(controller, other.event)
            return joined.model_copy(update={"owner": event.owner, "message": event.message})
        self._aggregator.forget(event)
        if not self._checkpoint.is_news(joined):
            return None
        return self._aggregator.offer(joined, time.monotonic())

    def _belongs(self, pending: Pending, controller: str) -> bool:
        """Whether it is a pod of the same controller that waits for a node as well."""
        if pending.event.event_type != "pod_scheduling_failed" or not pending.held_until:
            return False
        owner = pending.controller or self._unplaced.controller(pending.event)
        placed = pending.placed or self._unplaced.is_placed(pending.event)
        return owner is not None and owner.uid == controller and not placed

    def _note_repeats(self, now: float) -> None:
        self._unsent += [(event, self._checkpoint.mark) for event in self._aggregator.due(now)]

    def _forward(self) -> None:
        """Put what is due and the repeats on the queue; save the checkpoint once in a while."""
        now = time.monotonic()
        self._settle(now)
        self._note_repeats(now)
        if self._unsent or now - self._saved_at > SAVE_SECONDS:
            self._put_unsent()

    def _put_unsent(self) -> None:
        """In slices that fit into a frame, notices first; how far the watch came is saved with each."""
        self._unsent.sort(key=lambda one: _topic(one[0]) != NOTICES)
        while True:
            topic = _topic(self._unsent[0][0]) if self._unsent else EVENTS
            part = [one for one in self._unsent[:SLICE] if _topic(one[0]) == topic]
            self._put_slice(topic, [event for event, _ in part], self._unsent[len(part) :])
            if not self._unsent:
                break
        self._saved_at = time.monotonic()

    def _put_slice(self, topic: str, events: list[ClusterEvent], rest: list[tuple[ClusterEvent, Mark]]) -> None:
        """Events and checkpoint in one transaction: neither is ever there without the other."""
        messages = [(f"{event.event_id}/{event.count}/{iso(event.last_seen)}", event.to_json()) for event in events]
        waiting = [mark for _, mark in rest] + [pending.mark for pending in self._pending]
        self._checkpoint.forwarded(events)
        try:
            self._queue.put(topic, messages, self._checkpoint.unsaved(min(waiting, default=self._checkpoint.mark)))
        except Exception:
            self._checkpoint.lost()
            raise
        self._checkpoint.saved()
        self._unsent = rest
        for event in events:
            telemetry.EVENTS_PUT.labels(event.event_type).inc()
            where = f"{event.namespace}/{event.name}" if event.namespace else event.name
            _logger.info("%s: %s %s: %s", event.event_type, event.kind, where, event.message[:200])


def _topic(event: ClusterEvent) -> str:
    return NOTICES if event.event_type == "node_disruption_notice" else EVENTS
