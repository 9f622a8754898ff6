"""Which pods still have to go, and when to ask again: the decisions of a drain, without any I/O.

Rules 9 to 19, 21 and 23 of a drain. Times are monotonic seconds that the caller passes in.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum

from shared.kube.errors import denier
from shared.kube.evictions import Outcome, Verdict
from shared.kube.pods import Pod

STUCK_AFTER = 60.0
"""Seconds past its deletionTimestamp (which includes the grace) after which a pod is stuck terminating."""

_SLOWEST_RETRY = 8.0
"""Seconds the pause grows to while the API server throttles or fails, unless it asks for more."""

_RNG = random.Random()
"""One for all removals: each is 2.5 KB."""

_FREE_TRIES = 3
"""Tries without a pause where the answer is about something that has gone meanwhile (rule 12)."""

_BELIEVED_AFTER = 5.0
"""Seconds within which an accepted pod must show that it terminates; else it is asked again (rule 11)."""


class Stage(Enum):
    """Where a pod is on its way out."""

    WAITING = "waiting"
    """To be asked (again) when its time comes."""
    ASKED = "asked"
    """A request is under way."""
    ACCEPTED = "accepted"
    """The API server took it; the pod does not show it yet."""
    TERMINATING = "terminating"
    """It was seen to terminate; it ends by itself."""
    AWAITED = "awaited"
    """It is not asked; it ends by itself, or not."""
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
    """Requests that were sent, those under way included."""
    ended_before: bool = False
    """Whether it had ended when it was to go: then its object is what shall go."""
    shortens: bool = False
    """Whether it terminates already and is to be asked once to do so sooner (rule 21)."""
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

    def sent(self) -> None:
        """A request went out (called by the thread that sends it)."""
        self.attempts += 1

    def held_for(self, now: float) -> float:
        """Seconds it was held, until it was let go or ``now``."""
        if self.blocked_since is None:
            return 0.0
        return (now if self.released is None else self.released) - self.blocked_since


@dataclass
class Departures:
    """All pods of one removal. ``rng`` spreads the retries of blocked pods."""

    rng: random.Random = field(default=_RNG)
    interval: float = 0.0
    """Least seconds between two requests."""

    def __post_init__(self) -> None:
        self._all: dict[str, Departure] = {}
        self._not_before = 0.0

    def add(
        self,
        pods: Iterable[Pod],
        now: float,
        tier: int = 0,
        unasked: Iterable[str] = (),
        shortens: Callable[[Pod], bool] = lambda pod: False,
    ) -> None:
        """Pods that have to go. One that terminates already is only waited for, unless a request ``shortens`` that.

        Those whose UIDs are ``unasked`` are only waited for, too.
        """
        for pod in pods:
            if pod.uid in unasked:
                stage, shorter = Stage.AWAITED, False
            else:
                shorter = pod.terminating and shortens(pod)
                stage = Stage.TERMINATING if pod.terminating and not shorter else Stage.WAITING
            self._all[pod.uid] = Departure(
                pod, stage, next_try=now, begun=now, tier=tier, ended_before=pod.ended, shortens=shorter
            )

    @property
    def tier(self) -> int:
        """The tier whose turn it is: the first that is not gone altogether."""
        return min((d.tier for d in self._all.values() if d.stage is not Stage.GONE), default=0)

    def due(self, now: float) -> list[Departure]:
        """Those to ask now; each is ASKED from here on. One that was accepted and stays is asked again."""
        ready = sorted((d for d in self._waiting if d.next_try <= now), key=lambda d: d.next_try)
        if self.interval > 0:
            ready = ready[:1] if now >= self._not_before else []
            if ready:
                self._not_before = now + self.interval
        for departure in ready:
            departure.stage = Stage.ASKED
        return ready

    def next_due(self) -> float | None:
        """When ``due`` will have something; None while nothing waits to be asked."""
        moments = [d.next_try for d in self._waiting]
        return max(min(moments), self._not_before) if moments else None

    @property
    def _waiting(self) -> list[Departure]:
        tier = self.tier
        return [d for d in self._all.values() if d.stage in (Stage.WAITING, Stage.ACCEPTED) and d.tier == tier]

    def unsent(self, uid: str, now: float) -> None:
        """The request was not sent after all: the pod waits again."""
        departure = self._all.get(uid)
        if departure is not None and departure.stage is Stage.ASKED:
            departure.stage, departure.next_try = Stage.WAITING, now

    def answered(self, uid: str, outcome: Outcome, now: float) -> Departure | None:
        """The API server answered; the departure if that changed anything."""
        departure = self._all.get(uid)
        if departure is None or departure.stage is not Stage.ASKED:
            return None
        before, departure.last = departure.last, outcome
        departure.news = before is None or (before.code, before.detail) != (outcome.code, outcome.detail)
        if outcome.verdict is Verdict.GONE:
            departure.stage = Stage.GONE
        elif outcome.verdict is Verdict.TERMINATING or (
            outcome.verdict is Verdict.ACCEPTED and departure.pod.terminating
        ):
            departure.stage, departure.released, departure.shortens = Stage.TERMINATING, now, False
        elif outcome.verdict is Verdict.ACCEPTED:
            departure.stage, departure.released = Stage.ACCEPTED, now
            departure.next_try = now + _BELIEVED_AFTER
        elif outcome.verdict in (Verdict.REFUSED, Verdict.FORBIDDEN):
            departure.stage = Stage.REFUSED
        else:
            departure.stage = Stage.WAITING
            departure.next_try = now + self._pause(departure, outcome)
            if outcome.verdict in (Verdict.BLOCKED, Verdict.DENIED, Verdict.RATIONED):
                departure.holder = _holder(outcome)
                departure.blocked_since = now if departure.blocked_since is None else departure.blocked_since
        return departure

    def _pause(self, departure: Departure, outcome: Outcome) -> float:
        """What the answer asks for, with jitter; an API server in trouble is asked less and less often."""
        pause = outcome.pause
        if outcome.verdict is Verdict.RETRY:
            free = outcome.pause == 0 and departure.attempts < _FREE_TRIES
            pause = 0.0 if free else max(pause, min(2.0 ** (departure.attempts - 1), _SLOWEST_RETRY))
        return pause * self.rng.uniform(1.0, 1.2)

    def look(self, present: Mapping[str, Pod]) -> list[Departure]:
        """Take in the pods there are, by UID; the departures that are over since the last look.

        A pod that ended is gone: a finalizer may keep the object, and nobody minds (rule 18). One that had ended
        before it was to go is asked all the same: then its object is what shall go.
        """
        over = []
        for uid, departure in self._all.items():
            if departure.stage is Stage.GONE:
                continue
            pod = present.get(uid)
            if pod is None or (pod.ended and (pod.terminating or not departure.ended_before)):
                departure.stage = Stage.GONE
                over.append(departure)
            elif pod is not departure.pod:
                departure.pod = pod
                if pod.terminating and departure.stage is not Stage.ASKED and not departure.shortens:
                    departure.stage = Stage.TERMINATING
        return over

    @property
    def awaits_ends(self) -> bool:
        """Whether the end of a pod is all that can be waited for."""
        ending = (Stage.TERMINATING, Stage.AWAITED, Stage.ACCEPTED)
        return any(departure.stage in ending for departure in self._all.values())

    @property
    def all(self) -> list[Departure]:
        return list(self._all.values())

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


def describe(departure: Departure, now: float, wall: float) -> str:
    """One line on a pod that did not go (rule 23): name, uid, answer, budget, phase, time waited.

    ``wall`` is the wall clock in epoch seconds, for deletionTimestamps.
    """
    pod, last = departure.pod, departure.last
    parts = [f"{pod.name} uid={pod.uid} {departure.stage.value} phase={pod.status.phase or '?'}"]
    if last is not None:
        ours = not last.code and last.verdict is not Verdict.RETRY  # The owner's law, before anybody was asked.
        parts.append(last.detail if ours else f"HTTP {last.code}: {last.detail}")
    if departure.blocked:
        parts.append(f"{departure.holder} held it for {departure.held_for(now):.0f} s")
    if stuck := why_stuck(pod, wall):
        parts.append(f"stuck terminating, {stuck}")
    if departure.stage in (Stage.WAITING, Stage.ASKED) and departure.attempts == 0:
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
    if outcome.verdict is Verdict.RATIONED:
        return "MAX_EVICTIONS_PER_HOUR"
    if outcome.verdict is Verdict.DENIED:
        return denier(outcome.detail) or "an admission rule"
    return f"budget {outcome.budget}" if outcome.budget else "a disruption budget"
