"""The heartbeat: registers, beats, delivers, decides about the key, says goodbye."""

from __future__ import annotations

import json
import threading
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from shared.basics.errors import EXIT_UNAUTHORIZED, AuthenticationError, PermanentError, TemporaryError
from shared.process.programs import SupervisorUnavailable
from shared.process.refusals import CONFIRM_SECONDS, Refusal, refusals
from shared.process.state import CLUSTER, HEALTH, REFUSED, REGISTRATION
from tests.sim.central.server import Central
from tests.unit.conftest import FakeClock, counted, process_of
from tests.unit.workers.conftest import FakeSupervisord
from tests.unit.workers.event_watcher.conftest import occurrence
from tests.unit.workers.heartbeat.conftest import FACTS, HEALTHY, Uplink, result
from workers.heartbeat.delivery import Delivery
from workers.heartbeat.patience import PATIENT_TRIES
from workers.heartbeat.worker import HeartbeatWorker

pytestmark = pytest.mark.filterwarnings("ignore:Exception ignored in.*socket:pytest.PytestUnraisableExceptionWarning")

# -- registration ---------------------------------------------------------------------------------


def test_it_registers_with_what_is_known_of_the_cluster(uplink: Uplink) -> None:
    uplink.worker.register()
    body = uplink.last("register")
    assert body.pop("task_types") == sorted(
        ["drain_node", "cordon_node", "uncordon_node", "label_node", "label_pod", "delete_pod", "reschedule_pod"]
    )
    assert body == {
        "cluster_id": "demo",
        "instance_id": "instance-1",
        "agent_version": "0.1.0",
        "timestamp": "2026-03-01T12:00:00.000Z",
        **FACTS,
    }
    assert uplink.registration() == {"instance_id": "instance-1", "tried": True, "ok": True, "why": ""}


def test_it_registers_once_also_across_its_own_restart(uplink: Uplink) -> None:
    for _ in range(3):
        uplink.worker.register()
    delivery = Delivery(uplink.queue, uplink.clients[1], "demo")
    again = HeartbeatWorker(uplink.process, uplink.clients[0], delivery, uplink.prices)
    again.register()
    assert uplink.calls() == ["register"]
    assert counted("registered") == 1


def test_a_registration_by_another_start_of_the_agent_does_not_count(uplink: Uplink) -> None:
    uplink.queue.set_state({REGISTRATION: {"instance_id": "instance-0", "tried": True, "ok": True}})
    uplink.worker.register()
    assert uplink.calls() == ["register"]


def test_after_the_broker_restarted_it_is_said_again_and_not_done_again(uplink: Uplink) -> None:
    uplink.worker.register()
    uplink.queue.set_state({REGISTRATION: None})
    uplink.worker.register()
    assert uplink.calls() == ["register"]
    assert uplink.registration()["ok"] is True


@pytest.mark.parametrize("fault", [{"status": 503}, {"status": 401}, {"status": 422}, {"cut": True}])
def test_a_registration_that_fails_was_tried_and_is_tried_again(
    central: Central, uplink: Uplink, fault: dict[str, Any]
) -> None:
    central.fault("register", **fault)
    with pytest.raises((TemporaryError, AuthenticationError, PermanentError)):
        uplink.worker.register()
    said = uplink.registration()
    assert said.pop("why")
    assert said == {"instance_id": "instance-1", "tried": True, "ok": False}
    central.faults.clear()
    uplink.worker.register()
    assert uplink.registration()["ok"] is True


@pytest.mark.parametrize("status", [404, 405, 501])
def test_a_central_without_registration_is_as_good(central: Central, uplink: Uplink, status: int) -> None:
    central.fault("register", status=status)
    uplink.worker.register()
    assert uplink.registration()["ok"] is True


def test_the_facts_are_awaited_for_a_moment_only(central: Central, run_dir: Path) -> None:
    class Hasty(FakeClock):
        """Each look at it costs a second."""

        def monotonic(self) -> float:
            self.advance(1)
            return super().monotonic()

    uplink = Uplink(central, run_dir, Hasty())
    uplink.queue.set_state({CLUSTER: None})
    with closing(uplink):
        uplink.worker.register()
    body = uplink.last("register")
    assert [body[key] for key in FACTS] == [None] * 4


