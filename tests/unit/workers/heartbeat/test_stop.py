"""The end of an uplink: all that can be sent is sent, and what cannot is said."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest

from shared.basics.errors import TemporaryError
from shared.queue.messages import TOPICS
from tests.sim.central.server import Central
from tests.unit.conftest import eventually
from tests.unit.workers.event_watcher.conftest import occurrence
from tests.unit.workers.heartbeat.conftest import Uplink, result
from tests.unit.workers.metrics.conftest import empty_sample
from workers.heartbeat import goodbye
from workers.heartbeat.patience import PATIENT_TRIES


def fill(uplink: Uplink) -> None:
    uplink.queue.put("results", [(name, result(name)) for name in ("t1", "t2")])
    uplink.queue.put("events", [(name, occurrence(name).to_json()) for name in ("e1", "e2")])
    uplink.queue.put("metrics", [("s1", empty_sample().to_json())])


def left(uplink: Uplink) -> dict[str, int]:
    return {topic: fill.depth for topic, fill in uplink.queue.stats().items() if fill.depth}


def park(uplink: Uplink) -> None:
    """Let the results' call fail until they are parked, while heartbeats pass."""
    for _ in range(PATIENT_TRIES - 1):
        with pytest.raises(TemporaryError):
            uplink.worker.deliver()
    uplink.clock.advance(30)
    uplink.worker.beat()
    for _ in range(3):
        uplink.worker.deliver()


def test_what_was_parked_is_sent(central: Central, uplink: Uplink, caplog: pytest.LogCaptureFixture) -> None:
    """It had failed five times; Central is well again, and the pod stops half a minute later."""
    fault = central.fault("result", status=500)
    fill(uplink)
    park(uplink)
    assert left(uplink) == {"results": 2}
    fault.times = 0
    uplink.clock.advance(30)
    uplink.worker.close(pod_stopping=True)
    assert sorted(arrival.task_id for arrival in central.ledger.of("result")) == ["t1", "t2"]
    assert left(uplink) == {}
    assert "left undelivered" not in caplog.text


def test_what_another_process_of_this_worker_parked_is_sent_too(central: Central, uplink: Uplink) -> None:
    """It was restarted since: the hold is in the queue, and nobody remembers it."""
    fill(uplink)
    for message in uplink.queue.lease(["results"], 10, 60):
        uplink.queue.release([message.id], 300)
    uplink.worker.close(pod_stopping=True)
    assert left(uplink) == {}


@pytest.mark.parametrize("call", ["result", "events", "metrics"])
def test_what_fails_holds_up_nothing_and_is_said(
    central: Central, uplink: Uplink, caplog: pytest.LogCaptureFixture, call: str
) -> None:
    central.fault(call, status=500)
    fill(uplink)
    uplink.worker.register()
    uplink.worker.close(pod_stopping=True)
    stay = {"result": {"results": 2}, "events": {"events": 2}, "metrics": {"metrics": 1}}[call]
    assert left(uplink) == stay
    counts = ", ".join(f"{stay.get(topic, 0)} {topic}" for topic in TOPICS)
    assert f"messages are left undelivered: {counts}" in caplog.text
    assert uplink.calls()[-1] == "deregister"


def test_many_of_one_kind_that_fail_are_in_no_other_kinds_way(central: Central, uplink: Uplink) -> None:
    central.fault("result", status=500)
    uplink.queue.put("results", [(f"t{number}", result(f"t{number}")) for number in range(300)])
    uplink.queue.put("events", [("e1", occurrence("e1").to_json())])
    uplink.queue.put("metrics", [("s1", empty_sample().to_json())])
    uplink.worker.close(pod_stopping=True)
    assert left(uplink) == {"results": 300}


def test_a_central_that_returns_within_the_stop_time_gets_all(central: Central, uplink: Uplink) -> None:
    fill(uplink)
    tries: list[str] = []
    returns = uplink.clock.monotonic() + 8

    def away(call: str) -> Any:
        tries.append(call)
        return None if uplink.clock.monotonic() >= returns else away_fault

    away_fault = central.fault("*", status=503)
    central.faults.take = away  # type: ignore[method-assign]
    uplink.worker.close(pod_stopping=True)
    assert left(uplink) == {}
    assert len(tries) < 100, "and it is not stormed meanwhile"


def test_what_is_left_is_said_also_when_the_key_is_refused(uplink: Uplink, caplog: pytest.LogCaptureFixture) -> None:
    uplink.worker._fatal = True
    fill(uplink)
    uplink.worker.close(pod_stopping=True)
    assert uplink.calls() == []
    assert "messages are left undelivered: 2 results, 0 notices, 2 events, 1 metrics" in caplog.text


def test_a_queue_that_is_away_is_said_as_well(uplink: Uplink, caplog: pytest.LogCaptureFixture) -> None:
    uplink.queue.store.close()
    uplink.worker.close(pod_stopping=True)
    assert "what is left undelivered cannot be said" in caplog.text


@pytest.mark.parametrize("call", ["result", "heartbeat"])
def test_a_call_that_central_does_not_answer_is_cut_so_that_the_rest_goes(
    central: Central, uplink: Uplink, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    """A half-open connection: it would be waited for longer than supervisord waits."""
    monkeypatch.setattr(goodbye, "UNDER_WAY_SECONDS", 0.1)
    uplink.worker.register()
    fill(uplink)
    silent = central.fault(call, delay=30.0, cut=True, times=1)
    loop = uplink.worker.deliver if call == "result" else uplink.worker.beat

    def drive() -> None:
        try:
            loop()
        except TemporaryError:
            pass

    stuck = threading.Thread(target=drive, daemon=True)
    stuck.start()
    eventually(lambda: silent.times == 0)
    begun = time.monotonic()
    uplink.worker.close(pod_stopping=True)
    assert time.monotonic() - begun < 25, "not as long as the call would have taken"
    stuck.join(60)
    assert left(uplink) == {}
    assert uplink.calls()[-1] == "deregister"


def test_no_delivery_begins_when_the_time_is_over(
    central: Central, uplink: Uplink, caplog: pytest.LogCaptureFixture
) -> None:
    fill(uplink)
    uplink.worker.register()
    take = central.faults.take

    def slow(call: str) -> Any:
        uplink.clock.advance(7)
        return take(call)

    central.faults.take = slow  # type: ignore[method-assign]
    uplink.worker.close(pod_stopping=True)
    assert "messages are left undelivered" in caplog.text
    assert uplink.calls() == ["register", "result", "result", "deregister"]
