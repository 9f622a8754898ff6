"""What is healthy and what is ready: pure decisions with a truth table in tests/unit/workers/health.

``/health`` is about this pod's own faults only: restarting it would not bring Central or the API server back.
A green light means that each worker can do its job. What that is, loop by loop, and how long one may be kept from it
before it is named, is ``JOBS``; each loop of each worker is in it.

How soon each fault shows, at the latest (the looks are a second apart, and supervisord is asked every five):

| fault | seen after | ``/ready`` | ``/health`` |
|---|---|---|---|
| the broker is gone, or does not answer | 3 s | red | red |
| supervisord gave a worker up | 6 s | red | red |
| a worker says nothing | 21 s; not in its or the broker's first 60 s | red | 6 s later if restarted of late |
| a loop is late | its patience (30 s to 300 s) + 6 s | red | likewise |
| the health worker itself hangs | 10 s | red | red |
| a worker starts, crashes, or was stopped by a person | 6 s | red | green |
| Central or the API server is not connected | the failed call + 2 s | red | green |
| a job cannot be done, for somebody else's fault or for want of room | its patience + 6 s | red | green |
| a job cannot be done, for a fault of this pod | its patience + 6 s | red | red after 300 s, or twice its patience |
| supervisord does not answer | 30 s | red | red |
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

START_ALLOWANCE = 60.0
"""Seconds a program may run without a word: imports alone take several under a small CPU limit."""

SILENCE = 20.0
"""Seconds after which a worker that publishes every five is hung, or cannot reach the queue."""

_ROUNDING = 1.0
"""Seconds by which what was said of two moments, by two clocks of the kernel, may disagree."""

LASTS = 300.0
"""Seconds after which a fault of this pod's own that keeps a job from being done turns ``/health`` red."""


_ELSEWHERE = float("inf")
"""Patience with a job that another loop does as well, or that others already speak of."""


@dataclass(frozen=True)
class Job:
    """What one loop of a worker is for."""

    what: str
    """Completes "cannot"."""
    patience: float
    """Seconds it may be kept from it before it is named on ``/ready``."""
    lasts: float = LASTS
    """Seconds after which it turns ``/health`` red, if it is this pod's own fault; ``/ready`` comes first always."""

    @property
    def turns_red_after(self) -> float:
        return max(self.lasts, 2 * self.patience) if self.patience < _ELSEWHERE else self.lasts


JOBS: Mapping[str, Mapping[str, Job]] = {
    "health": {
        "spool": Job("write the spool, so nothing can be claimed or kept", 10.0),
        "supervisord": Job("hear supervisord", 10.0, lasts=30.0),
        "assess": Job("look at the workers", 10.0),
        "http": Job("answer probes", _ELSEWHERE),
    },
    "heartbeat": {
        "register": Job("register with Central", 60.0),
        "beat": Job("send heartbeats", 120.0),
        "deliver": Job("deliver results, events and samples", 300.0),
        "refusals": Job("decide about refused keys", 60.0),
        "prices": Job("keep prices that others know", 1800.0),
    },
    "event-watcher": {
        "events": Job("watch events", 180.0),
        "pods": Job("watch pods", 180.0),
        "nodes": Job("watch nodes", 180.0),
        "tell": Job("tell of what it saw", 60.0),
        "own work": Job("hear of the agent's own tasks", 600.0),
        "look-ups 1": Job("look up what goes with events", _ELSEWHERE),  # They are told without.
        "look-ups 2": Job("look up what goes with events", _ELSEWHERE),
    },
    "metrics": {
        "nodes": Job("follow the nodes", 180.0),
        "pods": Job("follow the pods", 180.0),
        "sample": Job("take samples", 300.0),
        "pod-usage": Job("read what pods use", 1800.0),
        "drains": Job("hear of drains that ended", 300.0),
        "self-check": Job("check its totals", 1800.0),
        "devices": Job("count claimed devices", 1800.0),
    },
    "task-runner": {
        "poll": Job("take in tasks", 60.0),
        "stream": Job("hear of urgent tasks", _ELSEWHERE),  # The poll brings the same ones.
        "gauges": Job("count its tasks", 60.0),
    },
}
"""By program and loop."""

_UNLISTED = 120.0

_GIVEN_UP = ("fatal", "unknown")
"""supervisord's states of a program that will not come back by itself."""

_COMING = ("starting", "backoff", "exited")
"""And of one that will: with ``autorestart=true``, exited is the moment before it is started again."""


@dataclass(frozen=True)
class JobFacts:
    """What a worker says of one of its loops, brought up to now."""

    done: float
    """Seconds since it last did its work."""
    hindered: float | None = None
    """For how many seconds it has been kept from it; None: it is at it."""
    why: str = ""
    own_fault: bool = False
    """Whether a restart of the pod could help."""


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
    jobs: Mapping[str, JobFacts] = field(default_factory=dict)
    """What it says of its loops."""
    heard_for: float = float("inf")
    """Seconds that there has been a broker to publish to: the state of the one before is gone."""


def worker_state(facts: WorkerFacts) -> str:
    """One word: running, starting, stale (hung), stopped, or supervisord's own for what it gave up.

    What was said before the process was started says nothing about it. In doubt, good news counts and bad does not.
    """
    if facts.supervised in _GIVEN_UP or facts.supervised in ("stopped", "stopping"):
        return facts.supervised
    if facts.supervised in _COMING:
        return "starting"
    lifetime = float("inf") if facts.running_for is None else facts.running_for
    age = float("inf") if facts.age is None or facts.age > lifetime + _ROUNDING else facts.age
    if facts.overdue and age <= lifetime - _ROUNDING:
        return "stale"
    if age <= SILENCE:
        return "running"
    never_spoke = facts.running_for is None and facts.age is None
    return "starting" if never_spoke or min(lifetime, facts.heard_for) <= START_ALLOWANCE else "stale"


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

    ``restarted`` are those found hung by several looks that were restarted once already: the first time is forgiven,
    as the restart usually helps.
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
    hindered = {name: _hindered(name, facts) for name, facts in workers.items() if states[name] == "running"}
    reasons += [reason for said in hindered.values() for reason in said]
    lasting = any(_is_lasting_fault(name, workers[name]) for name in hindered)
    healthy = broker_alive and not given_up and not hung_again and not lasting
    return Verdict(
        healthy=healthy,
        ready=not reasons,
        central=central,
        kubernetes=kubernetes,
        reasons=reasons,
    )


def job_of(program: str, loop: str) -> Job:
    return JOBS.get(program, {}).get(loop) or Job(f"do its work ({loop})", _UNLISTED)


def _hindered(program: str, facts: WorkerFacts) -> list[str]:
    """Each job that could not be done for longer than its patience, with the reason."""
    return [
        f"{program} cannot {job_of(program, loop).what}, for {job.hindered:.0f} s now: {job.why}"
        for loop, job in facts.jobs.items()
        if job.hindered is not None and job.hindered > job_of(program, loop).patience
    ]


def _is_lasting_fault(program: str, facts: WorkerFacts) -> bool:
    """Whether a job was kept from being done for so long, by a fault of this pod, that a restart is worth trying."""
    return any(
        job.own_fault and job.hindered is not None and job.hindered > job_of(program, loop).turns_red_after
        for loop, job in facts.jobs.items()
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
