"""Which pods still have to go, and when to ask again: the decisions of a drain, without any I/O.

Times are monotonic seconds that the caller passes in.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum

from shared.kube.evictions import Outcome, Verdict
from shared.kube.pods import Pod

STUCK_AFTER = 60.0
"""Seconds past its deletionTimestamp (which includes the grace) after which a pod is stuck terminating."""

_SLOWEST_RETRY = 8.0
"""Seconds the pause grows to while the API server throttles or fails, unless it asks for more."""

_ADMISSION = re.compile(r"""admission (webhook) "([^"]+)"|ValidatingAdmission(Policy) '([^']+)'""")


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
    tier: int = 0
    """It is asked to go once all pods of the tiers before its own are gone."""
    attempts: int = 0
    last: Outcome | None = None
    news: bool = False
    """Whether the last answer says anything the one before did not."""
    holder: str = ""
    """Who holds it, or did: a budget by its name, or an admission webhook."""
    blocked_since: float | None = None
    released: float | None = None

    @property
    def blocked(self) -> bool:
        """Whether a disruption budget or a webhook holds it."""
        return self.blocked_since is not None and self.stage in (Stage.WAITING, Stage.ASKED)

    def held_for(self, now: float) -> float:
        """Seconds it was held, until it was let go or ``now``."""
        if self.blocked_since is None:
            return 0.0
        return (now if self.released is None else self.released) - self.blocked_since


@dataclass
class Departures:
    """All pods of one removal. ``rng`` spreads the retries of blocked pods."""

    rng: random.Random = field(default_factory=random.Random)
    interval: float = 0.0
    """Least seconds between two first requests."""

    def __post_init__(self) -> None:
        self._all: dict[str, Departure] = {}
        self._not_before = 0.0

    def add(self, pods: Iterable[Pod], now: float, tier: int = 0) -> None:
        """Pods that have to go. One that terminates already is only waited for."""
        for pod in pods:
            stage = Stage.TERMINATING if pod.terminating else Stage.WAITING
            self._all[pod.uid] = Departure(pod, stage, next_try=now, begun=now, tier=tier)

    @property
    def tier(self) -> int:
        """The tier whose turn it is: the first that is not gone altogether."""
        return min((d.tier for d in self._all.values() if d.stage is not Stage.GONE), default=0)

    def due(self, now: float) -> list[Departure]:
        """Those to ask now; each is ASKED from here on."""
        ready = sorted((d for d in self._waiting if d.next_try <= now), key=lambda d: d.next_try)
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
        moments = [d.next_try for d in self._waiting]
        return max(min(moments), self._not_before) if moments else None

    @property
    def _waiting(self) -> list[Departure]:
        tier = self.tier
        return [d for d in self._all.values() if d.stage is Stage.WAITING and d.tier == tier]

    def answered(self, uid: str, outcome: Outcome, now: float) -> Departure | None:
        """The API server answered; the departure if that changed anything."""
        departure = self._all.get(uid)
        if departure is None or departure.stage is not Stage.ASKED:
            return None
        before, departure.last = departure.last, outcome
        departure.news = before is None or (before.code, before.detail) != (outcome.code, outcome.detail)
        if outcome.verdict is Verdict.GONE:
            departure.stage = Stage.GONE
        elif outcome.verdict is Verdict.ACCEPTED:
            departure.stage = Stage.TERMINATING
            departure.released = now
        elif outcome.verdict in (Verdict.REFUSED, Verdict.FORBIDDEN):
            departure.stage = Stage.REFUSED
        else:
            departure.stage = Stage.WAITING
            departure.next_try = now + self._pause(departure, outcome)
            if outcome.verdict in (Verdict.BLOCKED, Verdict.DENIED):
                departure.holder = _holder(outcome)
                departure.blocked_since = now if departure.blocked_since is None else departure.blocked_since
        return departure

    def _pause(self, departure: Departure, outcome: Outcome) -> float:
        """What the answer asks for, with jitter; an API server in trouble is asked less and less often."""
        pause = outcome.pause
        if outcome.verdict is Verdict.RETRY:
            pause = max(pause, min(2.0 ** (departure.attempts - 1), _SLOWEST_RETRY))
        return pause * self.rng.uniform(1.0, 1.2)

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
    def under_way(self) -> bool:
        """Whether a pod of the present tier can still go."""
        tier = self.tier
        return any(d.tier == tier for d in self.pending)

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
    if departure.blocked:
        parts.append(f"{departure.holder} held it for {departure.held_for(now):.0f} s")
    if stuck := why_stuck(pod, wall):
        parts.append(f"stuck terminating, {stuck}")
    if departure.stage is Stage.WAITING and departure.attempts == 0:
        parts.append("not asked: pods of an earlier tier go first" if departure.tier else "not asked yet")
    parts.append(f"waited {now - departure.begun:.0f} s in {departure.attempts} tries")
    return "; ".join(parts)


def why_stuck(pod: Pod, wall: float) -> str | None:
    """How long ago ``pod`` should have ended, and its finalizers; None unless that is long ago (rule 19)."""
    deletion = pod.metadata.deletion_timestamp
    overdue = wall - deletion.timestamp() if deletion is not None else 0.0
    if overdue <= STUCK_AFTER:
        return None
    return f"{overdue:.0f} s past its end, finalizers: {', '.join(pod.metadata.finalizers or ()) or 'none'}"


def _holder(outcome: Outcome) -> str:
    if outcome.verdict is Verdict.DENIED:
        rule = _ADMISSION.search(outcome.detail)
        kind, name = (part for part in rule.groups() if part) if rule else ("", "")
        return f"{kind.lower()} {name}" if rule else "an admission rule"
    return f"budget {outcome.budget}" if outcome.budget else "a disruption budget"
