"""Pods that the scheduler cannot place: how often it tried, which have a node by now, and which belong together.

A pod that gets a node within seconds is nobody's trouble, and a hundred pods of one Deployment are one trouble: the
first of them that is told gives it its id, and what is kept with the checkpoint keeps that id across restarts. No I/O.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, TypeVar

from shared.kube.objects import Owner, controller_of
from shared.schemas.events import ClusterEvent
from workers.event_watcher.memo import Memo
from workers.event_watcher.objects import Pod
from workers.event_watcher.sights.sight import Sight, key_of, object_key

HOLD_SECONDS = 5.0
"""A failure to place a pod is told after so many seconds, unless the pod has a node by then."""

REMEMBERED = 5000
"""Pods of which something is remembered; the oldest go first."""

GROUPS = 200
GROUP_ENDS = timedelta(hours=1)
"""A controller whose pods were placed for so long begins another trouble: events live as long."""

NAMED = 10
"""Names of a group's pods that are told."""

_COUNTERS = 20
"""Events about one pod whose counts are added up."""

_Value = TypeVar("_Value")


@dataclass
class _Group:
    """The pods of one controller, under the id of the first that was told."""

    key: str
    event_id: str
    name: str
    uid: str | None
    first: datetime
    last: datetime
    count: int = 0
    pods: int = 0
    members: dict[str, int] = field(default_factory=dict)
    """Since this worker started: a pod's key to how often it could not be placed."""
    names: list[str] = field(default_factory=list)


class Unplaced(Memo):
    """Thread-safe."""

    def __init__(self) -> None:
        super().__init__()
        self._waiting: OrderedDict[str, Owner | None] = OrderedDict()
        """Pods without a node, and their controllers."""
        self._placed: OrderedDict[str, None] = OrderedDict()
        self._counts: OrderedDict[str, dict[str, int]] = OrderedDict()
        self._member_of: OrderedDict[str, str] = OrderedDict()
        self._groups: OrderedDict[str, _Group] = OrderedDict()

    def saw(self, pod: Pod) -> None:
        """A pod was added or changed."""
        key = key_of(pod.metadata)
        with self._lock:
            if not pod.spec.node_name:
                _put(self._waiting, key, controller_of(pod.metadata), REMEMBERED)
            elif key in self._waiting:
                del self._waiting[key]
                _put(self._placed, key, None, REMEMBERED)

    def gone(self, pod: Pod) -> None:
        """A pod is no more."""
        with self._lock:
            key = key_of(pod.metadata)
            self._waiting.pop(key, None)
            self._placed.pop(key, None)
            self._counts.pop(key, None)

    def is_waiting(self, event: ClusterEvent) -> bool:
        """Whether the pod is known to have no node."""
        with self._lock:
            return _pod(event) in self._waiting

    def is_placed(self, event: ClusterEvent) -> bool:
        """Whether the pod is known to have got a node."""
        with self._lock:
            return _pod(event) in self._placed

    def controller(self, event: ClusterEvent) -> Owner | None:
        """The pod's controller, where it is known."""
        with self._lock:
            return self._waiting.get(_pod(event))

    def counted(self, sight: Sight) -> ClusterEvent:
        """The occurrence with all attempts: the scheduler counts anew with each reason it gives."""
        event, key = sight.event, _pod(sight.event)
        with self._lock:
            counts = self._counts.get(key, {})
            if sight.source in counts or len(counts) < _COUNTERS:
                counts[sight.source] = max(event.count, counts.get(sight.source, 0))
            _put(self._counts, key, counts, REMEMBERED)
            return event.model_copy(update={"count": sum(counts.values())})

    def of_group(self, event: ClusterEvent) -> ClusterEvent | None:
        """``event`` as part of what was told of its pod's controller; None if nothing was."""
        with self._lock:
            key = self._member_of.get(_pod(event))
            group = self._groups.get(key) if key is not None else None
            return self._joined(group, event) if group is not None and not _is_over(group, event) else None

    def join(self, controller: Owner, event: ClusterEvent) -> ClusterEvent:
        """``event`` as part of what is told of ``controller``; with its own id it is the first."""
        key = controller.uid or f"{event.namespace}/{controller.kind}/{controller.name}"
        with self._lock:
            group = self._groups.get(key)
            if group is None or _is_over(group, event):
                group = _Group(key, event.event_id, event.name, event.uid, event.first_seen, event.last_seen)
                _put(self._groups, key, group, GROUPS + 1)
                if len(self._groups) > GROUPS:
                    forgotten, _ = self._groups.popitem(last=False)
                    self._changed.add(forgotten)
            _put(self._member_of, _pod(event), key, REMEMBERED)
            return self._joined(group, event)

    def load(self, records: Mapping[str, Any]) -> None:
        """Take up what an earlier run of this worker left."""
        with self._lock:
            for key, (event_id, name, uid, first, last, count, pods) in records.items():
                begun, seen = datetime.fromisoformat(first), datetime.fromisoformat(last)
                self._groups.setdefault(key, _Group(key, event_id, name, uid, begun, seen, count, pods))

    def _record(self, key: str) -> Any:
        one = self._groups.get(key)
        if one is None:
            return None
        return [one.event_id, one.name, one.uid, one.first.isoformat(), one.last.isoformat(), one.count, one.pods]

    def _joined(self, group: _Group, event: ClusterEvent) -> ClusterEvent:
        key = _pod(event)
        if key not in group.members and len(group.names) < NAMED:
            group.names.append(event.name)
        if key in group.members or len(group.members) < REMEMBERED:
            group.members[key] = max(event.count, sum(self._counts.get(key, {}).values()))
        group.first, group.last = min(group.first, event.first_seen), max(group.last, event.last_seen)
        group.count = max(group.count, sum(group.members.values()))
        group.pods = max(group.pods, len(group.members))
        self._changed.add(group.key)
        others = {"pod_names": list(group.names)} if group.pods > 1 else {}
        return event.model_copy(
            update={
                "event_id": group.event_id,
                "name": group.name,
                "uid": group.uid,
                "count": group.count,
                "first_seen": group.first,
                "details": {**event.details, "pods": group.pods, **others},
            }
        )


def _pod(event: ClusterEvent) -> str:
    return object_key(event.uid or "", event.namespace or "", event.name)


def _is_over(group: _Group, event: ClusterEvent) -> bool:
    return event.first_seen - group.last > GROUP_ENDS


def _put(remembered: OrderedDict[str, _Value], key: str, value: _Value, bound: int) -> None:
    remembered[key] = value
    remembered.move_to_end(key)
    if len(remembered) > bound:
        remembered.popitem(last=False)
