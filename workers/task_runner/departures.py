"""Which pods still have to go, and when to ask again: the decisions of a drain, without any I/O.

Times are monotonic seconds that the caller passes in.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum

from shared.kube.evictions import Outcome, Verdict
from shared.kube.pods import Pod

STUCK_AFTER = 60.0
"""Seconds past its deletionTimestamp (which includes the grace) after which a pod is stuck terminating."""


class Stage(Enum):
    """Where a pod is on its way out."""

    WAITING = "waiting"
    """To be asked (again) when its time comes."""
    ASKED = "asked"
    """A request is under way."""
    TERMINATING = "terminating"
    """Accepted; it ends by itself."""
    REFUSED = "refused"
    """It cannot be evicted; asking again is futile."""
    GONE = "gone"


@dataclass
class Departure:
    """One pod on its way out."""

    pod: Pod
    stage: Stage
    next_try: float
    begun: float
    attempts: int = 0
    last: Outcome | None = None
    blocked_since: float | None = None

    @property
    def blocked(self) -> bool:
        """Whether a disruption budget or a webhook holds it."""
        return self.blocked_since is not None and self.stage in (Stage.WAITING, Stage.ASKED)


@dataclass
class Departures:
    """All pods of one removal. ``rng`` spreads the retries of blocked pods."""

    rng: random.Random = field(default_factory=random.Random)
    interval: float = 0.0
    """Least seconds between two first requests."""

    def __post_init__(self) -> None:
        self._all: dict[str, Departure] = {}
        self._not_before = 0.0

    def add(self, pods: Iterable[Pod], now: float) -> None:
        """Pods that have to go. One that terminates already is only waited for."""
        for pod in pods:
            stage = Stage.TERMINATING if pod.terminating else Stage.WAITING
            self._all[pod.uid] = Departure(pod, stage, next_try=now, begun=now)

    def due(self, now: float) -> list[Departure]:
        """Those to ask now; each is ASKED from here on."""
        ready = sorted(
            (d for d in self._all.values() if d.stage is Stage.WAITING and d.next_try <= now),
            key=lambda d: d.next_try,
        )
        if self.interval > 0:
            ready = ready[:1] if now >= self._not_before else []
            if ready:
                self._not_before = now + self.interval
        for departure in ready:
            departure.stage = Stage.ASKED
            departure.attempts += 1
        return ready

    def next_due(self) -> float | None:
        """When ``due`` will have something; None while nothing waits to be asked."""
        moments = [d.next_try for d in self._all.values() if d.stage is Stage.WAITING]
        return max(min(moments), self._not_before) if moments else None

    def answered(self, uid: str, outcome: Outcome, now: float) -> Departure | None:
        """The API server answered; the departure if that changed anything."""
        departure = self._all.get(uid)
        if departure is None or departure.stage is not Stage.ASKED:
            return None
        departure.last = outcome
        if outcome.verdict is Verdict.GONE:
            departure.stage = Stage.GONE
        elif outcome.verdict is Verdict.ACCEPTED:
            departure.stage = Stage.TERMINATING
        elif outcome.verdict in (Verdict.REFUSED, Verdict.FORBIDDEN):
            departure.stage = Stage.REFUSED
        else:
            departure.stage = Stage.WAITING
            departure.next_try = now + outcome.pause * self.rng.uniform(1.0, 1.2)
            if outcome.verdict in (Verdict.BLOCKED, Verdict.DENIED) and departure.blocked_since is None:
                departure.blocked_since = now
        return departure

    def seen(self, pod: Pod) -> None:
        """The pod as it is now: it may have begun to terminate by someone else's hand."""
        departure = self._all.get(pod.uid)
        if departure is None or departure.stage is Stage.GONE:
            return
        departure.pod = pod
        if pod.terminating and departure.stage is not Stage.ASKED:
            departure.stage = Stage.TERMINATING

    def gone(self, uid: str) -> Departure | None:
        """The pod is no more; its departure, the first time this is said."""
        departure = self._all.get(uid)
        if departure is None or departure.stage is Stage.GONE:
            return None
        departure.stage = Stage.GONE
        return departure

    def listed(self, pods: Iterable[Pod], version: str) -> list[Departure]:
        """A list as of ``version``: those departures that it shows to be over.

        A list from another API server's cache may be older than what we know: a pod missing from it is gone
        only if the list is newer than the pod as we saw it.
        """
        present = {pod.uid: pod for pod in pods}
        for pod in present.values():
            self.seen(pod)
        missing = [d for uid, d in self._all.items() if uid not in present]
        return [d for d in missing if _newer(version, d.pod.metadata.resource_version) and self.gone(d.pod.uid)]

    @property
    def pending(self) -> list[Departure]:
        """Those that are neither gone nor refused."""
        return [d for d in self._all.values() if d.stage not in (Stage.GONE, Stage.REFUSED)]

    @property
    def refused(self) -> list[Departure]:
        return [d for d in self._all.values() if d.stage is Stage.REFUSED]

    @property
    def blocked(self) -> list[Departure]:
        return [d for d in self._all.values() if d.blocked]


def _newer(version: str, than: str) -> bool:
    """Whether resourceVersion ``version`` is at least ``than``; they compare as numbers (KEP-5504)."""
    try:
        return int(version) >= int(than or 0)
    except ValueError:
        return True


def describe(departure: Departure, now: float, wall: float) -> str:
    """One line on a pod that did not go (rule 23): name, uid, answer, budget, phase, time waited.

    ``wall`` is the wall clock in epoch seconds, for deletionTimestamps.
    """
    pod, last = departure.pod, departure.last
    parts = [f"{pod.name} uid={pod.uid} {departure.stage.value} phase={pod.status.phase or '?'}"]
    if last is not None:
        parts.append(f"HTTP {last.code}: {last.detail}")
    if last is not None and last.budget:
        parts.append(f"budget {last.budget}")
    if departure.blocked_since is not None:
        parts.append(f"blocked for {now - departure.blocked_since:.0f} s")
    deletion = pod.metadata.deletion_timestamp
    if deletion is not None and wall - deletion.timestamp() > STUCK_AFTER:
        finalizers = ", ".join(pod.metadata.finalizers or ()) or "none"
        overdue = wall - deletion.timestamp()
        parts.append(f"stuck terminating, {overdue:.0f} s past its end, finalizers: {finalizers}")
    parts.append(f"waited {now - departure.begun:.0f} s in {departure.attempts} tries")
    return "; ".join(parts)
