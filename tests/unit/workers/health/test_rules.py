"""What is healthy and what is ready: the complete truth table."""

from __future__ import annotations

import configparser
import itertools
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from shared.process.programs import PROGRAMS
from tests.sim.agent import ROOT
from workers.health.rules import (
    JOBS,
    SILENCE,
    START_ALLOWANCE,
    Job,
    JobFacts,
    Verdict,
    WorkerFacts,
    judge,
    worker_state,
)

YOUNG, OLD = START_ALLOWANCE, START_ALLOWANCE + 1
FRESH, STALE = SILENCE, SILENCE + 1
LATE = {"poll": 12.0}


def state(
    supervised: str | None, running_for: float | None, age: float | None, overdue: Mapping[str, float] = {}
) -> str:
    return worker_state(WorkerFacts(supervised, running_for, age, overdue))


# -- one worker -----------------------------------------------------------------------------------

RUNNING: list[tuple[float, float | None, Mapping[str, float], str]] = [
    # supervisord says it runs since,  it last said something,  late loops,  so it is
    (YOUNG, None, {}, "starting"),
    (OLD, None, {}, "stale"),
    (YOUNG, FRESH, {}, "running"),
    (OLD, FRESH, {}, "running"),
    (YOUNG, STALE, {}, "starting"),
    (OLD, STALE, {}, "stale"),
    (YOUNG, FRESH, LATE, "stale"),
    (OLD, FRESH, LATE, "stale"),
    (OLD, STALE, LATE, "stale"),
]


@pytest.mark.parametrize(("running_for", "age", "overdue", "word"), RUNNING)
def test_a_program_that_runs(running_for: float, age: float | None, overdue: Mapping[str, float], word: str) -> None:
    assert state("running", running_for, age, overdue) == word


BEFORE: list[tuple[float, float | None, Mapping[str, float], str]] = [
    # supervisord counts whole seconds, so what was said a second before or after the start may be of either process
    (3.0, 21.0, LATE, "starting"),
    (3.0, 21.0, {}, "starting"),
    (3.0, 4.5, LATE, "starting"),
    (3.0, 3.5, LATE, "running"),
    (3.0, 3.5, {}, "running"),
    (3.0, 2.5, LATE, "running"),
    (3.0, 2.0, LATE, "stale"),
    (40.0, 25.0, LATE, "stale"),
    (OLD, OLD + 2, {}, "stale"),
]


@pytest.mark.parametrize(("running_for", "age", "overdue", "word"), BEFORE)
def test_what_was_said_before_the_program_was_started_says_nothing_about_it(
    running_for: float, age: float | None, overdue: Mapping[str, float], word: str
) -> None:
    """Else a hung worker that was restarted counts as hung until the new process speaks: /health is red too soon."""
    assert state("running", running_for, age, overdue) == word


@pytest.mark.parametrize(("heard_for", "word"), [(YOUNG, "starting"), (OLD, "stale")])
@pytest.mark.parametrize("age", [None, STALE])
def test_silence_counts_from_the_start_of_the_broker_too(heard_for: float, age: float | None, word: str) -> None:
    """What was said to the broker before it is gone."""
    assert worker_state(WorkerFacts("running", 86_400.0, age, heard_for=heard_for)) == word
    assert worker_state(WorkerFacts("running", 86_400.0, FRESH, heard_for=heard_for)) == "running"
    assert worker_state(WorkerFacts("running", 86_400.0, FRESH, LATE, heard_for=heard_for)) == "stale"


def test_every_program_that_exits_is_started_again() -> None:
    """Which is why ``exited`` counts as on its way."""
    conf = configparser.RawConfigParser()
    conf.read(ROOT / "supervisord.conf")
    assert {name: conf[f"program:{name}"]["autorestart"] for name in PROGRAMS} == dict.fromkeys(PROGRAMS, "true")


@pytest.mark.parametrize("word", ["fatal", "unknown", "stopped", "stopping"])
@pytest.mark.parametrize("age", [None, FRESH, STALE])
@pytest.mark.parametrize("overdue", [{}, LATE], ids=["on time", "late"])
def test_a_program_that_supervisord_gave_up_or_stopped_is_what_it_says(
    word: str, age: float | None, overdue: Mapping[str, float]
) -> None:
    for running_for in (None, YOUNG, OLD):
        assert state(word, running_for, age, overdue) == word


@pytest.mark.parametrize("word", ["starting", "backoff", "exited"])
@pytest.mark.parametrize("age", [None, FRESH, STALE])
@pytest.mark.parametrize("running_for", [None, YOUNG, OLD])
def test_a_program_that_is_on_its_way_is_starting_whatever_it_said_before(
    word: str, age: float | None, running_for: float | None
) -> None:
    """A crash loop is no hang: supervisord is at it already."""
    for overdue in ({}, LATE):
        assert state(word, running_for, age, overdue) == "starting"


