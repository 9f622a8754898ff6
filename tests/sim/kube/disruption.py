"""The disruption controller: keeps the status of budgets, a little behind the pods like the real one."""

from __future__ import annotations

from datetime import datetime, timezone

from tests.sim.kube import budgets
from tests.sim.kube.budgets import Scale
from tests.sim.kube.clockwork import Clockwork
from tests.sim.kube.resources import BUDGETS, PODS, Object
from tests.sim.kube.selectors import matches_selector
from tests.sim.kube.store import Change, Store, Stored
from tests.sim.kube.writes import change

SYNC_DELAY = 0.02


class Disruption:
    def __init__(self, store: Store, clockwork: Clockwork, scale: Scale) -> None:
        self._store, self._clockwork, self._scale = store, clockwork, scale
        self._due: set[str] = set()

    def see(self, change: Change) -> None:
        if change.resource is BUDGETS and change.object is not None:
            self._sync_soon(change.object)
        elif change.resource is PODS:
            versions = [stored for stored in (change.object, change.previous) if stored is not None]
            for budget in self._store.all(BUDGETS, change.latest.namespace):
                if any(_selects(budget.object, stored.object) for stored in versions):
                    self._sync_soon(budget)

    def work(self) -> None:
        """Everything is done by timers."""

    def _sync_soon(self, budget: Stored) -> None:
        if budget.key not in self._due:
            self._due.add(budget.key)
            self._clockwork.after(SYNC_DELAY, lambda: self._sync(budget))

    def _sync(self, budget: Stored) -> None:
        self._due.discard(budget.key)
        with self._store.lock:
            change(self._store, budget, lambda latest: {**latest, "status": self.status(latest)})

    def status(self, budget: Object) -> Object:
        """What the status should be now."""
        pods = [s.object for s in self._store.all(PODS, budget["metadata"]["namespace"]) if _selects(budget, s.object)]
        try:
            return budgets.assess(budget, pods, self._scale, datetime.now(timezone.utc))
        except budgets.UnknownController as why:
            return budgets.failed(budget, str(why))


def _selects(budget: Object, pod: Object) -> bool:
    return matches_selector(budget["spec"].get("selector"), pod["metadata"].get("labels") or {})