def test_the_owners_allow_list_is_what_it_registers(central: Central, run_dir: Path, clock: FakeClock) -> None:
    uplink = Uplink(central, run_dir, clock)
    uplink.process.settings = process_of(
        run_dir, uplink.queue, env={"ALLOWED_TASK_TYPES": "cordon_node,drain_node"}
    ).settings
    with closing(uplink):
        uplink.worker.register()
    assert uplink.last("register")["task_types"] == ["cordon_node", "drain_node"]


# -- beats ----------------------------------------------------------------------------------------


def test_a_beat_says_how_the_agent_is(uplink: Uplink) -> None:
    uplink.queue.put("events", [("e1", b"1"), ("e2", b"1")])
    assert 27 <= uplink.worker.beat() <= 33
    assert uplink.last("heartbeat") == {
        "cluster_id": "demo",
        "instance_id": "instance-1",
        "agent_version": "0.1.0",
        "timestamp": "2026-03-01T12:00:00.000Z",
        "status": "healthy",
        "uptime_seconds": 61.5,
        "k8s_api_connected": True,
        "workers": {"metrics": "running"},
        "tasks_in_progress": 2,
        "queue_depth": {"results": 0, "notices": 0, "events": 2, "metrics": 0},
        "dropped": {"results": 0, "notices": 0, "events": 0, "metrics": 0},
        "dead_letters": {"results": 0, "notices": 0, "events": 0, "metrics": 0},
        "reasons": [],
    }


@pytest.mark.parametrize("health", [None, {**HEALTHY, "ready": False, "reasons": ["why"]}])
def test_an_agent_that_is_not_ready_is_degraded(uplink: Uplink, health: dict[str, Any] | None) -> None:
    uplink.queue.set_state({HEALTH: health})
    uplink.clock.advance(7)
    uplink.worker.beat()
    body = uplink.last("heartbeat")
    assert body["status"] == "degraded"
    assert body["reasons"] == ([] if health is None else ["why"])
    assert body["uptime_seconds"] == (7.0 if health is None else 61.5)


def test_a_beat_that_central_takes_is_a_connection_and_one_it_does_not_is_none(
    central: Central, uplink: Uplink
) -> None:
    uplink.worker.beat()
    assert counted("central_connected") == 1
    assert uplink.connection() == {"central": {"ok": True, "detail": ""}}
    central.fault("heartbeat", status=503)
    with pytest.raises(TemporaryError):
        uplink.worker.beat()
    assert counted("central_connected") == 0
    assert uplink.connection()["central"]["detail"].startswith("Central answered 503 to heartbeat")


@pytest.mark.parametrize(("call", "body"), [("heartbeat", "beat"), ("register", "register")])
@pytest.mark.parametrize("status", [400, 410, 422])
def test_a_central_that_answers_and_refuses_is_not_connected(
    central: Central, uplink: Uplink, call: str, body: str, status: int
) -> None:
    central.fault(call, status=status, body=b'{"error": "unknown cluster"}')
    with pytest.raises(PermanentError):
        getattr(uplink.worker, body)()
    said = uplink.connection()["central"]
    assert said["ok"] is False
    assert said["detail"] == f'Central answered {status} to {call}: {{"error": "unknown cluster"}}'
    assert counted("central_connected") == 0


def test_a_default_backend_that_has_no_registration_is_asked_again_later(central: Central, uplink: Uplink) -> None:
    """An ingress that is being rolled out: tasks may be claimed, but this start is to be made known all the same."""
    central.fault("register", status=404, body=b"default backend - 404", times=1)
    uplink.worker.register()
    assert uplink.registration()["ok"] is True
    uplink.clock.advance(299)
    uplink.worker.register()
    assert uplink.calls() == []
    uplink.clock.advance(1)
    for _ in range(2):
        uplink.worker.register()
    assert uplink.calls() == ["register"]


def test_a_beat_that_passes_clears_an_earlier_refusal(central: Central, uplink: Uplink) -> None:
    central.fault("heartbeat", status=401, times=1)
    with pytest.raises(AuthenticationError):
        uplink.worker.beat()
    assert refusals(uplink.queue)["heartbeat"].times == 1
    uplink.worker.beat()
    assert refusals(uplink.queue) == {}


