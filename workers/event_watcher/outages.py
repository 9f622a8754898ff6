"""Which nodes are not ready, since when, and whether that is anybody's trouble. No I/O.

One outage is one occurrence, through False and Unknown and across restarts: the time at which it began, and so its
id, is kept with the checkpoint.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from shared.basics.timing import iso
from shared.kube.objects import Condition
from shared.schemas.events import ClusterEvent, Details, Severity
from workers.event_watcher.memo import Memo
from workers.event_watcher.objects import Node
from workers.event_watcher.sights import notices
from workers.event_watcher.sights.sight import MESSAGE, Sight, key_of, latest, moment, name_of

YOUNG = timedelta(minutes=5)
"""A node that was never Ready is coming up for so long; then it failed to."""

LATE = timedelta(minutes=15)
"""For so long after the end of an outage a node may still tell what happened in it."""

REMEMBERED = 5000
"""Outages, and nodes that were seen Ready; the oldest go first."""

_SLACK = timedelta(minutes=1)
"""How much earlier a node fell silent than it was found so."""


@dataclass
class _Outage:
    node: str
    since: datetime
    until: datetime | None = None


class Outages(Memo):
    """Thread-safe. ``by_us`` says which task of ours empties a node, if any does."""

    def __init__(self, by_us: Callable[[str], str | None] = lambda node: None) -> None:
        super().__init__()
        self._by_us = by_us
        self._outages: OrderedDict[str, _Outage] = OrderedDict()
        self._seen_ready: OrderedDict[str, None] = OrderedDict()
        self._coming_up: dict[str, Node] = {}
        """Nodes that are not ready because they are young, each to be looked at again when it is not."""

    def saw(self, node: Node, now: datetime) -> Sight | None:
        """Its outage, if ``node`` is in one."""
        ready = node.ready
        if ready is None:
            return None
        with self._lock:
            key = key_of(node.metadata)
            self._coming_up.pop(key, None)
            if ready.status == "True":
                self._is_ready(key, now)
                return None
            return self._is_not_ready(key, node, ready, now)

    def due(self, now: datetime) -> list[Sight]:
        """Outages of nodes that were coming up and are not young any more: now they are trouble."""
        with self._lock:
            grown = [(key, node) for key, node in self._coming_up.items() if not _is_young(node, now)]
            for key, _ in grown:
                del self._coming_up[key]
            return [self._is_not_ready(key, node, node.ready, now) for key, node in grown if node.ready is not None]

    def gone(self, node: Node) -> None:
        """The node is no more."""
        with self._lock:
            key = key_of(node.metadata)
            self._coming_up.pop(key, None)
            self._seen_ready.pop(key, None)
            self._forget(key)

    def marked_if_late(self, sight: Sight, now: datetime) -> Sight:
        """``sight``, marked as late if its node was cut off when it happened and came back only lately."""
        event = sight.event
        with self._lock:
            late = now - event.last_seen > _SLACK and any(
                outage.node == event.node_name
                and outage.since - _SLACK <= event.last_seen <= (outage.until or now)
                and (outage.until is None or now - outage.until <= LATE)
                for outage in self._outages.values()
            )
        if not late:
            return sight
        return replace(sight, late=True, event=event.model_copy(update={"details": {**event.details, "late": True}}))

    def load(self, records: Mapping[str, Any]) -> None:
        """Take up what an earlier run of this worker left."""
        with self._lock:
            for key, (node, since, until) in records.items():
                begun, ended = datetime.fromisoformat(since), datetime.fromisoformat(until) if until else None
                self._outages.setdefault(key, _Outage(node, begun, ended))

    def _record(self, key: str) -> Any:
        one = self._outages.get(key)
        return [one.node, one.since.isoformat(), one.until.isoformat() if one.until else None] if one else None

    def _is_ready(self, key: str, now: datetime) -> None:
        self._seen_ready[key] = None
        self._seen_ready.move_to_end(key)
        if len(self._seen_ready) > REMEMBERED:
            self._seen_ready.popitem(last=False)
        outage = self._outages.get(key)
        if outage is not None and outage.until is None:
            outage.until = now
            self._changed.add(key)
        while (first := next(iter(self._outages), None)) and _is_over(self._outages[first], now):
            self._forget(first)

    def _forget(self, key: str) -> None:
        if self._outages.pop(key, None) is not None:
            self._changed.add(key)

    def _is_not_ready(self, key: str, node: Node, ready: Condition, now: datetime) -> Sight:
        outage = self._outages.get(key)
        turned = moment(ready.last_transition_time)
        if outage is None or outage.until is not None:
            outage = _Outage(node.metadata.name, turned or now)
            self._outages[key] = outage
            self._changed.add(key)
            self._outages.move_to_end(key)
            if len(self._outages) > REMEMBERED:
                self._forget(next(iter(self._outages)))
        severity, why = self._judge(key, node, now)
        details: Details = {
            "condition": f"Ready={ready.status}",
            "condition_reason": ready.reason,
            "not_ready_since": iso(outage.since),
            "not_ready_seconds": max(0, round((now - outage.since).total_seconds())),
        }
        if why:
            details["expected"] = why
        last = latest((outage.since, turned)) or outage.since
        return Sight(
            ClusterEvent(
                event_id=name_of("not-ready", key, outage.since.isoformat()),
                event_type="node_not_ready",
                severity=severity,
                reason=ready.reason or "NodeNotReady",
                message=(ready.message or f"Ready is {ready.status}")[:MESSAGE],
                kind="Node",
                namespace=None,
                name=node.metadata.name,
                uid=node.metadata.uid or None,
                node_name=node.metadata.name,
                owner=None,
                count=1,
                first_seen=outage.since,
                last_seen=last,
                details=details,
            )
        )

    def _judge(self, key: str, node: Node, now: datetime) -> tuple[Severity, str | None]:
        """How bad it is, and why it was to be expected, if it was."""
        if why := notices.removal(node):
            return "info", why
        if task := self._by_us(node.metadata.name):
            return "info", f"drained by task {task}"
        if key not in self._seen_ready and _is_young(node, now):
            self._coming_up[key] = node
            return "info", "it is coming up"
        return "critical", None


def _is_young(node: Node, now: datetime) -> bool:
    made = moment(node.metadata.creation_timestamp)
    return made is not None and now - made < YOUNG


def _is_over(outage: _Outage, now: datetime) -> bool:
    return outage.until is not None and now - outage.until > LATE
