"""First sight at once, repeats in a window: keeps a storm of the same thing from becoming a storm of messages.

Bounded: it remembers the most recent ids only, whatever the cluster's size.
"""

from __future__ import annotations

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


@dataclass
class _Known:
    event: ClusterEvent
    sent_at: float
    changed: bool


class Aggregator:
    """Not thread-safe. Times are monotonic seconds that the caller passes in."""

    def __init__(self, window: float = WINDOW_SECONDS, remembered: int = REMEMBERED) -> None:
        self._window = window
        self._remembered = remembered
        self._known: OrderedDict[str, _Known] = OrderedDict()

    def offer(self, event: ClusterEvent, now: float) -> ClusterEvent | None:
        """``event`` if it is to be forwarded now; a repeat is kept for ``due``."""
        known = self._known.get(event.event_id)
        if known is None:
            self._known[event.event_id] = _Known(event, now, changed=False)
            if len(self._known) > self._remembered:
                self._known.popitem(last=False)
            return event
        self._known.move_to_end(event.event_id)
        merged = merge(known.event, event)
        if merged != known.event:
            known.event, known.changed = merged, True
        return None

    def due(self, now: float) -> list[ClusterEvent]:
        """Repeats whose window is over, each with its count so far."""
        ready = [known for known in self._known.values() if known.changed and now - known.sent_at >= self._window]
        for known in ready:
            known.sent_at, known.changed = now, False
        return [known.event for known in ready]


def merge(known: ClusterEvent, seen: ClusterEvent) -> ClusterEvent:
    """One occurrence from two sights of it: the higher count, the whole span of time, what either names.

    Counts are absolute in what we read, so the same occurrence seen in an event and in a status stays one.
    """
    return known.model_copy(
        update={
            "count": max(known.count, seen.count),
            "first_seen": min(known.first_seen, seen.first_seen),
            "last_seen": max(known.last_seen, seen.last_seen),
            "node_name": known.node_name or seen.node_name,
            "owner": known.owner or seen.owner,
        }
    )