# -- delivery -------------------------------------------------------------------------------------


def test_it_delivers_the_outbox(uplink: Uplink) -> None:
    uplink.queue.put("events", [("e1", occurrence("e1").to_json())])
    assert uplink.worker.deliver() == 0
    assert [event["event_id"] for event in uplink.last("events")["events"]] == ["e1"]
    assert uplink.connection()["central"]["ok"] is True


def test_a_key_refused_on_deliveries_alone_does_not_stop_the_pod(
    central: Central, uplink: Uplink, supervisord: FakeSupervisord
) -> None:
    """The key is taken with every heartbeat: it is that one call that does not work."""
    central.fault("events", status=401)
    uplink.queue.put("events", [("e1", occurrence("e1").to_json())])
    for _ in range(4):
        with pytest.raises(AuthenticationError):
            uplink.worker.deliver()
        uplink.clock.advance(20)
        uplink.worker.decide()
    assert refusals(uplink.queue) == {}
    assert supervisord.asked == []


@pytest.mark.parametrize("call", ["beat", "register"])
def test_a_key_refused_on_a_call_of_its_own_is_reported(central: Central, uplink: Uplink, call: str) -> None:
    central.fault("*", status=401)
    with pytest.raises(AuthenticationError):
        getattr(uplink.worker, call)()
    assert refusals(uplink.queue)["heartbeat"].reason.startswith("Central answered 401 to ")


def test_what_fails_while_heartbeats_fail_too_is_not_held_against_it(central: Central, uplink: Uplink) -> None:
    """When Central returns its heartbeat may be first; what is then still turned away is not set aside."""
    uplink.queue.put("events", [("e1", occurrence("e1").to_json())])
    central.fault("*", status=503)
    for _ in range(PATIENT_TRIES):
        with pytest.raises(TemporaryError):
            uplink.worker.deliver()
    with pytest.raises(TemporaryError):
        uplink.worker.beat()
    uplink.clock.advance(30)
    central.faults.clear()
    uplink.worker.beat()
    central.fault("events", status=503, times=1)
    with pytest.raises(TemporaryError):
        uplink.worker.deliver()
    uplink.worker.deliver()
    assert [event["event_id"] for event in uplink.last("events")["events"]] == ["e1"]


# -- the key --------------------------------------------------------------------------------------


def refuse(uplink: Uplink, times: int, seconds: float, worker: str = "task-runner") -> None:
    now = uplink.clock.monotonic()
    refusal = Refusal(times, now - seconds, now, "Central answered 401 to tasks", CONFIRM_SECONDS, key=0)
    uplink.queue.set_state({REFUSED + worker: asdict(refusal)})


def test_a_confirmed_refusal_stops_the_pod_with_a_reason(
    uplink: Uplink, supervisord: FakeSupervisord, caplog: pytest.LogCaptureFixture
) -> None:
    refuse(uplink, 3, 30)
    uplink.worker.decide()
    assert supervisord.asked == [("shutdown",)]
    agent = uplink.process.settings.agent
    fatal = json.loads(agent.fatal_file.read_text())
    assert fatal["status"] == EXIT_UNAUTHORIZED
    assert fatal["reason"] == agent.termination_log.read_text() == caplog.records[-1].getMessage()
    assert fatal["reason"] == (
        "Central refused the API key 3 times over 30 s (task-runner): Central answered 401 to tasks."
        " Put the right key into the Secret; the agent stops."
    )
    assert "demo-key" not in caplog.text


@pytest.mark.parametrize(("times", "seconds"), [(1, 0), (2, 60), (9, 20)])
def test_one_that_is_not_confirmed_does_not(
    uplink: Uplink, supervisord: FakeSupervisord, times: int, seconds: float
) -> None:
    refuse(uplink, times, seconds)
    uplink.worker.decide()
    assert supervisord.asked == []
    assert not uplink.process.settings.agent.fatal_file.exists()


def test_the_pod_is_stopped_once(uplink: Uplink, supervisord: FakeSupervisord) -> None:
    refuse(uplink, 3, 30)
    for _ in range(3):
        uplink.worker.decide()
    assert supervisord.asked == [("shutdown",)]


