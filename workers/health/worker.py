"""The health worker: looks at all programs every other second, keeps the verdict for the endpoints."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from shared import __version__
from shared.basics import telemetry
from shared.basics.errors import AgentError, TemporaryError
from shared.basics.logs import cut_middle
from shared.process.lifecycle import Loop, Process, Worker
from shared.process.programs import PROGRAMS
from shared.process.state import ENDED, HEALTH, REGISTRATION, TELEMETRY, WORKER
from shared.queue.client import value
from shared.queue.messages import Entry
from workers.health.exposition import Totals, render
from workers.health.http import PROMETHEUS, Answer, EndpointServer, as_json
from workers.health.rules import SILENCE, JobFacts, Verdict, WorkerFacts, judge, worker_state
from workers.health.status import StatusPage
from workers.health.supervision import Supervision

ASSESS_SECONDS = 1.0
"""How often the verdict is renewed."""

SPOOL_SECONDS = 5.0
"""How often it is tried whether the spool can be written."""

_TRIAL = "trial"
"""Key of the durable state that is written for it."""

_TRIAL_BYTES = 8 * 1024
"""More than one page of the file: a byte may still find room where a claim does not."""

_ASK_BROKER = 0.9
"""Seconds the broker has to be reached, and for its answer; both twice at most, so a hung one shows within three."""

_STALE_VERDICT = 10.0
"""Seconds after which a verdict that was not renewed is none: this very worker hangs."""

CONFIRM = 6.0
"""Seconds for which a worker must be found hung before it is restarted: after a pause of the whole machine all of them
look so, and all speak within five."""

LATE_LOOK = 4.0
"""Seconds between two looks after which the earlier says nothing: what held up this loop held up the others."""

FORGIVE = 600.0
"""Seconds after which an earlier hang of a worker is forgotten."""

_REASONS, _REASON = 10, 500
"""How many reasons Central hears at most, and characters of each."""

_SAVED = "counters"
"""Key of the durable state that keeps what ended processes counted."""

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Assessment:
    verdict: Verdict
    at: float


class HealthWorker(Worker):
    """Asks the queue as any other worker would: a broker that does not answer shows at once."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._assessment: _Assessment | None = None
        self._supervision = Supervision(process.programs, process.clock)
        self._restarted: dict[str, float] = {}
        self._hung_since: dict[str, float] = {}
        self._looked = float("-inf")
        self._trials = 0
        self._totals: Totals | None = None
        settings = process.settings.health
        endpoints = {"/health": self.health, "/ready": self.ready, "/metrics": self.metrics}
        endpoints.update(StatusPage(process).endpoints)
        self.server = EndpointServer(settings.address, settings.port, endpoints)
        telemetry.INFO.labels(__version__, process.settings.agent.cluster_id).set(1)

    def loops(self) -> list[Loop]:
        return [
            Loop("assess", self.assess, patience=30.0, slowest_retry=2.0),
            Loop("supervisord", self._supervision.ask, patience=30.0, slowest_retry=2.0),
            Loop("spool", self.try_spool, patience=60.0, slowest_retry=SPOOL_SECONDS),
            Loop("http", self._serve, patience=float("inf")),
        ]

    def _now(self) -> float:
        return self._process.clock.monotonic()

    def _serve(self) -> float:
        self.server.serve_forever(poll_interval=0.5)
        return 0.0

    # -- endpoints --------------------------------------------------------------------------------

    def health(self) -> Answer:
        """200 and ``healthy``, or 503 with the reasons."""
        verdict = self._verdict()
        body: dict[str, Any] = {
            "status": "healthy" if verdict.healthy else "unhealthy",
            "uptime_seconds": int(self._process.uptime),
        }
        if not verdict.healthy:
            body["reasons"] = verdict.reasons
        return as_json(200 if verdict.healthy else 503, body)

    def ready(self) -> Answer:
        """200 when ready, else 503, with the reasons."""
        verdict = self._verdict()
        body: dict[str, Any] = {
            "ready": verdict.ready,
            "central_server_connected": verdict.central,
            "k8s_api_connected": verdict.kubernetes,
        }
        if verdict.reasons:
            body["reasons"] = verdict.reasons
        return as_json(200 if verdict.ready else 503, body)

    def metrics(self) -> Answer:
        """The page for Prometheus."""
        return 200, PROMETHEUS, render(self._totals or Totals())

    def _verdict(self) -> Verdict:
        now = self._now()
        if self._assessment is not None and now - self._assessment.at < _STALE_VERDICT:
            return self._assessment.verdict
        starting = self._assessment is None and self._process.uptime < _STALE_VERDICT
        reason = "the agent starts" if starting else "the health worker is stuck"
        return Verdict(healthy=starting, ready=False, central=False, kubernetes=False, reasons=[reason])

    # -- assessment -------------------------------------------------------------------------------

    def assess(self) -> float:
        """Renew the verdict; restart a worker that hangs, once."""
        try:
            entries = self._read_state()
            alive = True
        except TemporaryError as error:
            _logger.error("the queue does not answer: %s", error)
            entries, alive = {}, False
        workers = {name: self._facts(name, entries) for name in PROGRAMS}
        registered = REGISTRATION in entries
        hung = self._hung(workers, alive)
        verdict = judge(workers, alive, registered, self._restarted_lately() & hung)
        self._assessment = _Assessment(verdict, self._now())
        self._restart(hung - self._restarted.keys(), workers)
        self._count(workers, entries, verdict, alive)
        if alive:
            self._tell(workers, entries, verdict)
        return ASSESS_SECONDS

    def _read_state(self) -> dict[str, Entry]:
        entries: dict[str, Entry] = {}
        for prefix in (WORKER, ENDED, TELEMETRY, REGISTRATION):
            entries.update(self._process.queue.get_state(prefix, patience=_ASK_BROKER))
        return entries

    def _facts(self, name: str, entries: dict[str, Entry]) -> WorkerFacts:
        supervised = self._supervision.state(name)
        entry = entries.get(WORKER + name)
        said = value(entry) if entry is not None else {}
        if name == self._process.name:  # Its own word needs no queue.
            jobs = {loop: _brought_up(job, 0.0) for loop, job in self._process.beats.jobs().items()}
        else:
            jobs = {loop: _brought_up(job, entry.age) for loop, job in said.get("jobs", {}).items()} if entry else {}
        return WorkerFacts(
            supervised=supervised.word if supervised else None,
            running_for=supervised.since_start if supervised else None,
            age=entry.age if entry is not None else None,
            heard_for=self._process.uptime,
            overdue=said.get("overdue", {}),
            connections={to: c for to, c in said.get("connections", {}).items() if to != "stream"},
            jobs=jobs,
        )

    def try_spool(self) -> float:
        """Write durably: what keeps this from being done keeps tasks from being claimed."""
        self._trials += 1
        self._process.queue.set_state({_TRIAL: f"{self._trials:{_TRIAL_BYTES}}"}, durable=True)
        return SPOOL_SECONDS

    def _restarted_lately(self) -> frozenset[str]:
        now = self._now()
        self._restarted = {name: at for name, at in self._restarted.items() if now - at < FORGIVE}
        return frozenset(self._restarted)

    def _hung(self, workers: dict[str, WorkerFacts], heard: bool) -> frozenset[str]:
        """Who was found hung for long enough, by looks that came on time; unheard, nobody can be."""
        now = self._now()
        if now - self._looked > LATE_LOOK or not heard:
            self._hung_since.clear()
        self._looked = now
        stale = {name for name, facts in workers.items() if heard and worker_state(facts) == "stale"}
        self._hung_since = {name: self._hung_since.get(name, now) for name in stale}
        return frozenset(name for name, since in self._hung_since.items() if now - since >= CONFIRM)

    def _restart(self, hung: frozenset[str], workers: dict[str, WorkerFacts]) -> None:
        for name in sorted(hung - {self._process.name}):
            facts = workers[name]
            late = ", ".join(f"{loop} by {seconds:g} s" for loop, seconds in facts.overdue.items())
            _logger.error("worker %s hangs (%s); restarting it", name, late or "it says nothing")
            self._restarted[name] = self._now()
            del self._hung_since[name]
            self._supervision.kill(name)

    def _tell(self, workers: dict[str, WorkerFacts], entries: dict[str, Entry], verdict: Verdict) -> None:
        """What the heartbeat passes on to Central."""
        runner = entries.get(f"{WORKER}task-runner")
        summary = {
            "ready": verdict.ready,
            "reasons": [cut_middle(reason, _REASON) for reason in verdict.reasons[:_REASONS]],
            "uptime_seconds": round(self._process.uptime, 1),
            "k8s_api_connected": verdict.kubernetes,
            "workers": {name: worker_state(facts) for name, facts in workers.items()},
            "tasks_in_progress": value(runner).get("tasks_in_progress", 0) if runner is not None else 0,
        }
        self._process.queue.set_state({HEALTH: summary})

    # -- telemetry --------------------------------------------------------------------------------

    def _count(self, workers: dict[str, WorkerFacts], entries: dict[str, Entry], verdict: Verdict, alive: bool) -> None:
        telemetry.READY.set(int(verdict.ready))
        telemetry.HEALTHY.set(int(verdict.healthy))
        for name, facts in workers.items():
            telemetry.WORKER_UP.labels(name).set(int(worker_state(facts) == "running"))
        if not alive:
            return
        if self._totals is None:
            saved = self._saved_counters()
            if saved is None:
                return
            self._totals = Totals(saved)
        changed, over = False, []
        for key, entry in entries.items():
            if key.startswith(ENDED):
                program, _, pid = key[len(ENDED) :].rpartition("/")
                self._totals.end(program, int(pid), value(entry))
                over.append(key)
            elif key.startswith(TELEMETRY):
                program = key[len(TELEMETRY) :]
                pid, families = value(entry)
                if self._totals.update(program, pid, families):
                    self._totals.count("cloudoptim_worker_restarts_total", "worker", program)
                    changed = True
                if entry.age > SILENCE:
                    self._totals.forget_gauges(program)
        if changed or over:
            self._save()
        if over:
            self._process.queue.set_state(dict.fromkeys(over))
        self._count_queue()

    def _save(self) -> None:
        if self._totals is not None:
            self._process.queue.set_state({_SAVED: self._totals.saved()}, durable=True)

    def _saved_counters(self) -> dict[str, Any] | None:
        """What an earlier run of this worker kept; None while the queue does not answer."""
        try:
            entry = self._process.queue.get_state(_SAVED, patience=_ASK_BROKER).get(_SAVED)
        except AgentError:
            return None
        return dict(value(entry)) if entry is not None else {}

    def _count_queue(self) -> None:
        try:
            stats = self._process.queue.stats(patience=_ASK_BROKER)
        except AgentError:
            return
        if self._totals is not None:
            dropped = {topic: float(fill.dropped) for topic, fill in stats.items()}
            self._totals.set("cloudoptim_queue_dropped_total", "topic", dropped)
        for topic, fill in stats.items():
            telemetry.QUEUE_DEPTH.labels(topic).set(fill.depth)
            telemetry.QUEUE_BYTES.labels(topic).set(fill.bytes)
            telemetry.QUEUE_AGE.labels(topic).set(fill.oldest_age)

    def close(self, pod_stopping: bool) -> None:
        """Answer no more, and keep what this process counted itself: its queue's other state ends with it."""
        self.server.shutdown()
        self.server.server_close()
        if self._totals is not None:
            self._totals.end(self._process.name, os.getpid(), telemetry.snapshot())
            self._save()


def _brought_up(job: Mapping[str, Any], age: float) -> JobFacts:
    """What a worker said of a job ``age`` seconds ago, as it is now."""
    hindered = job.get("hindered")
    if hindered is None:
        return JobFacts(job["done"] + age)
    return JobFacts(job["done"] + age, hindered + age, job["why"], job["own_fault"])
