"""Whose pod is asked next (rule 24): the most urgent task's, in turn among equals, and no slow namespace's alone."""

from __future__ import annotations

import itertools
from collections import Counter, OrderedDict, deque
from typing import Generic, Protocol, TypeVar

from workers.task_runner.work.calls import Rank

_SLOW = 1.0
"""Seconds of an answer above which a namespace is slow: its admission webhook takes its time."""


class Asking(Protocol):
    """A request that waits for its turn."""

    @property
    def rank(self) -> Rank: ...

    @property
    def task_id(self) -> str: ...

    @property
    def namespace(self) -> str: ...


A = TypeVar("A", bound=Asking)


class Turns(Generic[A]):
    """Requests by rank, then in turn by task and namespace, so that none of them keeps all ``places`` for itself.

    One namespace has half of the places at most, and so have all slow ones together: whatever they wait for,
    somebody else's evictions go on.
    """

    def __init__(self, places: int) -> None:
        self._share = max(1, places // 2)
        self._ranks: dict[Rank, OrderedDict[tuple[str, str], deque[A]]] = {}
        self._under_way: Counter[str] = Counter()
        self._slow: set[str] = set()

    def add(self, request: A) -> None:
        lanes = self._ranks.setdefault(request.rank, OrderedDict())
        lanes.setdefault((request.task_id, request.namespace), deque()).append(request)

    def take(self) -> A | None:
        """The next request that has a place; None where there is none."""
        slow = sum(self._under_way[namespace] for namespace in self._slow)
        for rank in sorted(self._ranks):
            lanes = self._ranks[rank]
            for lane in lanes:
                if self._has_place(lane[1], slow):
                    return self._first_of(rank, lane)
        return None

    def _has_place(self, namespace: str, slow: int) -> bool:
        return self._under_way[namespace] < self._share and (namespace not in self._slow or slow < self._share)

    def _first_of(self, rank: Rank, lane: tuple[str, str]) -> A:
        lanes = self._ranks[rank]
        waiting = lanes[lane]
        request = waiting.popleft()
        if waiting:
            lanes.move_to_end(lane)
        else:
            del lanes[lane]
            if not lanes:
                del self._ranks[rank]
        self._under_way[request.namespace] += 1
        return request

    def done(self, request: A, seconds: float) -> None:
        """``request`` was answered after so many seconds."""
        namespace = request.namespace
        self._under_way[namespace] -= 1
        if not self._under_way[namespace]:
            del self._under_way[namespace]
        (self._slow.add if seconds > _SLOW else self._slow.discard)(namespace)

    def clear(self) -> None:
        self._ranks.clear()

    def __len__(self) -> int:
        return sum(map(len, itertools.chain.from_iterable(lanes.values() for lanes in self._ranks.values())))
