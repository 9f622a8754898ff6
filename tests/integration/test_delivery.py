"""The uplink as it ships: what waits in the queue, on its way to a Central that is picky, slow or forgetful."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

import pytest

from shared.central.client import GZIP_FROM
from shared.queue.client import QueueClient
from tests.sim.agent import ROOT, Agent
from tests.sim.central.faults import Fault
from tests.sim.central.ledger import Arrival
from tests.sim.central.server import Central
from tests.sim.kube.cluster import Cluster
from workers.commands.__main__ import main
from workers.heartbeat.delivery import BATCH_BYTES, BATCH_MESSAGES

QUIET = {"TASK_POLL_INTERVAL_SECONDS": "60", "METRICS_POLL_INTERVAL_SECONDS": "3600", "HEARTBEAT_INTERVAL_SECONDS": "1"}
"""So that nothing but what a test puts there is delivered."""

Json = dict[str, Any]


@dataclass
class Uplink:
    """The agent, its queue from the inside, and Central with a record of every attempt."""

    agent: Agent
    central: Central
    queue: QueueClient
    attempts: list[tuple[str, float]] = field(default_factory=list)

    def __post_init__(self) -> None:
        take = self.central.faults.take

        def noted(call: str) -> Fault | None:
            self.attempts.append((call, time.monotonic()))
            return take(call)

        self.central.faults.take = noted  # type: ignore[method-assign]

    def put_results(self, *task_ids: str, logs: str = "done") -> None:
        self.queue.put("results", [(task_id, json.dumps(result(task_id, logs)).encode()) for task_id in task_ids])

    def put_events(self, *names: str, message: str = "killed") -> None:
        self.queue.put("events", [(name, json.dumps(event(name, message)).encode()) for name in names])

    def put_sample(self, key: str) -> None:
        """As the agent's own, of which there was one at the start."""
        sample = self.central.ledger.wait(lambda: self.central.ledger.of("metrics"))[0].body
        self.queue.put("metrics", [(key, json.dumps(sample).encode())])

    def hold(self) -> None:
        """Stop the uplink, so that things gather."""
        self.agent.supervisorctl("stop", "heartbeat")

    def go(self) -> None:
        self.agent.supervisorctl("start", "heartbeat")

    def since(self, mark: int, *calls: str) -> list[Arrival]:
        return [arrival for arrival in self.central.ledger.arrivals[mark:] if arrival.call in calls]

    @property
    def mark(self) -> int:
        """For ``since``."""
        return len(self.central.ledger.arrivals)

    def names(self, mark: int) -> list[list[str]]:
        """Names of events in each post since ``mark``."""
        return [[event["name"] for event in post.body["events"]] for post in self.since(mark, "events")]

    def wait_empty(self) -> None:
        self.agent.wait(lambda: not any(fill.depth for fill in self.queue.stats().values()), 40)


def result(task_id: str, logs: str) -> Json:
    now = datetime.now(timezone.utc).isoformat()
    outcome = {"status": "success", "executed_at": now, "duration_seconds": 1.0, "error": None}
    return {"task_id": task_id, "logs": logs, **outcome}


def event(name: str, message: str) -> Json:
    now = datetime.now(timezone.utc).isoformat()
    what = {"event_type": "oom_killed", "severity": "critical", "reason": "OOMKilled", "message": message}
    whom = {"kind": "Pod", "namespace": "shop", "name": name, "uid": name, "node_name": None, "owner": None}
    return {"event_id": f"id-{name}", **what, **whom, "count": 1, "first_seen": now, "last_seen": now}


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Uplink]:
    with Cluster(nodes=1, rbac=[ROOT / "k8s" / "base" / "rbac.yaml"]) as cluster, Central() as central:
        kubeconfig = cluster.write_kubeconfig(tmp_path_factory.mktemp("delivery") / "kubeconfig")
        with Agent(central.url, kubeconfig, QUIET) as agent:
            agent.wait_ready()
            queue = QueueClient(agent.run_dir / "queue.sock")
            yield Uplink(agent, central, queue)
            queue.disconnect()


@pytest.fixture
def uplink(started: Uplink) -> Iterator[Uplink]:
    """With an empty queue and a Central without faults."""
    started.wait_empty()
    yield started
    started.central.faults.clear()
    started.central.gzip = False
    started.central.max_body = 1024 * 1024


# -- order and batches ------------------------------------------------------------------------------


