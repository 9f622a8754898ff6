"""The outbox against a Central that refuses, fails, is too small, or forgets to say that it heard."""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from shared.basics.api_key import ApiKey
from shared.basics.errors import AgentError, AuthenticationError, TemporaryError
from shared.basics.timing import Backoff
from shared.central.client import CentralClient
from shared.central.identity import Caller
from shared.central.verdicts import Unclear
from shared.process.lifecycle import FIRST_RETRY
from shared.queue.client import QueueClient, QueueUnavailable
from shared.queue.memory import MemoryQueue
from tests.sim.central.server import Central
from tests.unit.conftest import NOON, FakeClock, counted
from tests.unit.shared.queue.conftest import RunningBroker
from tests.unit.workers.event_watcher.conftest import occurrence
from tests.unit.workers.metrics.conftest import empty_sample
from workers.heartbeat.delivery import BATCH_BYTES, BATCH_MESSAGES, EVENTS_PAUSE, PASS_SECONDS, Delivery
from workers.heartbeat.patience import FIRST_ASIDE, LONGEST_ASIDE, PARKED_SECONDS, PATIENT_TRIES, REMEMBERED


class Outbox:
    """A queue, and the delivery that empties it towards ``central``."""

    def __init__(
        self, central: Central, clock: FakeClock, key: str = "demo-key", queue: QueueClient | None = None
    ) -> None:
        self.central = central
        self.queue = queue or MemoryQueue(clock=clock)
        self.client = CentralClient(central.url, "demo", Caller(ApiKey(key), "instance-1"))
        self.delivery = Delivery(self.queue, self.client, "demo", clock)

    def put_result(self, task_id: str, logs: str = "done") -> None:
        result = {
            "task_id": task_id,
            "status": "success",
            "logs": logs,
            "executed_at": NOON.isoformat(),
            "duration_seconds": 1.0,
            "error": None,
        }
        self.queue.put("results", [(task_id, json.dumps(result).encode())])

    def put_events(self, *event_ids: str, message: str = "killed") -> None:
        self.queue.put("events", [(name, occurrence(name, message=message).to_json()) for name in event_ids])

    def put_sample(self, key: str) -> None:
        self.queue.put("metrics", [(key, empty_sample().to_json())])

    def deliver(self) -> bool:
        return self.delivery.deliver_next(wait=0)

    def deliver_all(self) -> None:
        while self.deliver():
            pass

    def depth(self) -> dict[str, int]:
        return {topic: fill.depth for topic, fill in self.queue.stats().items() if fill.depth}

    def buried(self) -> int:
        return sum(fill.buried for fill in self.queue.stats().values())

    def arrived(self, call: str) -> list[Any]:
        return [arrival.body for arrival in self.central.ledger.of(call)]

    def event_batches(self) -> list[list[str]]:
        return [[event["event_id"] for event in batch["events"]] for batch in self.arrived("events")]


@pytest.fixture
def outbox(central: Central, clock: FakeClock) -> Iterator[Outbox]:
    outbox = Outbox(central, clock)
    with closing(outbox.client):
        yield outbox


# -- in good order --------------------------------------------------------------------------------


def test_an_empty_outbox_is_nothing_to_do(outbox: Outbox) -> None:
    assert outbox.deliver() is False


def test_results_go_before_events_before_metrics_and_all_of_it_is_acknowledged(
    central: Central, outbox: Outbox
) -> None:
    outbox.put_sample("s1")
    outbox.put_events("e1")
    outbox.put_result("t1")
    assert [outbox.deliver() for _ in range(4)] == [True, True, True, False]
    assert [arrival.call for arrival in central.ledger.arrivals] == ["result", "events", "metrics"]
    assert outbox.depth() == {}
    assert central.refused == []


