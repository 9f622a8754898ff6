"""First sight at once, repeats in a window: keeps a storm of the same thing from becoming a storm of messages.

Bounded: it remembers the most recent ids only, whatever the cluster's size.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass

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


@dataclass
class _Known:
    event: ClusterEvent
    sent: ClusterEvent
    sent_at: float

    def changed(self, window: float) -> bool:
        """Whether there is more to tell: it happened again. Another sight of the same is no news."""
        later = (self.event.last_seen - self.sent.last_seen).total_seconds()
        return self.event.count > self.sent.count or later >= window


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
                self._known[event.event_id] = _Known(event, event, now)
                if len(self._known) > self._remembered:
                    forgotten, _ = self._known.popitem(last=False)
                    self._waiting.discard(forgotten)
                return event
            self._known.move_to_end(event.event_id)
            known.event = merge(known.event, event)
            if _RANK[known.event.severity] > _RANK[known.sent.severity]:
                known.sent, known.sent_at = known.event, now
                return known.event
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
            owner, node = event.owner or known.event.owner, event.node_name or known.event.node_name
            details = {**known.event.details, **event.details}
            whole = merge(known.event, event).model_copy(update={"owner": owner, "node_name": node, "details": details})
            known.event = known.sent = whole
            known.sent_at = now
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
            ready = [id_ for id_ in self._waiting if now - self._known[id_].sent_at >= self._window]
            for id_ in ready:
                self._waiting.remove(id_)
                self._known[id_].sent, self._known[id_].sent_at = self._known[id_].event, now
            return sorted((self._known[id_].event for id_ in ready), key=lambda event: event.last_seen)


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