@pytest.mark.parametrize(
    ("age", "overdue", "word"),
    [
        (None, {}, "starting"),
        (FRESH, {}, "running"),
        (STALE, {}, "stale"),
        (FRESH, LATE, "stale"),
        (STALE, LATE, "stale"),
    ],
)
def test_without_a_supervisord_its_own_words_count(age: float | None, overdue: Mapping[str, float], word: str) -> None:
    assert state(None, None, age, overdue) == word


def test_every_combination_has_one_word() -> None:
    words = {"running", "starting", "stale", "fatal", "unknown", "stopped", "stopping"}
    supervised = [None, "running", "starting", "backoff", "stopping", "stopped", "exited", "fatal", "unknown"]
    for case in itertools.product(supervised, [None, YOUNG, OLD], [None, FRESH, STALE], [{}, LATE]):
        assert state(*case) in words


# -- jobs -----------------------------------------------------------------------------------------


def workers_that(program: str, **jobs: JobFacts) -> dict[str, WorkerFacts]:
    """Five workers in best health, of which one says this of its loops."""
    return {**agent(), program: replace(agent()[program], jobs=jobs)}


EVERY_JOB = [(program, loop, job) for program, jobs in JOBS.items() for loop, job in jobs.items()]
SPOKEN_OF = [(program, loop, job) for program, loop, job in EVERY_JOB if job.patience < float("inf")]


@pytest.mark.parametrize(("program", "loop", "job"), SPOKEN_OF)
def test_a_job_that_cannot_be_done_for_longer_than_its_patience_is_named(program: str, loop: str, job: Job) -> None:
    patient = verdict(workers_that(program, **{loop: JobFacts(9999.0, job.patience, "somebody refuses")}))
    assert (patient.healthy, patient.ready) == (True, True)
    named = verdict(workers_that(program, **{loop: JobFacts(9999.0, job.patience + 1, "somebody refuses")}))
    assert named.reasons == [f"{program} cannot {job.what}, for {job.patience + 1:.0f} s now: somebody refuses"]
    assert (named.healthy, named.ready) == (True, False)


@pytest.mark.parametrize(("program", "loop", "job"), EVERY_JOB)
def test_only_a_fault_of_this_pod_that_lasts_turns_health_red(program: str, loop: str, job: Job) -> None:
    for own_fault, hindered, healthy in [
        (True, job.turns_red_after, True),
        (True, job.turns_red_after + 1, False),
        (False, 1_000_000.0, True),
    ]:
        found = verdict(workers_that(program, **{loop: JobFacts(9999.0, hindered, "why", own_fault)}))
        assert found.healthy == healthy


@pytest.mark.parametrize(("program", "loop", "job"), SPOKEN_OF)
def test_ready_speaks_of_it_first(program: str, loop: str, job: Job) -> None:
    assert job.turns_red_after >= 2 * job.patience


def test_a_job_that_is_done_may_have_been_done_long_ago() -> None:
    """A sample an hour, a stream that says nothing: whether a loop is late is told by its beats."""
    assert verdict(workers_that("metrics", sample=JobFacts(3600.0))).ready


def test_that_the_stream_alone_cannot_be_had_is_no_reason() -> None:
    """The poll brings the same tasks."""
    assert verdict(workers_that("task-runner", stream=JobFacts(9999.0, 9999.0, "closed"))).ready


def test_a_loop_that_is_not_in_the_table_is_named_after_two_minutes() -> None:
    found = verdict(workers_that("metrics", new=JobFacts(200.0, 121.0, "why")))
    assert found.reasons == ["metrics cannot do its work (new), for 121 s now: why"]


def test_of_a_worker_that_does_not_run_only_that_is_said() -> None:
    hindered = replace(agent()["metrics"], supervised="stopped", jobs={"sample": JobFacts(999.0, 999.0, "why")})
    assert verdict(agent(metrics=hindered)).reasons == ["worker metrics is stopped"]


# -- all of them ----------------------------------------------------------------------------------

OK: dict[str, Any] = {"ok": True, "detail": ""}
DOWN: dict[str, Any] = {"ok": False, "detail": "timed out"}


def facts(supervised: str = "running", age: float | None = 1.0, **connections: dict[str, Any]) -> WorkerFacts:
    return WorkerFacts(supervised, OLD, age, connections=connections)


def agent(**changed: WorkerFacts) -> dict[str, WorkerFacts]:
    """Five workers in best health, but for what is changed."""
    return {
        "health": facts(),
        "heartbeat": facts(central=OK),
        "event-watcher": facts(kubernetes=OK),
        "metrics": facts(kubernetes=OK),
        "task-runner": facts(central=OK, kubernetes=OK),
        **{name.replace("_", "-"): value for name, value in changed.items()},
    }