def test_results_go_before_events_before_metrics(uplink: Uplink) -> None:
    uplink.hold()
    uplink.put_sample("s1")
    uplink.put_events("order-e1", "order-e2")
    uplink.put_results("order-1", "order-2")
    mark = uplink.mark
    uplink.go()
    uplink.wait_empty()
    calls = [arrival.call for arrival in uplink.since(mark, "result", "events", "metrics")]
    assert calls == ["result", "result", "events", "metrics"]


def test_batches_are_bounded_in_number_and_in_weight(uplink: Uplink) -> None:
    uplink.hold()
    light = [f"light-{number}" for number in range(2 * BATCH_MESSAGES + 1)]
    heavy = [f"heavy-{number}" for number in range(5)]
    uplink.put_events(*light)
    uplink.put_events(*heavy, message="x" * (BATCH_BYTES // 3))
    mark = uplink.mark
    uplink.go()
    uplink.wait_empty()
    batches = uplink.names(mark)
    assert [name for batch in batches for name in batch] == [*light, *heavy]
    assert max(len(batch) for batch in batches) == BATCH_MESSAGES
    assert max(int(post.headers["Content-Length"]) for post in uplink.since(mark, "events")) <= BATCH_BYTES + 1024


def test_the_first_event_goes_at_once_and_those_behind_it_together(uplink: Uplink) -> None:
    names = [f"stream-{number}" for number in range(100)]
    mark = uplink.mark
    uplink.put_events(names[0])
    uplink.agent.wait(lambda: uplink.names(mark))
    for name in names[1:]:
        uplink.put_events(name)
    uplink.wait_empty()
    batches = uplink.names(mark)
    assert batches[0] == names[:1]
    assert [name for batch in batches for name in batch] == names
    assert len(batches) < 20


# -- compression --------------------------------------------------------------------------------------


def test_bodies_are_packed_from_a_size_on_once_central_says_that_it_unpacks(uplink: Uplink) -> None:
    uplink.central.gzip = True
    mark = uplink.mark
    uplink.put_results("says-so")
    uplink.wait_empty()
    uplink.put_results("small")
    uplink.put_results("large", logs="word " * GZIP_FROM)
    uplink.wait_empty()
    packed = {a.task_id: a.headers.get("Content-Encoding") for a in uplink.since(mark, "result")}
    assert packed == {"says-so": None, "small": None, "large": "gzip"}
    (large,) = [arrival for arrival in uplink.since(mark, "result") if arrival.task_id == "large"]
    assert int(large.headers["Content-Length"]) < 1000
    assert large.body["logs"] == "word " * GZIP_FROM


def test_a_central_that_no_longer_unpacks_gets_it_plain_and_nothing_is_lost(uplink: Uplink) -> None:
    uplink.central.gzip = True
    uplink.put_results("unpacks")
    uplink.wait_empty()
    uplink.central.gzip = False
    uplink.central.fault("result", status=415, times=1)
    mark = uplink.mark
    uplink.put_results("plain-1", "plain-2", logs="word " * GZIP_FROM)
    uplink.wait_empty()
    arrived = [(arrival.task_id, arrival.headers.get("Content-Encoding")) for arrival in uplink.since(mark, "result")]
    assert arrived == [("plain-1", None), ("plain-2", None)]


# -- not now ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [404, 429, 503])
def test_retry_after_is_obeyed(uplink: Uplink, status: int) -> None:
    uplink.central.fault("result", status=status, headers={"Retry-After": "2"}, times=1)
    before = len(uplink.attempts)
    uplink.put_results(f"later-{status}")
    uplink.wait_empty()
    first, second = [at for call, at in uplink.attempts[before:] if call == "result"]
    assert second - first >= 2


def test_failures_are_followed_by_pauses_with_growing_bounds_and_jitter(uplink: Uplink) -> None:
    uplink.central.fault("events", status=500)
    uplink.put_events("backoff")
    pauses: list[tuple[int, float]] = []
    pattern = re.compile(r"deliver failed \((\d+) in a row\), next try in ([\d.]+) s: Central answered 500 to events")

    def failed_often() -> bool:
        said = [pattern.match(line["message"]) for line in uplink.agent.log("heartbeat")]
        pauses[:] = [(int(match[1]), float(match[2])) for match in said if match]
        return len(pauses) >= 4

    uplink.agent.wait(failed_often)
    assert [failures for failures, _ in pauses] == list(range(1, len(pauses) + 1))
    assert all(pause <= 0.5 * 2 ** (failures - 1) + 0.05 for failures, pause in pauses)
    assert len({pause for _, pause in pauses}) > 1
    uplink.central.faults.clear()
    uplink.wait_empty()


@pytest.mark.parametrize("fault", [{"status": 502, "after": True}, {"cut": True, "after": True}], ids=["502", "cut"])
def test_what_arrived_and_was_not_confirmed_comes_again_by_the_same_key(uplink: Uplink, fault: Json) -> None:
    name = "cut" if "cut" in fault else "bad"
    for call in ("result", "events", "metrics"):
        uplink.central.fault(call, **fault, times=2)
    mark = uplink.mark
    uplink.put_results(f"{name}-r")
    uplink.put_events(f"{name}-e1", f"{name}-e2")
    uplink.put_sample(f"{name}-s")
    uplink.wait_empty()
    for call in ("result", "events", "metrics"):
        posts = uplink.since(mark, call)
        assert len(posts) == 3
        assert len({post.headers["Idempotency-Key"] for post in posts}) == 1
        assert posts[0].body == posts[1].body == posts[2].body


def test_keys_of_different_deliveries_differ(uplink: Uplink) -> None:
    mark = uplink.mark
    uplink.put_results("key-1", "key-2")
    uplink.put_events("key-e1")
    uplink.wait_empty()
    uplink.put_events("key-e2")
    uplink.wait_empty()
    keys = [arrival.headers["Idempotency-Key"] for arrival in uplink.since(mark, "result", "events")]
    assert len(keys) == len(set(keys)) == 4


# -- never ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [400, 409, 422])
def test_what_is_refused_for_good_is_a_counted_dead_letter_and_blocks_nothing(uplink: Uplink, status: int) -> None:
    counter = 'cloudoptim_dead_letters_total{topic="results"}'
    before = uplink.agent.metric(counter)
    uplink.central.fault("result", status=status, body=b'"no such task"', times=1)
    mark = uplink.mark
    uplink.put_results(f"refused-{status}", f"behind-{status}")
    uplink.wait_empty()
    assert [arrival.task_id for arrival in uplink.since(mark, "result")] == [f"behind-{status}"]
    uplink.agent.wait(lambda: uplink.agent.metric(counter) == before + 1)
    (said,) = [line["message"] for line in uplink.agent.log("heartbeat") if f"refused-{status}" in line["message"]]
    assert f'Central answered {status} to result: "no such task"' in said


def test_a_dead_letter_can_be_looked_at_and_sent_again(
    uplink: Uplink, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    uplink.central.fault("result", status=409, body=b'{"error": "not now"}', times=1)
    mark = uplink.mark
    uplink.put_results("to-be-revived")
    uplink.wait_empty()
    for name, value in uplink.agent.env.items():
        monkeypatch.setenv(name, value)
    assert main(["dead-letters"]) == 0
    shown = capsys.readouterr().out
    assert "to-be-revived" in shown
    assert 'Central answered 409 to result: {"error": "not now"}' in shown
    uplink.agent.wait(lambda: uplink.since(uplink.mark - 1, "heartbeat"))
    assert uplink.since(mark, "result") == []
    assert main(["dead-letters", "--retry"]) == 0
    uplink.wait_empty()
    assert "to-be-revived" in [arrival.task_id for arrival in uplink.since(mark, "result")]
    uplink.agent.wait(lambda: uplink.central.ledger.of("heartbeat")[-1].body["dead_letters"]["results"] >= 1)


def test_a_batch_that_is_too_large_goes_in_parts_and_what_is_too_large_alone_is_buried(uplink: Uplink) -> None:
    uplink.hold()
    uplink.central.max_body = 4000
    names = [f"part-{number}" for number in range(30)]
    uplink.put_events(*names[:15])
    uplink.put_events("huge", message="x" * 5000)
    uplink.put_events(*names[15:])
    before = uplink.queue.stats()["events"].buried
    mark = uplink.mark
    uplink.go()
    uplink.wait_empty()
    batches = uplink.names(mark)
    assert [name for batch in batches for name in batch] == names
    assert len(batches) > 3
    assert uplink.queue.stats()["events"].buried == before + 1


def test_a_result_that_is_too_large_goes_with_the_beginning_and_the_end_of_its_logs(uplink: Uplink) -> None:
    uplink.central.max_body = 20_000
    mark = uplink.mark
    uplink.put_results("long", logs="begin " + "x" * 100_000 + " end")
    uplink.wait_empty()
    (arrival,) = uplink.since(mark, "result")
    logs = arrival.body["logs"]
    assert 10_000 < len(logs) < 20_000
    assert logs.startswith("begin ")
    assert logs.endswith(" end")
    assert arrival.body["status"] == "success"