def test_results_and_samples_go_one_by_one_events_together(outbox: Outbox) -> None:
    for number in range(3):
        outbox.put_result(f"t{number}")
        outbox.put_sample(f"s{number}")
    outbox.put_events("e1", "e2", "e3")
    outbox.deliver_all()
    assert [body["task_id"] for body in outbox.arrived("result")] == ["t0", "t1", "t2"]
    assert len(outbox.arrived("metrics")) == 3
    assert outbox.event_batches() == [["e1", "e2", "e3"]]
    assert outbox.arrived("events")[0]["cluster_id"] == "demo"


def test_no_batch_is_longer_or_heavier_than_allowed(outbox: Outbox) -> None:
    light, heavy = [f"l{n}" for n in range(BATCH_MESSAGES + 1)], [f"h{n}" for n in range(5)]
    outbox.put_events(*light)
    outbox.deliver_all()
    assert [len(batch) for batch in outbox.event_batches()] == [BATCH_MESSAGES, 1]
    outbox.put_events(*heavy, message="x" * (BATCH_BYTES // 3))
    outbox.deliver_all()
    assert [len(batch) for batch in outbox.event_batches()][2:] == [2, 2, 1]


def test_the_first_events_go_at_once_and_those_that_follow_gather(outbox: Outbox, clock: FakeClock) -> None:
    """A post for each event of a storm would be a storm of posts."""
    outbox.put_events("e1")
    assert outbox.delivery.deliver_next(wait=0.01)
    for name in ("e2", "e3"):
        outbox.put_events(name)
        assert not outbox.delivery.deliver_next(wait=0.01)
    clock.advance(EVENTS_PAUSE)
    assert outbox.delivery.deliver_next(wait=0.01)
    assert outbox.event_batches() == [["e1"], ["e2", "e3"]]


def test_while_events_gather_results_and_metrics_go(outbox: Outbox, clock: FakeClock) -> None:
    outbox.put_events("e1")
    outbox.delivery.deliver_next(wait=0.01)
    outbox.put_sample("s1")
    outbox.put_events("e2")
    outbox.put_result("t1")
    while outbox.delivery.deliver_next(wait=0.01):
        pass
    clock.advance(EVENTS_PAUSE)
    while outbox.delivery.deliver_next(wait=0.01) or outbox.depth():
        clock.advance(EVENTS_PAUSE)
    assert [arrival.call for arrival in outbox.central.ledger.arrivals] == ["events", "result", "metrics", "events"]


def test_what_is_a_full_batch_need_not_gather(outbox: Outbox) -> None:
    outbox.put_events(*(f"e{number}" for number in range(2 * BATCH_MESSAGES)))
    assert [outbox.delivery.deliver_next(wait=0.01) for _ in range(2)] == [True, True]


def test_at_the_end_nothing_gathers(outbox: Outbox) -> None:
    for name in ("e1", "e2"):
        outbox.put_events(name)
        assert outbox.delivery.deliver_next(wait=0)


def test_a_delivery_has_a_key_that_is_the_same_for_the_same_messages(central: Central, outbox: Outbox) -> None:
    for call in ("result", "events", "metrics"):
        central.fault(call, status=503, after=True, times=1)
    outbox.put_result("t1")
    outbox.put_events("e1", "e2")
    outbox.put_sample("s1")
    for _ in range(3):
        fail(outbox, 1)
        outbox.deliver()
    keys: dict[str, list[str]] = {}
    for arrival in central.ledger.arrivals:
        keys.setdefault(arrival.call, []).append(arrival.headers["Idempotency-Key"])
    assert keys["result"] == ["t1", "t1"]
    assert keys["metrics"] == ["s1", "s1"]
    assert len(set(keys["events"])) == 1
    assert len(keys["events"]) == 2


def test_a_batch_that_may_have_arrived_is_sent_again_as_it_was(central: Central, outbox: Outbox) -> None:
    """What was put meanwhile would make it another batch with another key, and the first one news."""
    central.fault("events", status=502, after=True, times=1)
    outbox.put_events("e1", "e2")
    fail(outbox, 1)
    outbox.put_events("e3")
    outbox.deliver_all()
    assert outbox.event_batches() == [["e1", "e2"], ["e1", "e2"], ["e3"]]
    keys = [arrival.headers["Idempotency-Key"] for arrival in central.ledger.of("events")]
    assert keys[0] == keys[1] != keys[2]


def test_deliveries_are_counted(outbox: Outbox) -> None:
    before = counted("deliveries_total", topic="events", result="delivered")
    outbox.put_events("e1", "e2")
    outbox.deliver()
    assert counted("deliveries_total", topic="events", result="delivered") == before + 2


# -- refused for good -----------------------------------------------------------------------------


@pytest.mark.parametrize("status", [400, 409, 410, 422])
def test_what_central_refuses_for_good_is_buried_and_blocks_nothing(
    central: Central, outbox: Outbox, status: int
) -> None:
    before = counted("dead_letters_total", topic="results")
    central.fault("result", status=status, body=b'"no"', times=1)
    outbox.put_result("bad")
    outbox.put_result("good")
    outbox.deliver_all()
    assert [body["task_id"] for body in outbox.arrived("result")] == ["good"]
    assert (outbox.depth(), outbox.buried()) == ({}, 1)
    assert counted("dead_letters_total", topic="results") == before + 1


PAGE: dict[str, Any] = {"body": b"<!doctype html><title>No</title>", "headers": {"Content-Type": "text/html"}}


@pytest.mark.parametrize("status", [400, 409, 410, 413, 422])
def test_what_something_before_central_refuses_is_not_lost(
    central: Central, outbox: Outbox, clock: FakeClock, status: int
) -> None:
    """A CDN that answers each delivery so for a minute, and each heartbeat too."""
    outbox.put_result("t1")
    outbox.put_events("e1", "e2")
    outbox.put_sample("s1")
    central.fault("*", status=status, **PAGE)
    for _ in range(10):
        fail(outbox, 1)
        outbox.delivery.patience.central_failed()
        clock.advance(6)
    central.faults.clear()
    outbox.deliver_all()
    assert (outbox.depth(), outbox.buried()) == ({}, 0)
    assert [len(outbox.arrived(call)) for call in ("result", "events", "metrics")] == [1, 1, 1]


def test_what_a_firewall_dislikes_holds_up_no_other_and_is_given_up_after_an_hour(
    central: Central, outbox: Outbox, clock: FakeClock
) -> None:
    """Of a batch it dislikes one event; which one, only halves can tell."""
    send = outbox.client.send_events

    def picky(batch: bytes, key: str) -> None:
        if b"DROP TABLE" in batch:
            raise Unclear("something before Central answered 400 to events: <html>")
        send(batch, key)

    outbox.client.send_events = picky  # type: ignore[method-assign]
    outbox.put_events("e1", "e2")
    outbox.put_events("poison", message="DROP TABLE pods")
    outbox.put_events("e3")
    hours = Hours(outbox, clock)
    hours.pass_until(120)
    assert sorted(name for batch in outbox.event_batches() for name in batch) == ["e1", "e2", "e3"]
    assert (outbox.depth(), outbox.buried()) == ({"events": 1}, 0)
    for minute in range(3, 75):
        outbox.put_events(f"later-{minute}")
        hours.pass_until(60 * minute)
    assert (outbox.depth(), outbox.buried()) == ({}, 1)


def test_what_never_went_is_not_given_up_for_a_page(central: Central, outbox: Outbox, clock: FakeClock) -> None:
    """Heartbeats pass, and no result ever: it may be all results that something dislikes, by their path."""
    outbox.put_result("t1")
    central.fault("result", status=400, **PAGE)
    Hours(outbox, clock).pass_until(3 * 3600)
    assert (outbox.depth(), outbox.buried()) == ({"results": 1}, 0)


def test_one_event_that_is_refused_does_not_take_its_batch_along(central: Central, outbox: Outbox) -> None:
    names = [f"e{number}" for number in range(100)]
    outbox.put_events(*names[:60])
    bad = json.dumps({**json.loads(occurrence("bad").to_json()), "count": "many"}).encode()
    outbox.queue.put("events", [("bad", bad)])
    outbox.put_events(*names[60:])
    outbox.deliver_all()
    assert [name for batch in outbox.event_batches() for name in batch] == names
    assert (outbox.depth(), outbox.buried()) == ({}, 1)
    assert len(central.refused) <= 8, "and it is found by halving"


# -- slow -----------------------------------------------------------------------------------------


def test_a_slow_central_ends_a_pass_before_its_loop_seems_to_hang(outbox: Outbox, clock: FakeClock) -> None:
    """And before the lease ends; what was not begun goes with the next pass, in its order."""
    note = outbox.central.ledger.note

    def slow(arrival: Any) -> None:
        note(arrival)
        clock.advance(2)

    outbox.central.ledger.note = slow  # type: ignore[method-assign]
    for number in range(BATCH_MESSAGES):
        outbox.put_sample(f"s{number}")
    begun = clock.monotonic()
    assert outbox.deliver() is True
    assert clock.monotonic() - begun <= PASS_SECONDS + 2
    outbox.deliver_all()
    keys = [arrival.headers["Idempotency-Key"] for arrival in outbox.central.ledger.of("metrics")]
    assert keys == [f"s{number}" for number in range(BATCH_MESSAGES)]


def test_halves_count_as_well(central: Central, outbox: Outbox, clock: FakeClock) -> None:
    """A Central that refuses each of a batch's events slowly gets twice as many posts as there are events."""
    take = central.faults.take

    def slow(call: str) -> Any:
        clock.advance(2)
        return take(call)

    central.faults.take = slow  # type: ignore[method-assign]
    central.fault("events", status=422)
    outbox.put_events(*(f"e{number}" for number in range(50)))
    begun = clock.monotonic()
    assert outbox.deliver() is True
    assert clock.monotonic() - begun <= PASS_SECONDS + 2
    outbox.deliver_all()
    assert (outbox.depth(), outbox.buried()) == ({}, 50)


# -- too large ------------------------------------------------------------------------------------


def test_a_batch_that_is_too_large_goes_in_halves(central: Central, outbox: Outbox) -> None:
    central.max_body = 1500
    names = [f"e{number}" for number in range(8)]
    outbox.put_events(*names)
    outbox.deliver_all()
    assert [name for batch in outbox.event_batches() for name in batch] == names
    assert len(outbox.event_batches()) > 1
    assert (outbox.depth(), outbox.buried()) == ({}, 0)


def test_an_event_that_is_too_large_by_itself_is_buried_and_the_others_go(central: Central, outbox: Outbox) -> None:
    central.max_body = 1500
    outbox.put_events("e1")
    outbox.put_events("huge", message="x" * 2000)
    outbox.put_events("e2")
    outbox.deliver_all()
    assert [name for batch in outbox.event_batches() for name in batch] == ["e1", "e2"]
    assert (outbox.depth(), outbox.buried()) == ({}, 1)


@pytest.mark.parametrize(
    ("max_body", "longest"),
    [(100_000, 60_000), (30_000, 16_384), (2_000, 1_024)],
)
def test_a_result_that_is_too_large_goes_with_less_of_its_logs(
    central: Central, outbox: Outbox, max_body: int, longest: int
) -> None:
    central.max_body = max_body
    outbox.put_result("t1", logs="begin " + "x" * 60_000 + " end")
    outbox.deliver_all()
    (body,) = outbox.arrived("result")
    assert longest * 0.9 < len(body["logs"]) < longest * 1.1
    assert body["logs"].startswith("begin ")
    assert body["logs"].endswith(" end")
    assert body["status"] == "success"
    assert outbox.depth() == {}


def test_a_result_that_is_too_large_without_its_logs_is_a_dead_letter(central: Central, outbox: Outbox) -> None:
    central.max_body = 100
    outbox.put_result("t1")
    outbox.deliver_all()
    assert (outbox.depth(), outbox.buried()) == ({}, 1)


# -- later ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fault", [*({"status": status} for status in (500, 503, 429, 403, 404, 405, 411, 415)), {"cut": True}]
)
def test_what_central_does_not_take_now_stays(central: Central, outbox: Outbox, fault: dict[str, Any]) -> None:
    central.fault("result", **fault)
    outbox.put_result("t1")
    outbox.put_result("t2")
    with pytest.raises(TemporaryError):
        outbox.deliver()
    assert outbox.depth() == {"results": 2}
    central.faults.clear()
    outbox.deliver_all()
    assert [body["task_id"] for body in outbox.arrived("result")] == ["t1", "t2"]


def test_a_key_that_is_refused_keeps_everything(central: Central, clock: FakeClock) -> None:
    outbox = Outbox(central, clock, key="wrong")
    outbox.put_result("t1")
    with closing(outbox.client), pytest.raises(AuthenticationError):
        outbox.deliver()
    assert outbox.depth() == {"results": 1}
    assert len(outbox.queue.lease(["results"], 1, 60)) == 1, "and nothing is held by a lease"


def test_what_was_delivered_before_the_failure_is_not_delivered_again(central: Central, outbox: Outbox) -> None:
    outbox.put_result("t1")
    outbox.put_result("t2")
    outbox.deliver()
    outbox.put_result("t3")
    central.fault("result", status=500, times=1)
    with pytest.raises(TemporaryError):
        outbox.deliver()
    outbox.deliver_all()
    assert [body["task_id"] for body in outbox.arrived("result")] == ["t1", "t2", "t3"]


def test_what_arrived_and_was_not_confirmed_is_sent_again(central: Central, outbox: Outbox) -> None:
    central.fault("events", status=502, after=True, times=1)
    outbox.put_events("e1")
    with pytest.raises(TemporaryError):
        outbox.deliver()
    outbox.deliver_all()
    assert outbox.event_batches() == [["e1"], ["e1"]]


def test_what_central_took_while_the_queue_was_away_is_not_sent_again(
    central: Central, clock: FakeClock, run_dir: Path
) -> None:
    """The broker is killed behind a delivery; the next one hands the message out again."""
    running = RunningBroker(run_dir)
    client = QueueClient(running.path)
    outbox = Outbox(central, clock, queue=client)
    outbox.put_events("e1")
    note = central.ledger.note

    def taken(arrival: Any) -> None:
        note(arrival)
        running.stop()

    central.ledger.note = taken  # type: ignore[method-assign]
    with pytest.raises(QueueUnavailable):
        outbox.deliver()
    central.ledger.note = note  # type: ignore[method-assign]
    running.start()
    outbox.put_events("e2")
    outbox.put_result("t1")
    outbox.deliver_all()
    assert outbox.event_batches() == [["e1"], ["e2"]]
    assert outbox.depth() == {}
    outbox.client.close()
    client.disconnect()
    running.stop()


def test_half_a_batch_that_went_is_not_sent_again_with_the_other_half(central: Central, outbox: Outbox) -> None:
    central.fault("events", status=413, times=1)
    fault = central.fault("events", status=200, times=0)
    outbox.put_events("e1", "e2")
    original = central.ledger.note

    def fail_after_the_first(arrival: Any) -> None:
        original(arrival)
        fault.status, fault.times = 500, 1

    central.ledger.note = fail_after_the_first  # type: ignore[method-assign]
    with pytest.raises(TemporaryError):
        outbox.deliver()
    central.ledger.note = original  # type: ignore[method-assign]
    outbox.deliver_all()
    assert outbox.event_batches() == [["e1"], ["e2"]]


# -- one that fails where others pass -------------------------------------------------------------


def fail(outbox: Outbox, times: int) -> None:
    for _ in range(times):
        with pytest.raises(TemporaryError):
            outbox.deliver()


def test_one_message_that_keeps_failing_is_set_aside_so_that_others_go(
    central: Central, outbox: Outbox, clock: FakeClock
) -> None:
    outbox.put_result("poison")
    central.fault("result", status=500)
    fail(outbox, PATIENT_TRIES - 1)
    outbox.put_events("e1")
    clock.advance(1)
    outbox.delivery.patience.central_answered()
    assert outbox.deliver() is True, "parked, so no error"
    outbox.deliver_all()
    assert outbox.event_batches() == [["e1"]]
    assert outbox.depth() == {"results": 1}
    central.faults.clear()
    clock.advance(PARKED_SECONDS - 1)
    assert outbox.deliver() is False
    clock.advance(1)
    outbox.deliver_all()
    assert [body["task_id"] for body in outbox.arrived("result")] == ["poison"]


class Hours:
    """The delivery's loop, with its pauses, beside heartbeats that pass; all by the clock."""

    def __init__(self, outbox: Outbox, clock: FakeClock) -> None:
        self._outbox, self._clock = outbox, clock
        self._pauses = Backoff(FIRST_RETRY, 30.0, random.Random(1))
        self._begun = clock.monotonic()
        self._next_beat = self._begun

    @property
    def now(self) -> float:
        """Seconds since the beginning."""
        return self._clock.monotonic() - self._begun

    def pass_until(self, end: float) -> None:
        while self.now < end:
            if self._clock.monotonic() >= self._next_beat:
                self._outbox.delivery.patience.central_answered()
                self._next_beat += 30
            try:
                self._clock.advance(0 if self._outbox.deliver() else 1)
                self._pauses.reset()
            except AgentError:
                self._clock.advance(self._pauses.pause())


@pytest.mark.parametrize("status", [500, 404, 401])
def test_a_call_that_fails_for_hours_holds_up_no_other(
    central: Central, outbox: Outbox, clock: FakeClock, status: int
) -> None:
    results = [f"t{number}" for number in range(50)]
    outbox.put_result(results[0])
    for name in results[1:]:
        outbox.put_result(name)
    outbox.put_events("e1")
    outbox.put_sample("s1")
    central.fault("result", status=status)
    hours = Hours(outbox, clock)
    hours.pass_until(60)
    assert outbox.depth() == {"results": 50}, "events and samples went within a minute"
    for minute in range(2, 62):
        outbox.put_events(f"later-{minute}")
        hours.pass_until(60 * minute)
        assert outbox.depth() == {"results": 50}
    central.faults.clear()
    hours.pass_until(hours.now + PARKED_SECONDS + LONGEST_ASIDE)
    assert sorted(body["task_id"] for body in outbox.arrived("result")) == sorted(results), "each once"
    assert (outbox.depth(), outbox.buried()) == ({}, 0)


def test_the_first_of_a_kind_that_goes_frees_what_was_parked(
    central: Central, outbox: Outbox, clock: FakeClock
) -> None:
    fault = central.fault("result", status=500)
    for number in range(4):
        outbox.put_result(f"t{number}")
    hours = Hours(outbox, clock)
    hours.pass_until(150)
    assert outbox.depth() == {"results": 4}
    fault.times = 0
    outbox.put_result("t4")
    hours.pass_until(hours.now + LONGEST_ASIDE + 5)
    assert outbox.depth() == {}, "long before each has been parked for its time"


def test_one_that_fails_although_others_go_is_freed_once_and_no_more(
    central: Central, outbox: Outbox, clock: FakeClock
) -> None:
    send, tries = outbox.client.send_result, []

    def picky(task_id: str, result: bytes, key: str) -> None:
        if task_id == "poison":
            tries.append(clock.monotonic())
            raise TemporaryError("Central answered 500 to result")
        send(task_id, result, key)

    outbox.client.send_result = picky  # type: ignore[method-assign]
    outbox.put_result("poison")
    hours = Hours(outbox, clock)
    hours.pass_until(60)
    before = len(tries)
    for number in range(100):
        outbox.put_result(f"t{number}")
        hours.pass_until(hours.now + 2)
    assert outbox.depth() == {"results": 1}
    assert len(tries) - before <= 1 + 200 / PARKED_SECONDS


def test_while_a_topic_is_set_aside_it_is_tried_with_growing_pauses(
    central: Central, outbox: Outbox, clock: FakeClock
) -> None:
    take, hours, tries = central.faults.take, Hours(outbox, clock), []

    def noted(call: str) -> Any:
        tries.append(hours.now)
        return take(call)

    central.faults.take = noted  # type: ignore[method-assign]
    central.fault("result", status=500)
    for number in range(100):
        outbox.put_result(f"t{number}")
    hours.pass_until(600)
    pauses = [later - earlier for earlier, later in itertools.pairwise(tries)]
    # First come those of the loop, until a heartbeat has passed; then one message after the other is tried.
    growing = next(number for number, pause in enumerate(pauses) if pause >= LONGEST_ASIDE) - 3
    aside = [FIRST_ASIDE, 2 * FIRST_ASIDE, 4 * FIRST_ASIDE, *([LONGEST_ASIDE] * (len(pauses) - growing - 3))]
    assert len(aside) > 6
    assert all(least <= pause <= least + 1 for least, pause in zip(aside, pauses[growing:], strict=True))


def test_with_every_topic_set_aside_it_waits(central: Central, outbox: Outbox, clock: FakeClock) -> None:
    central.fault("*", status=500)
    hours = Hours(outbox, clock)
    for number in range(20):
        outbox.put_result(f"t{number}")
        outbox.put_sample(f"s{number}")
        outbox.put_events(f"e{number}")
    hours.pass_until(1800)
    central.faults.clear()
    hours.pass_until(hours.now + PARKED_SECONDS + LONGEST_ASIDE)
    assert outbox.depth() == {}


def test_two_messages_that_fail_do_not_hold_up_their_own_kind_for_long(
    central: Central, outbox: Outbox, clock: FakeClock
) -> None:
    take = outbox.client.send_result

    def picky(task_id: str, result: bytes, key: str) -> None:
        if task_id.startswith("poison"):
            raise TemporaryError("Central answered 500 to result")
        take(task_id, result, key)

    outbox.client.send_result = picky  # type: ignore[method-assign]
    for name in ("poison-1", "poison-2", "poison-3", "good"):
        outbox.put_result(name)
    Hours(outbox, clock).pass_until(120)
    assert [body["task_id"] for body in outbox.arrived("result")] == ["good"]


def test_a_message_that_cannot_even_be_sent_is_set_aside_too(
    central: Central, outbox: Outbox, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    """No worker puts such a result; if a bug makes one, the others must not wait for it."""
    central.fault("result", status=413, times=1)
    outbox.queue.put("results", [("odd", b'["no", "result"]')])
    fail(outbox, 1)
    assert "cannot send odd" in caplog.text


def test_while_central_is_down_nothing_is_set_aside(central: Central, outbox: Outbox) -> None:
    outbox.put_result("t1")
    central.fault("*", status=503)
    fail(outbox, PATIENT_TRIES + 3)
    central.faults.clear()
    outbox.deliver_all()
    assert outbox.depth() == {}


def test_a_success_wipes_the_slate(central: Central, outbox: Outbox) -> None:
    outbox.put_result("t1")
    fault = central.fault("result", status=500)
    fail(outbox, PATIENT_TRIES - 1)
    fault.times = 0
    outbox.deliver()
    outbox.put_result("t1")
    fault.times = None
    fail(outbox, PATIENT_TRIES - 1)


def test_what_is_remembered_of_failures_is_bounded(central: Central, outbox: Outbox) -> None:
    """What the queue dropped meanwhile is never delivered nor buried."""
    central.fault("result", status=500)
    for number in range(REMEMBERED + 5):
        outbox.put_result(f"t{number}")
        (message,) = outbox.queue.lease(["results"], 1, 60)
        with pytest.raises(TemporaryError):
            outbox.delivery._deliver([message])
        outbox.queue.ack([message.id])
    assert len(outbox.delivery.patience._failures) == REMEMBERED


def test_what_is_gone_is_forgotten(central: Central, outbox: Outbox) -> None:
    outbox.put_result("t1")
    central.fault("result", status=500, times=1)
    fail(outbox, 1)
    central.fault("result", status=400, times=1)
    outbox.deliver()
    assert outbox.delivery.patience._failures == {}