def verdict(
    workers: Mapping[str, WorkerFacts], broker: bool = True, registered: bool = True, restarted: tuple[str, ...] = ()
) -> Verdict:
    return judge(workers, broker, registered, frozenset(restarted))


def test_all_is_well() -> None:
    assert verdict(agent()) == Verdict(healthy=True, ready=True, central=True, kubernetes=True, reasons=[])


CASES: dict[str, tuple[Verdict, tuple[bool, bool], str]] = {
    # what is so: (healthy, ready), the reason
    "the broker is dead": (
        verdict(agent(), broker=False), (False, False), "the queue's broker does not answer"),
    "registering was not tried": (
        verdict(agent(), registered=False), (True, False), "registering with Central was not tried yet"),
    "a worker starts": (
        verdict(agent(metrics=facts("starting", None, kubernetes=OK))), (True, False), "worker metrics is starting"),
    "a worker crashes again and again": (
        verdict(agent(metrics=facts("backoff", kubernetes=OK))), (True, False), "worker metrics is starting"),
    "a worker hangs for the first time": (
        verdict(agent(metrics=facts(age=STALE, kubernetes=OK))), (True, False), "worker metrics is stale"),
    "a worker hangs though it was restarted": (
        verdict(agent(metrics=facts(age=STALE, kubernetes=OK)), restarted=("metrics",)),
        (False, False), "worker metrics is stale"),
    "another worker was restarted": (
        verdict(agent(metrics=facts(age=STALE, kubernetes=OK)), restarted=("heartbeat",)),
        (True, False), "worker metrics is stale"),
    "a restarted worker is well again": (verdict(agent(), restarted=("metrics",)), (True, True), ""),
    "a worker was given up": (
        verdict(agent(metrics=facts("fatal", kubernetes=OK))), (False, False), "worker metrics is fatal"),
    "a worker exited": (
        verdict(agent(metrics=facts("exited", kubernetes=OK))), (True, False), "worker metrics is starting"),
    "supervisord lost one": (
        verdict(agent(metrics=facts("unknown", kubernetes=OK))), (False, False), "worker metrics is unknown"),
    "a person stopped a worker": (
        verdict(agent(metrics=facts("stopped", kubernetes=OK))), (True, False), "worker metrics is stopped"),
    "Central is down": (
        verdict(agent(heartbeat=facts(central=DOWN), task_runner=facts(central=DOWN, kubernetes=OK))),
        (True, False), "central: timed out (heartbeat)"),
    "one worker cannot reach Central": (
        verdict(agent(task_runner=facts(central=DOWN, kubernetes=OK))),
        (True, False), "central: timed out (task-runner)"),
    "the API server is down": (
        verdict(agent(metrics=facts(kubernetes=DOWN), event_watcher=facts(kubernetes=DOWN))),
        (True, False), "kubernetes: timed out (metrics)"),
    "a connection is down without a word": (
        verdict(agent(metrics=facts(kubernetes={"ok": False}))),
        (True, False), "kubernetes: not connected (metrics)"),
    "the task-runner has not needed the API server yet": (
        verdict(agent(task_runner=facts(central=OK))), (True, True), ""),
}  # fmt: skip


@pytest.mark.parametrize(("found", "expected", "reason"), CASES.values(), ids=CASES)
def test_what_follows(found: Verdict, expected: tuple[bool, bool], reason: str) -> None:
    assert (found.healthy, found.ready) == expected
    assert (reason in found.reasons) if reason else (found.reasons == [])


@pytest.mark.parametrize("to", ["central", "kubernetes"])
def test_until_somebody_connected_nobody_is(to: str) -> None:
    silent = {name: facts() for name in agent()}
    found = verdict(silent)
    assert getattr(found, to) is False
    assert f"{to}: nobody connected yet" in found.reasons
    assert not found.ready
    assert found.healthy


def test_what_is_missing_outside_never_restarts_the_pod() -> None:
    down = {name: facts(central=DOWN, kubernetes=DOWN) for name in agent()}
    assert verdict(down, registered=False).healthy


def test_all_that_is_wrong_is_said() -> None:
    found = verdict(agent(metrics=facts("fatal", kubernetes=DOWN)), broker=False, registered=False)
    assert found.reasons == [
        "worker metrics is fatal",
        "the queue's broker does not answer",
        "kubernetes: timed out (metrics)",
        "registering with Central was not tried yet",
    ]


def test_ready_is_healthy_and_more() -> None:
    words = ["running", "starting", "backoff", "stopped", "exited", "fatal"]
    for word, age, broker, registered, again in itertools.product(
        words, [None, FRESH, STALE], [True, False], [True, False], [(), ("metrics",)]
    ):
        found = verdict(agent(metrics=facts(word, age, kubernetes=OK)), broker, registered, again)
        assert found.healthy or not found.ready
        assert found.ready == (not found.reasons)
