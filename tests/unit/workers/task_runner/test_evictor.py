"""The one rate limiter of all evictions, and the threads behind it."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.kube.connection import Kube
from shared.kube.evictions import Outcome, Verdict
from shared.kube.pods import Pod, Pods
from tests.sim.kube.cluster import Cluster
from tests.unit.conftest import FakeClock
from tests.unit.workers.task_runner.conftest import pod
from workers.task_runner.evictor import PARALLEL, Evictor, RateLimiter

# -- the limiter ------------------------------------------------------------------------------------


def test_a_burst_goes_at_once_and_the_rest_at_the_rate(clock: FakeClock) -> None:
    limiter = RateLimiter(rate=10, burst=3, clock=clock)
    assert [round(limiter.reserve(), 6) for _ in range(6)] == [0, 0, 0, 0.1, 0.2, 0.3]


def test_a_pause_saves_up_a_burst_and_no_more(clock: FakeClock) -> None:
    limiter = RateLimiter(rate=10, burst=3, clock=clock)
    for _ in range(3):
        limiter.reserve()
    clock.advance(3600)
    assert [round(limiter.reserve(), 6) for _ in range(4)] == [0, 0, 0, 0.1]


@given(st.lists(st.floats(0, 2), max_size=60), st.floats(0.5, 50), st.integers(1, 20))
def test_no_span_of_time_has_more_than_the_burst_and_the_rate_allow(
    pauses: list[float], rate: float, burst: int
) -> None:
    clock = FakeClock()
    limiter = RateLimiter(rate, burst, clock)
    moments = []
    for pause in pauses:
        clock.advance(pause)
        moments.append(clock.monotonic() + limiter.reserve())
    for first in range(len(moments)):
        for last in range(first, len(moments)):
            assert last - first + 1 <= burst + rate * (moments[last] - moments[first]) + 1e-6


# -- the evictor ------------------------------------------------------------------------------------


class Answers:
    """What was answered, for one pod after the other."""

    def __init__(self) -> None:
        self._found: queue.SimpleQueue[tuple[Pod, Outcome]] = queue.SimpleQueue()

    def take(self, pod: Pod, outcome: Outcome) -> None:
        self._found.put((pod, outcome))

    def next(self) -> Outcome:
        return self._found.get(timeout=60)[1]

    def empty(self) -> bool:
        return self._found.empty()


@pytest.fixture
def evictor(kube: Kube) -> Iterator[Evictor]:
    evictor = Evictor(kube, rate=1000, burst=1000)
    yield evictor
    evictor.close()


@pytest.fixture
def answers() -> Answers:
    return Answers()


@pytest.fixture
def web(cluster: Cluster, kube: Kube) -> Pod:
    cluster.add_pod("shop", "web", "node-1", termination_seconds=60)
    return Pods(kube).find("shop", "web")


def test_a_pod_is_evicted_on_another_thread(cluster: Cluster, evictor: Evictor, answers: Answers, web: Pod) -> None:
    threads: list[str] = []

    def done(pod: Pod, outcome: Outcome) -> None:
        threads.append(threading.current_thread().name)
        answers.take(pod, outcome)

    evictor.evict(web, 12, done, lambda: True)
    assert answers.next().verdict is Verdict.ACCEPTED
    assert threads[0].startswith("evict")
    assert (cluster.pod("shop", "web") or {})["metadata"]["deletionGracePeriodSeconds"] == 12


def test_a_task_that_ended_meanwhile_evicts_nothing_more(
    cluster: Cluster, evictor: Evictor, answers: Answers, web: Pod
) -> None:
    evictor.evict(web, 12, answers.take, lambda: False)
    evictor.rehearse(web, 12, answers.take, lambda: True)
    assert answers.next().verdict is Verdict.ACCEPTED
    assert answers.empty()
    assert "deletionTimestamp" not in (cluster.pod("shop", "web") or {})["metadata"]


def test_a_rehearsal_touches_nothing(cluster: Cluster, evictor: Evictor, answers: Answers, web: Pod) -> None:
    cluster.add_budget("shop", "guard", {"app": "web"}, min_available=1)
    evictor.rehearse(web, 12, answers.take, lambda: True)
    assert answers.next().verdict is Verdict.BLOCKED
    assert "deletionTimestamp" not in (cluster.pod("shop", "web") or {})["metadata"]


def test_18_a_pod_that_was_asked_before_is_read_first(
    cluster: Cluster, kube: Kube, evictor: Evictor, answers: Answers, web: Pod
) -> None:
    kube.call("DELETE", "/api/v1/namespaces/shop/pods/web")
    evictor.evict(web, 12, answers.take, lambda: True, again=True)
    assert answers.next() == Outcome(Verdict.ACCEPTED, 200, "terminates already")
    evictor.evict(pod("web", uid="the-one-before"), 12, answers.take, lambda: True, again=True)
    assert answers.next() == Outcome(Verdict.GONE, 409, "another pod has its name")
    evictor.evict(pod("never-there"), 12, answers.take, lambda: True, again=True)
    assert (answers.next().verdict, cluster.audit.select(subresource="eviction")) == (Verdict.GONE, [])


@pytest.mark.parametrize("again", [True, False])
def test_no_answer_is_an_answer_to_try_again(
    cluster: Cluster, evictor: Evictor, answers: Answers, web: Pod, again: bool
) -> None:
    cluster.stop()
    evictor.evict(web, 12, answers.take, lambda: True, again)
    outcome = answers.next()
    assert (outcome.verdict, outcome.code) == (Verdict.RETRY, 0)
    assert outcome.detail


def test_more_go_at_once_than_the_rate_can_use(cluster: Cluster, kube: Kube, answers: Answers) -> None:
    """At 100 ms an eviction, a hundred a second need ten at once."""
    assert PARALLEL > 10
    evictor = Evictor(kube, rate=1000, burst=1000)
    together = threading.Barrier(PARALLEL)

    def wanted() -> bool:
        together.wait(60)
        return False

    for number in range(PARALLEL):
        evictor.evict(pod(f"web-{number}"), 12, answers.take, wanted)
    evictor.close()
    evictor._threads.shutdown(wait=True)
    assert not together.broken


def test_a_closed_evictor_begins_nothing(cluster: Cluster, evictor: Evictor, answers: Answers, web: Pod) -> None:
    evictor.close()
    evictor.evict(web, 12, answers.take, lambda: True)
    evictor.delete(web, 12, answers.take, lambda: True)
    evictor._threads.shutdown(wait=True)
    assert answers.empty()
    assert "deletionTimestamp" not in (cluster.pod("shop", "web") or {})["metadata"]


def test_closing_wakes_up_what_waits_for_its_turn(cluster: Cluster, kube: Kube, answers: Answers, web: Pod) -> None:
    evictor = Evictor(kube, rate=0.001, burst=1)
    for _ in range(2):
        evictor.rehearse(web, 12, answers.take, lambda: True)
    assert answers.next().verdict is Verdict.ACCEPTED
    evictor.close()
    evictor._threads.shutdown(wait=True)
    assert answers.empty()