def test_a_supervisord_that_does_not_answer_is_asked_again(uplink: Uplink) -> None:
    refuse(uplink, 3, 30)
    for _ in range(2):
        with pytest.raises(SupervisorUnavailable):
            uplink.worker.decide()


def test_a_reason_that_cannot_be_written_does_not_keep_the_pod_running(
    uplink: Uplink, supervisord: FakeSupervisord
) -> None:
    uplink.process.settings.agent.termination_log.mkdir()
    refuse(uplink, 3, 30)
    uplink.worker.decide()
    assert supervisord.asked == [("shutdown",)]


# -- the end --------------------------------------------------------------------------------------


def test_when_the_pod_stops_everything_is_delivered_and_the_goodbye_is_the_last_call(uplink: Uplink) -> None:
    uplink.worker.register()
    uplink.queue.put("events", [("e1", occurrence("e1").to_json())])
    uplink.worker.close(pod_stopping=True)
    assert uplink.calls() == ["register", "events", "deregister"]
    assert uplink.last("deregister") == {
        "cluster_id": "demo",
        "instance_id": "instance-1",
        "timestamp": "2026-03-01T12:00:00.000Z",
        "reason": "shutdown",
    }


def test_a_topic_that_was_set_aside_gets_a_last_chance(central: Central, uplink: Uplink) -> None:
    fault = central.fault("result", status=500)
    for task_id in ("t1", "t2", "t3"):
        uplink.queue.put("results", [(task_id, result(task_id))])
    for _ in range(PATIENT_TRIES - 1):
        with pytest.raises(TemporaryError):
            uplink.worker.deliver()
    uplink.clock.advance(30)
    uplink.worker.beat()
    for _ in range(3):
        uplink.worker.deliver()
    fault.times = 0
    uplink.worker.deliver()
    assert "result" not in uplink.calls(), "it is set aside"
    uplink.worker.close(pod_stopping=True)
    assert sorted(arrival.task_id for arrival in central.ledger.of("result")) == ["t1", "t2", "t3"]


def test_nothing_follows_the_goodbye(uplink: Uplink) -> None:
    uplink.worker.register()
    uplink.worker.close(pod_stopping=True)
    uplink.worker.beat()
    uplink.queue.set_state({REGISTRATION: None})
    assert uplink.calls()[-1] == "deregister"


def test_a_loop_that_delivers_does_not_go_on_after_the_end(uplink: Uplink) -> None:
    uplink.worker.close(pod_stopping=True)
    delivering = threading.Thread(target=uplink.worker.deliver, daemon=True)
    delivering.start()
    uplink.queue.put("events", [("e1", occurrence("e1").to_json())])
    delivering.join(0.1)
    assert uplink.calls() == []


def test_restarting_this_worker_alone_delivers_and_deregisters_nothing(uplink: Uplink) -> None:
    uplink.worker.register()
    uplink.queue.put("events", [("e1", occurrence("e1").to_json())])
    uplink.worker.close(pod_stopping=False)
    assert uplink.calls() == ["register"]


def test_who_never_registered_says_no_goodbye(uplink: Uplink) -> None:
    uplink.worker.close(pod_stopping=True)
    assert uplink.calls() == []


def test_who_was_refused_says_no_goodbye(uplink: Uplink, supervisord: FakeSupervisord) -> None:
    uplink.worker.register()
    refuse(uplink, 3, 30)
    uplink.worker.decide()
    uplink.worker.close(pod_stopping=True)
    assert uplink.calls() == ["register"]


def test_a_goodbye_that_fails_is_no_drama(central: Central, uplink: Uplink, caplog: pytest.LogCaptureFixture) -> None:
    uplink.worker.register()
    central.stop()
    uplink.worker.close(pod_stopping=True)
    assert "deregistration failed" in caplog.text


def test_each_of_its_jobs_is_a_loop_of_its_own(uplink: Uplink) -> None:
    """So that a slow delivery delays no heartbeat."""
    assert [loop.name for loop in uplink.worker.loops()] == [
        "register",
        "beat",
        "deliver",
        "refusals",
        "prices",
    ]
