"""Makes a set of pods go: asks in parallel, asks again what budgets hold, and sees them end.

Level-triggered: each pass looks at the pods there are and the answers that came, asks for what is due, and says when
to look again. Nothing of it has to be carried over a restart.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from shared.kube.evictions import Outcome, Verdict
from shared.kube.pods import Pod
from workers.task_runner.guards.ledger import Permit
from workers.task_runner.leaving.departures import Departure, Departures, Stage, describe, why_stuck
from workers.task_runner.leaving.listing import Listing
from workers.task_runner.work.context import Context, TaskFailed
from workers.task_runner.work.evictor import Request
from workers.task_runner.work.room import Room
from workers.task_runner.work.view import View

DEFAULT_GRACE = 90
"""Seconds a pod gets to stop unless the task says otherwise; a pod's own longer grace stands."""

SILENCE = 15.0
"""Seconds without a line of the watch after which, while an end is awaited, a list is asked (rule 18)."""

_REPORT_SECONDS = 15.0
"""After so long a removal says what it waits for, and then after twice as long each time."""

_LONGEST_REPORT = 240.0

_RATION_PAUSE = 20.0
"""Seconds between two looks at whether the hour's evictions are less than the owner allows."""

_NAMED = 5
"""Pods that a line names before it counts the rest."""


@dataclass(frozen=True)
class Manner:
    """How the pods of a removal are asked."""

    send: Callable[[Pod], Outcome]
    """Asks the API server to let one pod go; on another thread."""
    interval: float = 0.0
    """Least seconds between two requests."""
    shortens: Callable[[Pod], bool] = lambda pod: False
    """Whether it is worth asking for a pod that terminates already (rule 21)."""


