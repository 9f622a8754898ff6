"""What is healthy and what is ready: pure decisions with a truth table in tests/unit/workers/health.

``/health`` is about this pod's own faults only: restarting it would not bring Central or the API server back.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

START_ALLOWANCE = 60.0
"""Seconds a program may run without a word: imports alone take several under a small CPU limit."""

SILENCE = 20.0
"""Seconds after which a worker that publishes every five is hung, or cannot reach the queue."""

_GIVEN_UP = ("fatal", "exited", "unknown")
"""supervisord's states of a program that will not come back by itself."""

_COMING = ("starting", "backoff")


@dataclass(frozen=True)
class WorkerFacts:
    """What is known of one program. Unknown things are None."""

    supervised: str | None
    """supervisord's word for its state, or None without a supervisord."""
    running_for: float | None
    """Seconds since supervisord started it."""
    age: float | None
    """Seconds since it last published, or None if it never did."""
    overdue: Mapping[str, float] = field(default_factory=dict)
    """Its late loops, and by how many seconds."""
    connections: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    """What it says of ``central`` and ``kubernetes``: ``ok`` and ``detail``."""


def worker_state(facts: WorkerFacts) -> str:
    """One word: running, starting, stale (hung), stopped, or supervisord's own for what it gave up."""
    if facts.supervised in _GIVEN_UP:
        return facts.supervised
    if facts.supervised in ("stopped", "stopping"):
        return facts.supervised
    if facts.age is None or facts.supervised in _COMING:
        late = facts.running_for is not None and facts.running_for > START_ALLOWANCE
        return "stale" if late and facts.supervised not in _COMING else "starting"
    if facts.age > SILENCE or facts.overdue:
        young = facts.running_for is not None and facts.running_for <= START_ALLOWANCE
        return "starting" if young and not facts.overdue else "stale"
    return "running"


@dataclass(frozen=True)
class Verdict:
    """What the endpoints say, and why."""

    healthy: bool
    ready: bool
    central: bool
    kubernetes: bool
    reasons: list[str]


def judge(
    workers: Mapping[str, WorkerFacts], broker_alive: bool, registered: bool, restarted: frozenset[str]
) -> Verdict:
    """The verdict over all programs.

    ``restarted`` are hung workers that were restarted once already: the first time is forgiven, as the restart
    usually helps.
    """
    states = {name: worker_state(facts) for name, facts in workers.items()}
    reasons = [f"worker {name} is {state}" for name, state in states.items() if state != "running"]
    if not broker_alive:
        reasons.append("the queue's broker does not answer")
    given_up = [name for name, state in states.items() if state in _GIVEN_UP]
    hung_again = [name for name, state in states.items() if state == "stale" and name in restarted]
    central = _connected(workers, "central", reasons)
    kubernetes = _connected(workers, "kubernetes", reasons)
    if not registered:
        reasons.append("registering with Central was not tried yet")
    healthy = broker_alive and not given_up and not hung_again
    all_running = all(state == "running" for state in states.values())
    return Verdict(
        healthy=healthy,
        ready=healthy and all_running and central and kubernetes and registered,
        central=central,
        kubernetes=kubernetes,
        reasons=reasons,
    )


def _connected(workers: Mapping[str, WorkerFacts], to: str, reasons: list[str]) -> bool:
    """Whether every worker that speaks of ``to`` has it, and at least one does."""
    said = {name: facts.connections[to] for name, facts in workers.items() if to in facts.connections}
    for name, connection in said.items():
        if not connection.get("ok"):
            reasons.append(f"{to}: {connection.get('detail') or 'not connected'} ({name})")
    if not said:
        reasons.append(f"{to}: nobody connected yet")
    return bool(said) and all(connection.get("ok") for connection in said.values())
