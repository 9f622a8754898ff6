"""First sight at once, repeats in a window: keeps a storm of the same thing from becoming a storm of messages.

Bounded: it remembers the most recent ids only, whatever the cluster's size.
"""

from __future__ import annotations

import threading
from collections import OrderedDict

from shared.schemas.events import ClusterEvent

WINDOW_SECONDS = 60.0
"""A repeat is forwarded at most this often."""

REMEMBERED = 5000
"""Ids that are kept to recognise repeats; the longest unseen go first."""


STORM_RATE = 100.0
STORM_BURST = 5000
"""First sights of one type that go through: a burst, and so many a second after it. More are counted and dropped."""


class Allowance:
    """A token bucket for each event type. Times are monotonic seconds that the caller passes in."""

    def __init__(self, rate: float = STORM_RATE, burst: int = STORM_BURST) -> None:
        self._rate = rate
        self._burst = float(burst)
        self._tokens: dict[str, tuple[float, float]] = {}

    def lets_through(self, event_type: str, now: float) -> bool:
        """Whether one more of this type may go."""
        left, since = self._tokens.get(event_type, (self._burst, now))
        left = min(self._burst, left + (now - since) * self._rate)
        self._tokens[event_type] = (left - 1.0 if left >= 1.0 else left, now)
        return left >= 1.0


_RANK = {"info": 0, "warning": 1, "critical": 2}


_FIELDS = tuple(ClusterEvent.model_fields)


class _Known:
    """What is known of one id, and what was told of it. The event is kept as a tuple of its values: thousands are
    remembered, and as models, one known and one told, they were twenty mebibytes.
    """

    __slots__ = ("_values", "sent_at", "sent_count", "sent_last", "sent_rank")

    def __init__(self, event: ClusterEvent, now: float) -> None:
        self.event = event
        self.tell(event, now)

    @property
    def event(self) -> ClusterEvent:
        return ClusterEvent.model_construct(**dict(zip(_FIELDS, self._values, strict=True)))

    @event.setter
    def event(self, event: ClusterEvent) -> None:
        self._values = tuple(getattr(event, name) for name in _FIELDS)

    def tell(self, event: ClusterEvent, now: float) -> None:
        """It is told as ``event`` says."""
        self.sent_at, self.sent_count, self.sent_last = now, event.count, event.last_seen
        self.sent_rank = _RANK[event.severity]

    def changed(self, window: float) -> bool:
        """Whether there is more to tell: it happened again. Another sight of the same is no news."""
        event = self.event
        return event.count > self.sent_count or (event.last_seen - self.sent_last).total_seconds() >= window


class Aggregator:
    """Thread-safe: watches share one, as they see the same things. Times are monotonic seconds of the caller."""

    def __init__(self, window: float = WINDOW_SECONDS, remembered: int = REMEMBERED) -> None:
        self._window = window
        self._remembered = remembered
        self._known: OrderedDict[str, _Known] = OrderedDict()
        self._waiting: set[str] = set()
        """Ids of which there is more to tell: in a storm of first sights, none of thousands."""
        self._lock = threading.Lock()

    def offer(self, event: ClusterEvent, now: float) -> ClusterEvent | None:
        """What is to be forwarded now: ``event`` at its first sight, or all that is known of it when it turns out
        to be worse than it was told. Another repeat is kept for ``due``.
        """
        with self._lock:
            known = self._known.get(event.event_id)
            if known is None:
                self._known[event.event_id] = _Known(event, now)
                if len(self._known) > self._remembered:
                    forgotten, _ = self._known.popitem(last=False)
                    self._waiting.discard(forgotten)
                return event
            self._known.move_to_end(event.event_id)
            whole = known.event = merge(known.event, event)
            if _RANK[whole.severity] > known.sent_rank:
                known.tell(whole, now)
                return whole
            if known.changed(self._window):
                self._waiting.add(event.event_id)
            return None

    def knows(self, event: ClusterEvent) -> bool:
        """Whether there was a sight of it before."""
        return event.event_id in self._known

    def told(self, event: ClusterEvent, now: float) -> ClusterEvent:
        """What to forward of ``event``, which took its time: with all that was seen of it meanwhile."""
        with self._lock:
            known = self._known.get(event.event_id)
            if known is None:
                return event
            before = known.event
            owner, node = event.owner or before.owner, event.node_name or before.node_name
            details = {**before.details, **event.details}
            whole = merge(before, event).model_copy(update={"owner": owner, "node_name": node, "details": details})
            known.event = whole
            known.tell(whole, now)
            self._waiting.discard(event.event_id)
            return whole

    def forget(self, event: ClusterEvent) -> None:
        """It will not be told."""
        with self._lock:
            self._known.pop(event.event_id, None)
            self._waiting.discard(event.event_id)

    def due(self, now: float) -> list[ClusterEvent]:
        """Repeats whose window is over, each with its count so far."""
        with self._lock:
            ready = {id_: known.event for id_, known in self._ripe(now)}
            for id_, event in ready.items():
                self._waiting.remove(id_)
                self._known[id_].tell(event, now)
            return sorted(ready.values(), key=lambda event: event.last_seen)

    def _ripe(self, now: float) -> list[tuple[str, _Known]]:
        known = ((id_, self._known[id_]) for id_ in self._waiting)
        return [(id_, one) for id_, one in known if now - one.sent_at >= self._window]


def merge(known: ClusterEvent, seen: ClusterEvent) -> ClusterEvent:
    """One occurrence from two sights of it: the higher count, the whole span of time, what either names, and why
    it happens as the later one says: a pod waits for CPU first and is kept off by a taint then.

    Counts are absolute in what we read, so the same occurrence seen in an event and in a status stays one.
    """
    earlier, later = sorted((known, seen), key=lambda one: (one.last_seen, one.severity, one.reason, one.message))
    return known.model_copy(
        update={
            "severity": later.severity,
            "reason": later.reason,
            "message": later.message,
            "count": max(known.count, seen.count),
            "first_seen": min(known.first_seen, seen.first_seen),
            "last_seen": max(known.last_seen, seen.last_seen),
            "node_name": known.node_name or seen.node_name,
            "owner": known.owner or seen.owner,
            "details": {**earlier.details, **later.details},
        }
    )