class Removal:
    """One task's pods on their way out. ``remove`` may be called again for pods that came late."""

    def __init__(self, context: Context, view: View, room: Room, listing: Listing, manner: Manner) -> None:
        self._context = context
        self._view = view
        self._room = room
        self._listing = listing
        self._manner = manner
        self._departures = Departures(interval=manner.interval)
        self._permits: dict[str, Permit] = {}
        self._answers: deque[tuple[str, Outcome | None]] = deque()
        self._active = True
        self._tiers = 1
        self._listed = self._now
        self._report_pause = _REPORT_SECONDS
        self._next_report = self._now + _REPORT_SECONDS

    async def remove(self, tiers: Sequence[Iterable[Pod]], unasked: Iterable[str] = ()) -> None:
        """Return when the pods are gone, tier by tier, or the tier whose turn it is cannot go (``refused``).

        Pods whose UIDs are ``unasked`` are only waited for.

        Raises:
            TaskFailed: RBAC does not let us evict, or follow, pods.
            Stopped: the deadline passed, or the task was interrupted.
        """
        self._tiers = len(tiers)
        for number, pods in enumerate(tiers):
            self._departures.add(pods, self._now, number, unasked, self._manner.shortens)
        try:
            while True:
                await self._context.allowed()
                await self._list_if_due()
                self._look()
                if not self._departures.under_way:
                    return
                for departure in self._departures.due(self._now):
                    self._ask(departure)
                self._report()
                await self._context.until(self._next_look())
        except BaseException:
            self._active = False
            raise
        finally:
            self._show_progress()

    @property
    def refused(self) -> list[str]:
        """A line for each pod that could not be evicted."""
        return [self._described(departure) for departure in self._departures.refused]

    @property
    def unfinished(self) -> list[str]:
        """A line for each pod that is still there."""
        return [self._described(d) for d in [*self._departures.pending, *self._departures.refused]]

    @property
    def described(self) -> dict[str, str]:
        """A line for each pod that was to go, by UID."""
        return {departure.pod.uid: self._described(departure) for departure in self._departures.all}

    @property
    def blockers(self) -> str:
        """Who holds pods, and how many, in words; empty when nobody does."""
        held = Counter(departure.holder for departure in self._departures.blocked)
        return ", ".join(f"{holder} holds {count}" for holder, count in sorted(held.items()))

    @property
    def _now(self) -> float:
        return self._context.clock.monotonic()

    async def _list_if_due(self) -> None:
        if self._room.broken:
            raise TaskFailed(f"cannot follow the pods: {self._room.broken}") from self._room.broken
        if self._room.stale or self._silence_is_over(self._now):
            self._listed = self._now
            await self._listing.consistent(self._context, self._room)

    def _silence_is_over(self, now: float) -> bool:
        """Whether the watch is silent for so long that what is awaited may have happened without a word."""
        silent = min(self._view.silent_for(), now - self._listed)
        return silent >= SILENCE and self._departures.awaits_ends

    def _look(self) -> None:
        while self._answers:
            self._take_answer(*self._answers.popleft())
        for departure in self._departures.look(self._room.pods):
            self._note_gone(departure)

    def _ask(self, departure: Departure) -> None:
        request = Request(
            departure.pod,
            self._context.rank,
            self._context.task.task_id,
            self._send,
            done=self._answered,
            wanted=self._wanted,
            sent=departure.sent,
            again=departure.attempts > 0,
            shortens=departure.shortens,
        )
        self._context.shared.evictor.ask(request)

    def _send(self, pod: Pod) -> Outcome:
        """Ask within the owner's limit of evictions an hour; on the evictor's threads.

        A request whose answer was lost keeps its place for the next try: it may have been taken.
        """
        owner = self._context.shared.owner
        if rule := owner.on_pod(pod):
            return Outcome(Verdict.REFUSED, 0, rule)  # Protected since it was planned.
        if pod.uid not in self._permits:
            permit = owner.begin_eviction()
            if isinstance(permit, str):
                return Outcome(Verdict.RATIONED, 0, permit, _RATION_PAUSE)
            self._permits[pod.uid] = permit
        outcome = self._manner.send(pod)
        if outcome.code and outcome.verdict is not Verdict.ACCEPTED:
            owner.not_evicted(self._permits.pop(pod.uid))
        return outcome

    def _wanted(self) -> bool:
        return self._active and not self._context.interrupt.requested and self._context.held() is None

    def _answered(self, pod: Pod, outcome: Outcome | None) -> None:
        """Called on the evictor's threads; without an outcome where nothing was sent."""
        self._answers.append((pod.uid, outcome))
        self._context.story.wake()

    def _next_look(self) -> float:
        moments = [self._next_report]
        if (due := self._departures.next_due()) is not None:
            moments.append(due)
        if self._departures.awaits_ends:
            silent = min(self._view.silent_for(), self._now - self._listed)
            moments.append(self._now + max(0.5, SILENCE - silent))
        return min(moments)

    def _take_answer(self, uid: str, outcome: Outcome | None) -> None:
        if outcome is None:
            self._departures.unsent(uid, self._now)
            return
        departure = self._departures.answered(uid, outcome, self._now)
        if departure is None:
            return
        account = self._context.account
        if outcome.verdict is Verdict.FORBIDDEN:
            raise TaskFailed(f"cannot evict {departure.pod.name}: {outcome.detail}")
        if departure.stage is Stage.GONE:
            account.note(f"{departure.pod.name} is gone already ({outcome.detail})")
        elif departure.stage in (Stage.ACCEPTED, Stage.TERMINATING):
            account.note(f"{departure.pod.name} {outcome.detail}")
        elif departure.stage is Stage.REFUSED:
            account.say(f"{departure.pod.name} cannot be evicted: {outcome.detail}")
        elif departure.news:
            code = "" if outcome.verdict is Verdict.RATIONED else f"HTTP {outcome.code} "
            account.note(f"{departure.pod.name} must wait: {code}{outcome.detail}")

    def _note_gone(self, departure: Departure) -> None:
        held = departure.held_for(self._now)
        waited = f" after {departure.holder} held it for {held:.0f} s" if departure.holder else ""
        self._context.account.note(f"{departure.pod.name} is gone{waited}")

    def _report(self) -> None:
        """Say now and then what a removal that takes long waits for."""
        self._show_progress()
        if self._now < self._next_report:
            return
        self._report_pause = min(2 * self._report_pause, _LONGEST_REPORT)
        self._next_report = self._now + self._report_pause
        pending = self._departures.pending
        names = few([departure.pod.name for departure in pending], _NAMED)
        held = f"; {self.blockers}" if self.blockers else ""
        self._context.account.say(f"{len(pending)} pods are not gone yet: {names}{held}{self._stuck(pending)}")

    def _stuck(self, pending: list[Departure]) -> str:
        wall = self._context.clock.now().timestamp()
        stuck = [(departure.pod.name, why) for departure in pending if (why := why_stuck(departure.pod, wall))]
        shown = few([f"{name} ({why})" for name, why in stuck], _NAMED)
        return f"; {len(stuck)} stuck terminating: {shown}" if stuck else ""

    def _show_progress(self) -> None:
        progress, departures = self._context.progress, self._departures
        pending, blocked = departures.pending, departures.blocked
        tier = f", tier {departures.tier + 1} of {self._tiers}" if self._tiers > 1 else ""
        progress.phase, progress.left = f"evicting{tier}", len(pending)
        progress.held = Counter(departure.holder for departure in blocked)
        progress.held_since = min((d.blocked_since for d in blocked if d.blocked_since is not None), default=None)
        wall = self._context.clock.now().timestamp()
        stuck = [departure.pod for departure in pending if why_stuck(departure.pod, wall)]
        progress.stuck = few([_with_finalizers(pod) for pod in stuck], _NAMED)

    def _described(self, departure: Departure) -> str:
        return describe(departure, self._now, self._context.clock.now().timestamp())


def _with_finalizers(pod: Pod) -> str:
    return f"{pod.name} (finalizers: {', '.join(pod.metadata.finalizers or ()) or 'none'})"


def few(names: Sequence[str], most: int) -> str:
    """The first ``most`` names, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def grace_for(pod: Pod, asked: int | None) -> int:
    """Seconds of grace to send: what was ``asked`` as it is, else the default or the pod's longer own."""
    if asked is not None:
        return asked
    return max(DEFAULT_GRACE, pod.spec.termination_grace_period_seconds or 0)
