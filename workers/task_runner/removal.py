"""Makes a set of pods go: evicts in parallel, retries what budgets hold, waits for the end by watch."""

from __future__ import annotations

import queue
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from shared.kube.evictions import Outcome, Verdict
from shared.kube.pods import Pod
from workers.task_runner.context import Context, TaskFailed
from workers.task_runner.departures import Departure, Departures, Stage, describe, why_stuck
from workers.task_runner.follower import Broken, Follower, Listed, Removed, Seen

DEFAULT_GRACE = 90
"""Seconds a pod gets to stop unless the task says otherwise; a pod's own longer grace stands."""

_REPORT_SECONDS = 15.0
"""How often a removal that takes long says what it waits for."""

_NAMED = 5
"""Pods that a line names before it counts the rest."""

_TURN = 0.5
"""Seconds after which the loop looks up even when nothing happened: interrupts and the deadline."""

Send = Callable[[Pod, Callable[[Pod, Outcome], None], Callable[[], bool], bool], None]
"""Begins one request for a pod: (pod, done, wanted, again), as Evictor.evict."""


@dataclass(frozen=True)
class _Answered:
    uid: str
    outcome: Outcome


class Removal:
    """One task's pods on their way out. ``remove`` may be called again for pods that came late."""

    def __init__(self, context: Context, follower: Follower, send: Send, interval: float = 0.0) -> None:
        self._context = context
        self._follower = follower
        self._send = send
        self._departures = Departures(interval=interval)
        self._active = True
        self._reported = context.clock.monotonic()

    def remove(self, *tiers: Iterable[Pod]) -> None:
        """Return when the pods are gone, tier by tier, or the tier whose turn it is cannot go (``refused``).

        Raises:
            TaskFailed: RBAC does not let us evict, or list, pods.
            Stopped: the deadline passed, or the task was interrupted.
        """
        for number, pods in enumerate(tiers):
            self._departures.add(pods, self._now, number)
        try:
            while self._departures.under_way:
                for departure in self._departures.due(self._now):
                    self._ask(departure)
                self._handle_next()
                self._context.check()
                self._report()
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
    def blockers(self) -> str:
        """Who holds pods, and how many, in words; empty when nobody does."""
        held = Counter(departure.holder for departure in self._departures.blocked)
        return ", ".join(f"{holder} holds {count}" for holder, count in sorted(held.items()))

    @property
    def _now(self) -> float:
        return self._context.clock.monotonic()

    def _ask(self, departure: Departure) -> None:
        self._send(departure.pod, self._answered, self._wanted, departure.attempts > 1)

    def _wanted(self) -> bool:
        return self._active and not self._context.interrupt.requested

    def _answered(self, pod: Pod, outcome: Outcome) -> None:
        """Called on the evictor's threads."""
        self._follower.inbox.put(_Answered(pod.uid, outcome))

    def _handle_next(self) -> None:
        """Wait for the next thing to happen, then take in all that has happened."""
        due = self._departures.next_due()
        timeout = min(_TURN, self._context.deadline.remaining)
        if due is not None:
            timeout = min(timeout, max(0.0, due - self._now))
        try:
            self._handle(self._follower.inbox.get(timeout=timeout))
            while True:
                self._handle(self._follower.inbox.get_nowait())
        except queue.Empty:
            return

    def _handle(self, item: Any) -> None:
        if isinstance(item, _Answered):
            self._take_answer(item)
        elif isinstance(item, Seen):
            self._departures.seen(item.pod)
        elif isinstance(item, Removed):
            self._note_gone(self._departures.gone(item.pod.uid))
        elif isinstance(item, Listed):
            for departure in self._departures.listed(item.pods, item.version):
                self._note_gone(departure)
        elif isinstance(item, Broken):
            raise TaskFailed(f"cannot follow the pods: {item.error}") from item.error

    def _take_answer(self, item: _Answered) -> None:
        departure = self._departures.answered(item.uid, item.outcome, self._now)
        if departure is None:
            return
        outcome, account = item.outcome, self._context.account
        if outcome.verdict is Verdict.FORBIDDEN:
            raise TaskFailed(f"cannot evict {departure.pod.name}: {outcome.detail}")
        if departure.stage is Stage.GONE:
            account.note(f"{departure.pod.name} is gone already ({outcome.detail})")
        elif departure.stage is Stage.TERMINATING:
            account.note(f"{departure.pod.name} {outcome.detail}")
        elif departure.stage is Stage.REFUSED:
            account.say(f"{departure.pod.name} cannot be evicted: {outcome.detail}")
        elif departure.news:
            account.note(f"{departure.pod.name} must wait: HTTP {outcome.code} {outcome.detail}")

    def _note_gone(self, departure: Departure | None) -> None:
        if departure is None:
            return
        held = departure.held_for(self._now)
        waited = f" after {departure.holder} held it for {held:.0f} s" if departure.holder else ""
        self._context.account.note(f"{departure.pod.name} is gone{waited}")

    def _report(self) -> None:
        """Say now and then what a removal that takes long waits for."""
        self._show_progress()
        if self._now - self._reported < _REPORT_SECONDS:
            return
        self._reported = self._now
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
        self._context.progress.update(left=len(self._departures.pending), blocked=len(self._departures.blocked))

    def _described(self, departure: Departure) -> str:
        return describe(departure, self._now, self._context.clock.now().timestamp())


def few(names: Sequence[str], most: int) -> str:
    """The first ``most`` names, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def grace_for(pod: Pod, asked: int | None) -> int:
    """Seconds of grace to send: what was ``asked`` as it is, else the default or the pod's longer own."""
    if asked is not None:
        return asked
    return max(DEFAULT_GRACE, pod.spec.termination_grace_period_seconds or 0)
