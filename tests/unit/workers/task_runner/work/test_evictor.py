"""The threads behind the evictions of all tasks."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator

import pytest

from shared.kube.connection import Kube
from shared.kube.evictions import Outcome, Verdict, evict
from shared.kube.pods import Pod, Pods
from tests.sim.kube.cluster import Cluster
from tests.unit.conftest import eventually
from tests.unit.workers.task_runner.conftest import pod
from workers.task_runner.work.evictor import PARALLEL, Evictor, Request


class Answers:
    """What was answered, for one pod after the other."""

    def __init__(self) -> None:
        self._found: queue.SimpleQueue[tuple[Pod, Outcome | None]] = queue.SimpleQueue()

    def take(self, pod: Pod, outcome: Outcome | None) -> None:
        self._found.put((pod, outcome))

    def next(self) -> Outcome | None:
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


Ask = Callable[..., Request]


@pytest.fixture
def ask(kube: Kube, answers: Answers) -> Ask:
    """Makes the request to evict a pod with 12 seconds of grace."""

    def request(one: Pod, dry_run: bool = False, **options: object) -> Request:
        sent: Callable[[Pod], Outcome] = lambda one: evict(kube, one, 12, dry_run)  # noqa: E731
        return Request(one, (5, 0.0), "task-1", sent, **{"done": answers.take, **options})  # type: ignore[arg-type]

    return request


def test_a_pod_is_evicted_on_another_thread(
    cluster: Cluster, evictor: Evictor, answers: Answers, ask: Ask, web: Pod
) -> None:
    threads: list[str] = []

    def done(pod: Pod, outcome: Outcome | None) -> None:
        threads.append(threading.current_thread().name)
        answers.take(pod, outcome)

    sent: list[int] = []
    evictor.ask(ask(web, done=done, sent=lambda: sent.append(1)))
    found = answers.next()
    assert found is not None
    assert found.verdict is Verdict.ACCEPTED
    assert (threads[0], sent) == ("evict", [1])
    assert (cluster.pod("shop", "web") or {})["metadata"]["deletionGracePeriodSeconds"] == 12


def test_a_task_that_ended_meanwhile_evicts_nothing_more(
    cluster: Cluster, evictor: Evictor, answers: Answers, ask: Ask, web: Pod
) -> None:
    evictor.ask(ask(web, wanted=lambda: False))
    assert answers.next() is None
    assert "deletionTimestamp" not in (cluster.pod("shop", "web") or {})["metadata"]


def test_a_rehearsal_touches_nothing(cluster: Cluster, evictor: Evictor, answers: Answers, ask: Ask, web: Pod) -> None:
    cluster.add_budget("shop", "guard", {"app": "web"}, min_available=1)
    evictor.ask(ask(web, dry_run=True))
    found = answers.next()
    assert found is not None
    assert found.verdict is Verdict.BLOCKED
    assert "deletionTimestamp" not in (cluster.pod("shop", "web") or {})["metadata"]


def test_18_a_pod_that_was_asked_before_is_read_first(
    cluster: Cluster, kube: Kube, evictor: Evictor, answers: Answers, ask: Ask, web: Pod
) -> None:
    kube.call("DELETE", "/api/v1/namespaces/shop/pods/web")
    evictor.ask(ask(web, again=True))
    assert answers.next() == Outcome(Verdict.TERMINATING, 200, "terminates already")
    evictor.ask(ask(pod("web", uid="the-one-before"), again=True))
    assert answers.next() == Outcome(Verdict.GONE, 409, "another pod has its name")
    evictor.ask(ask(pod("never-there"), again=True))
    found = answers.next()
    assert found is not None
    assert (found.verdict, cluster.audit.select(subresource="eviction")) == (Verdict.GONE, [])


@pytest.mark.parametrize("again", [True, False])
def test_no_answer_is_an_answer_to_try_again(
    cluster: Cluster, evictor: Evictor, answers: Answers, ask: Ask, web: Pod, again: bool
) -> None:
    cluster.stop()
    evictor.ask(ask(web, again=again))
    outcome = answers.next()
    assert outcome is not None
    assert (outcome.verdict, outcome.code) == (Verdict.RETRY, 0)
    assert outcome.detail


def test_more_go_at_once_than_the_rate_can_use(evictor: Evictor, answers: Answers, ask: Ask) -> None:
    """At 100 ms an eviction, a hundred a second need ten at once; two namespaces fill all places."""
    assert PARALLEL >= 20
    together = threading.Barrier(PARALLEL)

    def send(one: Pod) -> Outcome:
        together.wait(60)
        return Outcome(Verdict.ACCEPTED, 201, "evicted")

    for number in range(PARALLEL):
        request = ask(pod(f"web-{number}", namespace="shop" if number % 2 else "bar"))
        request.send = send
        evictor.ask(request)
    for _ in range(PARALLEL):
        assert answers.next() is not None


def test_24_one_namespaces_slow_webhook_holds_nobody_elses_evictions(
    evictor: Evictor, answers: Answers, ask: Ask
) -> None:
    release = threading.Event()

    def slow(one: Pod) -> Outcome:
        release.wait(60)
        return Outcome(Verdict.ACCEPTED, 201, "evicted")

    for number in range(100):
        request = ask(pod(f"slow-{number}", namespace="slow"), done=lambda one, outcome: None)
        request.send = slow
        evictor.ask(request)
    quick = ask(pod("quick", namespace="quick"))
    quick.send = lambda one: Outcome(Verdict.ACCEPTED, 201, "evicted")
    evictor.ask(quick)
    assert answers.next() is not None
    release.set()


def test_a_closed_evictor_begins_nothing(
    cluster: Cluster, evictor: Evictor, answers: Answers, ask: Ask, web: Pod
) -> None:
    evictor.close()
    evictor.ask(ask(web))
    assert answers.empty()
    assert not cluster.audit.select(subresource="eviction")


def test_closing_lets_nothing_go_that_waits_for_its_turn(kube: Kube, answers: Answers, ask: Ask, web: Pod) -> None:
    evictor = Evictor(kube, rate=0.001, burst=1)
    for _ in range(2):
        evictor.ask(ask(web, dry_run=True))
    assert answers.next() is not None
    evictor.close()
    eventually(lambda: not [thread for thread in threading.enumerate() if thread.name == "evict"])
    assert answers.empty()
