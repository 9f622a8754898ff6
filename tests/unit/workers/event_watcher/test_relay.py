"""One watch: from its checkpoint on, nothing lost and nothing twice across restarts."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from shared.basics.timing import SYSTEM_CLOCK, iso
from shared.kube.connection import Kube
from shared.kube.errors import KubeUnavailable
from shared.kube.nodes import PATH as NODES
from shared.kube.reads import Change, Resource
from shared.queue.broker import Broker
from shared.queue.client import PATIENCE, Queue, QueueClient, QueueRefused, value
from shared.queue.limits import Limits
from shared.queue.memory import MemoryQueue
from shared.queue.messages import Put, Reply, Request
from shared.queue.store import Store
from shared.schemas.events import ClusterEvent
from tests.sim.kube.cluster import Cluster
from tests.unit.conftest import NOON, FakeClock, OddServer, counted, eventually, http, kube_of
from tests.unit.workers.conftest import Looping
from tests.unit.workers.event_watcher.conftest import sight
from workers.event_watcher import relay
from workers.event_watcher.aggregate import REMEMBERED, STORM_BURST
from workers.event_watcher.objects import Event, Node, Pod
from workers.event_watcher.outages import Outages
from workers.event_watcher.pending import Pending
from workers.event_watcher.relay import SLICE, Relay
from workers.event_watcher.sights.events import from_event
from workers.event_watcher.sights.pods import from_pod
from workers.event_watcher.sights.sight import Sight


def pods_watch(kube: Kube, queue: Queue, **options: Any) -> Relay[Pod]:
    resource = Resource(kube, "/api/v1/pods", Pod)
    return Relay("pods", resource, lambda pod: from_pod(pod, SYSTEM_CLOCK.now()), queue, SYSTEM_CLOCK, **options)


def nodes_watch(kube: Kube, queue: Queue) -> Relay[Node]:
    outages = Outages()

    def select(node: Node) -> Iterable[Sight]:
        seen = outages.saw(node, SYSTEM_CLOCK.now())
        return [seen] if seen else []

    resource = Resource(kube, NODES, Node)
    return Relay("nodes", resource, select, queue, SYSTEM_CLOCK, gone=outages.gone, list_at_first=True, memo=outages)


@pytest.fixture(autouse=True)
def nothing_is_held(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay, "HOLD_SECONDS", 0.0)


Run = Callable[[Relay[Any]], Looping]


@pytest.fixture
def run(cluster: Cluster) -> Iterator[Run]:
    """Follows a watch again and again, as the worker's loop does."""
    begun: list[Looping] = []

    def start(watch: Relay[Any]) -> Looping:
        begun.append(Looping(cluster, lambda: watch.follow(lambda: None)))
        return begun[-1]

    yield start
    for running in begun:
        running.kill()


@pytest.fixture
def queue() -> MemoryQueue:
    return MemoryQueue()


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[QueueClient]:
    """A client of a real broker, whose frames are bounded."""
    serving = Broker(tmp_path / "socket", Store(tmp_path / "spool"))
    thread = threading.Thread(target=serving.serve)
    thread.start()
    client = QueueClient(tmp_path / "socket")
    yield client
    client.disconnect()
    serving.stop()
    thread.join()


def told(queue: Queue) -> list[ClusterEvent]:
    """Everything on the queue, in order."""
    leased = queue.lease(["events"], 10_000, 0.0)
    return [ClusterEvent.model_validate_json(bytes(message.body)) for message in leased]


def names(queue: Queue) -> list[str]:
    return [event.name for event in told(queue)]


def kill_containers(cluster: Cluster, *pods: str) -> None:
    for name in pods:
        if cluster.pod("shop", name) is None:
            cluster.add_pod("shop", name, "node-1")
        cluster.oom_kill("shop", name)


def checkpoint(queue: Queue, name: str = "pods") -> dict[str, Any]:
    entry = queue.get_state(f"checkpoint/{name}").get(f"checkpoint/{name}")
    return dict(value(entry)) if entry is not None else {}


# -- beginning ------------------------------------------------------------------------------------


def test_at_the_very_first_start_history_is_left_alone(
    cluster: Cluster, kube: Kube, queue: MemoryQueue, run: Run
) -> None:
    kill_containers(cluster, "before")
    run(pods_watch(kube, queue))
    kill_containers(cluster, "after")
    eventually(lambda: names(queue) == ["after"])


def test_what_lasts_is_told_also_at_the_first_start(cluster: Cluster, kube: Kube, queue: MemoryQueue, run: Run) -> None:
    cluster.node_not_ready("node-2")
    run(nodes_watch(kube, queue))
    eventually(lambda: names(queue) == ["node-2"])


def test_what_happens_is_told_at_once_with_all_that_is_known(
    cluster: Cluster, kube: Kube, queue: MemoryQueue, run: Run
) -> None:
    before = (
        counted("events_observed_total", event_type="oom_killed"),
        counted("events_queued_total", event_type="oom_killed"),
    )
    run(pods_watch(kube, queue))
    kill_containers(cluster, "web-0")
    (event,) = eventually(lambda: told(queue))
    assert (event.event_type, event.namespace, event.name, event.node_name) == ("oom_killed", "shop", "web-0", "node-1")
    after = (
        counted("events_observed_total", event_type="oom_killed"),
        counted("events_queued_total", event_type="oom_killed"),
    )
    assert after[1] == before[1] + 1
    assert after[0] >= before[0] + 1


def test_what_is_looked_up_about_it_is_told_with_it(cluster: Cluster, kube: Kube, queue: MemoryQueue, run: Run) -> None:
    def complete(pending: Pending) -> None:
        pending.event = pending.event.model_copy(update={"owner": "Job/found", "details": {"more": 1}})
        pending.known = True

    run(pods_watch(kube, queue, complete=complete))
    kill_containers(cluster, "web-0")
    (event,) = eventually(lambda: told(queue))
    assert (event.owner, event.details["container"], event.details["more"]) == ("Job/found", "app", 1)


class Looking:
    """Looks up nothing until it is told to."""

    def __init__(self) -> None:
        self.asked: list[Pending] = []

    def __call__(self, pending: Pending) -> None:
        self.asked.append(pending)


def test_what_takes_too_long_to_look_up_is_told_without(
    kube: Kube, queue: MemoryQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    looking = Looking()
    watch = Relay("pods", Replay(kube, [killed("slow", NOON, 100)]), in_pod_at_noon, queue, FakeClock(), looking)
    came_to(queue, NOON)
    watch.follow(lambda: None)
    assert len(looking.asked) == 1
    assert (told(queue), watch.forward()) == ([], True), "it waits"
    looking.asked[0].due = 0.0
    assert watch.forward() is False
    assert names(queue) == ["slow"]


def test_while_something_waits_a_restart_sees_it_again_and_what_was_told_is_known(
    kube: Kube, queue: MemoryQueue
) -> None:
    looking = Looking()
    bunches = [[killed("quick", NOON, 100)], [killed("slow", NOON, 101)], [killed("later", NOON, 102)]]
    came_to(queue, NOON)
    first = Relay("pods", Replay(kube, *bunches), in_pod_at_noon, queue, FakeClock(), looking)
    first.follow(lambda: None)
    looking.asked[0].known = looking.asked[2].known = True
    first.forward()
    assert names(queue) == ["quick", "later"]
    assert checkpoint(queue)["version"] == "100", "the one before what still waits"
    second = Relay("pods", Replay(kube, *bunches[1:]), in_pod_at_noon, queue, FakeClock())
    second.follow(lambda: None)
    second.close()
    assert names(queue) == ["quick", "later", "slow"]
    assert checkpoint(queue)["version"] == "102"


def test_what_is_completed_while_it_is_looked_at_is_told_all_the_same(
    kube: Kube, queue: MemoryQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A look-up ends on another thread at any moment."""
    looking = Looking()
    came_to(queue, NOON)
    bunch = [killed("known", NOON, 100), killed("not yet", NOON, 101)]
    watch = Relay("pods", Replay(kube, bunch), in_pod_at_noon, queue, FakeClock(), looking)
    watch.follow(lambda: None)
    asks = iter([True, False])
    monkeypatch.setattr(Pending, "is_ready", lambda self, now: next(asks, True))
    watch.forward()
    watch.forward()
    assert names(queue) == ["known", "not yet"]


def test_the_end_waits_for_nothing(kube: Kube, queue: MemoryQueue) -> None:
    came_to(queue, NOON)
    watch = Relay("pods", Replay(kube, [killed("slow", NOON, 100)]), in_pod_at_noon, queue, FakeClock(), Looking())
    watch.follow(lambda: None)
    watch.close()
    assert names(queue) == ["slow"]


def test_an_object_that_leads_to_an_error_hides_none_of_the_others(
    kube: Kube, queue: MemoryQueue, caplog: pytest.LogCaptureFixture
) -> None:
    def select(pod: Pod) -> Iterable[Sight]:
        if pod.metadata.name == "odd":
            raise OverflowError("date value out of range")
        return in_pod_at_noon(pod)

    before = counted("objects_skipped_total", resource="pods")
    came_to(queue, NOON)
    bunch = [killed("odd", NOON, 100), killed("good", NOON, 101)]
    watch = Relay("pods", Replay(kube, bunch), select, queue, FakeClock())
    watch.follow(lambda: None)
    assert names(queue) == ["good"]
    assert counted("objects_skipped_total", resource="pods") == before + 1
    assert "pods: shop/odd is skipped, as it cannot be read: date value out of range" in caplog.text


# -- times that nobody says, and times long past -----------------------------------------------------


@pytest.mark.parametrize("moment", [None, "1970-01-01T00:00:00Z"])
def test_a_kill_without_a_time_is_told_once_however_often_it_is_seen(
    kube: Kube, queue: MemoryQueue, moment: str | None
) -> None:
    clock, bunches = FakeClock(), []
    for version in range(100, 110):
        change = killed("web-0", NOON, version)
        status = msgspec.to_builtins(change.object)["status"]
        status["containerStatuses"][0]["lastState"]["terminated"]["finishedAt"] = moment
        metadata = {"name": "web-0", "namespace": "shop", "uid": "uid-web-0", "resourceVersion": str(version)}
        bunches.append(
            [Change("MODIFIED", msgspec.convert({"metadata": metadata, "status": status}, Pod), str(version))]
        )
    came_to(queue, NOON)

    def select(pod: Pod) -> Iterable[Sight]:
        clock.advance(600)
        return list(from_pod(pod, clock.now()))

    for part in (bunches[:5], bunches[5:]):  # and across a restart
        watch = Relay("pods", Replay(kube, *part), select, queue, clock)
        watch.follow(lambda: None)
        watch.close()
    assert names(queue) == ["web-0"]


def test_what_is_told_late_by_a_node_that_was_cut_off_is_no_history(kube: Kube, queue: MemoryQueue) -> None:
    came_to(queue, NOON)
    long_ago = NOON - timedelta(minutes=30)

    def select(pod: Pod) -> Iterable[Sight]:
        return [replace(seen, late=pod.metadata.name == "cut-off") for seen in in_pod_at_noon(pod)]

    bunch = [killed("cut-off", long_ago, 100), killed("shows-it-for-days", long_ago, 101)]
    watch = Relay("pods", Replay(kube, bunch), select, queue, FakeClock())
    watch.follow(lambda: None)
    assert names(queue) == ["cut-off"]


# -- restarts -------------------------------------------------------------------------------------


def test_across_restarts_nothing_is_lost_and_nothing_told_twice(
    cluster: Cluster, kube: Kube, queue: MemoryQueue, run: Run
) -> None:
    expected = []
    for number in range(4):
        running = run(pods_watch(kube, queue))
        kill_containers(cluster, f"seen-{number}")
        expected.append(f"seen-{number}")
        eventually(lambda: names(queue) == expected)
        running.kill()
        kill_containers(cluster, f"missed-{number}")
        expected.append(f"missed-{number}")
    run(pods_watch(kube, queue))
    eventually(lambda: len(names(queue)) >= len(expected))
    assert names(queue) == expected


def test_a_pod_that_goes_on_showing_an_old_kill_is_not_told_again(
    cluster: Cluster, kube: Kube, queue: MemoryQueue, run: Run
) -> None:
    running = run(pods_watch(kube, queue))
    kill_containers(cluster, "web-0")
    eventually(lambda: names(queue) == ["web-0"])
    running.kill()
    run(pods_watch(kube, queue))
    kube.call(
        "PATCH",
        "/api/v1/namespaces/shop/pods/web-0",
        None,
        {"metadata": {"labels": {"touched": "yes"}}},
        "application/merge-patch+json",
    )
    kill_containers(cluster, "other")
    eventually(lambda: "other" in names(queue))
    assert names(queue) == ["web-0", "other"]


def test_after_410_the_list_is_looked_through(cluster: Cluster, kube: Kube, queue: MemoryQueue, run: Run) -> None:
    running = run(pods_watch(kube, queue))
    kill_containers(cluster, "seen")
    eventually(lambda: names(queue) == ["seen"])
    running.kill()
    kill_containers(cluster, "missed")
    cluster.add_pod("shop", "quiet", "node-1")
    cluster.compact()
    before = counted("relists_total", resource="pods", reason="gone")
    run(pods_watch(kube, queue))
    eventually(lambda: len(names(queue)) >= 2)
    kill_containers(cluster, "later")
    eventually(lambda: len(names(queue)) >= 3)
    assert names(queue) == ["seen", "missed", "later"]
    assert counted("relists_total", resource="pods", reason="gone") == before + 1


def test_what_happens_while_it_is_away_is_told_also_when_it_was_killed_before_it_saw_anything(
    cluster: Cluster, kube: Kube, queue: MemoryQueue, run: Run
) -> None:
    run(pods_watch(kube, queue)).kill()
    kill_containers(cluster, "missed")
    run(pods_watch(kube, queue))
    kill_containers(cluster, "later")
    eventually(lambda: "later" in names(queue))
    assert names(queue) == ["missed", "later"]


def test_events_and_checkpoint_are_put_together(cluster: Cluster, kube: Kube, queue: MemoryQueue, run: Run) -> None:
    running = run(pods_watch(kube, queue))
    kill_containers(cluster, "web-0")
    eventually(lambda: names(queue))
    (event,) = told(queue)
    record = checkpoint(queue)
    assert checkpoint(queue, "pods/recent/0") == {event.event_id: [1, event.last_seen.timestamp()]}
    assert int(record["version"]) > 0
    assert record["time"] is not None
    running.kill()


class Replay(Resource[Pod]):
    """A watch whose changes come in these bunches, however the network would cut them."""

    def __init__(self, kube: Kube, *bunches: list[Change[Pod]]) -> None:
        super().__init__(kube, "/api/v1/pods", Pod)
        self._bunches = bunches

    def changes(self, *_: Any, **__: Any) -> Generator[list[Change[Pod]], None, None]:
        yield from self._bunches


def in_pod_at_noon(pod: Pod) -> list[Sight]:
    return list(from_pod(pod, NOON))


def killed(name: str, when: datetime, version: int) -> Change[Pod]:
    """The change in which a pod shows that a container was killed then."""
    ended = {"terminated": {"reason": "OOMKilled", "exitCode": 137, "finishedAt": iso(when)}}
    metadata = {"name": name, "namespace": "shop", "uid": f"uid-{name}", "resourceVersion": str(version)}
    status = {"containerStatuses": [{"name": "app", "lastState": ended}]}
    return Change("MODIFIED", msgspec.convert({"metadata": metadata, "status": status}, Pod), str(version))


def replayed(kube: Kube, queue: Queue, clock: FakeClock, *bunches: list[Change[Pod]]) -> None:
    watch = Relay("pods", Replay(kube, *bunches), lambda pod: from_pod(pod, clock.now()), queue, clock)
    watch.follow(lambda: None)
    watch.close()


def came_to(queue: Queue, when: datetime) -> None:
    queue.set_state({"checkpoint/pods": {"version": "99", "time": iso(when), "piece": 0}}, durable=True)


def test_what_happened_in_a_long_absence_is_told_though_it_comes_one_by_one(kube: Kube, queue: MemoryQueue) -> None:
    came_to(queue, NOON - timedelta(minutes=30))
    moments = [NOON - timedelta(minutes=29 - number) for number in range(20)]
    bunches = [[killed(f"pod-{number}", when, 100 + number)] for number, when in enumerate(moments)]
    replayed(kube, queue, FakeClock(), *reversed(bunches))
    assert sorted(names(queue)) == sorted(f"pod-{number}" for number in range(20))


def test_with_our_clock_an_hour_ahead_nothing_is_lost(kube: Kube, queue: MemoryQueue) -> None:
    came_to(queue, NOON - timedelta(minutes=1))
    clock = FakeClock()
    clock.advance(3600)
    for number in range(3):
        when = NOON + timedelta(minutes=number)
        replayed(kube, queue, clock, [killed(f"pod-{number}", when, 100 + number)])
    assert names(queue) == ["pod-0", "pod-1", "pod-2"]


def test_what_is_ruled_out_as_history_is_counted(kube: Kube, queue: MemoryQueue) -> None:
    before = counted("events_history_total", event_type="oom_killed")
    came_to(queue, NOON)
    old, new = NOON - timedelta(days=1), NOON + timedelta(seconds=1)
    replayed(kube, queue, FakeClock(), [killed("old", old, 100), killed("new", new, 101)])
    assert names(queue) == ["new"]
    assert counted("events_history_total", event_type="oom_killed") == before + 1


def test_a_repeat_with_the_same_count_is_told_while_the_first_still_waits(kube: Kube, queue: MemoryQueue) -> None:
    """A scheduler that gives another reason writes another Event, which begins at one."""
    came_to(queue, NOON)
    first = killed("pod", NOON, 100)
    for minutes in (0, 2):
        told_of = sight("same", last_seen=NOON + timedelta(minutes=minutes))
        watch = Relay("pods", Replay(kube, [first]), lambda _, one=told_of: [one], queue, FakeClock())  # type: ignore[misc]
        watch.follow(lambda: None)
        watch.close()
    assert [event.last_seen for event in told(queue)] == [NOON, NOON + timedelta(minutes=2)]


# -- the queue ------------------------------------------------------------------------------------


def test_what_the_queue_does_not_take_is_kept_and_nothing_more_is_read(cluster: Cluster, kube: Kube, run: Run) -> None:
    queue = MemoryQueue(Limits(total_bytes=2000))
    watch = pods_watch(kube, queue)
    running = run(watch)
    kill_containers(cluster, "first")
    eventually(lambda: names(queue) == ["first"])
    running.kill()
    for message in queue.lease(["events"], 10, 0.0):
        queue.ack([message.id])
    queue.put("results", [("blocker", json.dumps("x" * 1900).encode())])
    kill_containers(cluster, "second")
    with pytest.raises(QueueRefused):
        watch.follow(lambda: None)
    reads = len(cluster.audit.select(verb="watch"))
    with pytest.raises(QueueRefused):
        watch.follow(lambda: None)
    assert len(cluster.audit.select(verb="watch")) == reads
    queue.ack([message.id for message in queue.lease(["results"], 1, 0.0)])
    running = run(watch)
    eventually(lambda: names(queue) == ["second"])
    running.kill()


def wordy(number: int, count: int) -> bytes:
    """An event with as long a message as the scheduler of a large cluster gives."""
    content = json.loads(event_line(count, f"uid-{number}"))
    content["object"]["message"] = f"{number} " + "node(s) had untolerated taint; " * 40
    content["object"]["involvedObject"]["name"] = f"web-{number}"
    return json.dumps(content).encode() + b"\n"


def test_repeats_that_are_due_together_need_not_fit_into_one_frame(tmp_path: Path, broker: QueueClient) -> None:
    """Five thousand of them are more than 4 MiB; put at once they would be refused for ever."""
    lines = b"".join(wordy(number, count) for count in (1, 2) for number in range(REMEMBERED))
    with OddServer(listed("7"), http(200, lines)) as server:
        watch = events_watch(kube_of(server.url, tmp_path), broker)
        watch.follow(lambda: None)
        watch.close()
    assert broker.stats()["events"].depth == 2 * REMEMBERED
    assert checkpoint(broker, "events")["version"] == "102"


class Dying(MemoryQueue):
    """Takes so many puts of events and no more, as when the worker is killed."""

    def __init__(self, puts: int) -> None:
        super().__init__()
        self.puts = puts

    def call(self, request: Request, patience: float = PATIENCE) -> Reply:
        if isinstance(request, Put) and request.messages:
            self.puts -= 1
            if self.puts < 0:
                raise QueueRefused("no more")
        return super().call(request, patience)


def test_killed_between_two_slices_it_loses_and_repeats_nothing(kube: Kube) -> None:
    queue, total = Dying(puts=2), 2 * SLICE + 50
    came_to(queue, NOON)
    bunch = [killed(f"pod-{number}", NOON, 100 + number) for number in range(total)]
    with pytest.raises(QueueRefused):
        replayed(kube, queue, FakeClock(), bunch)
    assert queue.stats()["events"].depth == 2 * SLICE
    assert checkpoint(queue)["version"] == "99", "what is not put yet must be seen again"
    queue.puts = 100
    replayed(kube, queue, FakeClock(), bunch)
    assert names(queue) == [f"pod-{number}" for number in range(total)]


def test_what_is_left_of_a_put_is_put_by_the_next_attempt(kube: Kube) -> None:
    queue, total = Dying(puts=1), 2 * SLICE
    came_to(queue, NOON)
    bunch = [killed(f"pod-{number}", NOON, 100 + number) for number in range(total)]
    watch = Relay("pods", Replay(kube, bunch), lambda pod: from_pod(pod, NOON), queue, FakeClock())
    with pytest.raises(QueueRefused):
        watch.follow(lambda: None)
    queue.puts = 100
    watch.close()
    assert names(queue) == [f"pod-{number}" for number in range(total)]
    assert checkpoint(queue)["version"] == str(100 + total - 1)


def test_closing_saves_how_far_it_came(tmp_path: Path, queue: MemoryQueue) -> None:
    bookmark = b'{"type":"BOOKMARK","object":{"metadata":{"resourceVersion":"4711"}}}\n'
    with OddServer(listed("7"), http(200, bookmark)) as server:
        watch = events_watch(kube_of(server.url, tmp_path), queue)
        watch.follow(lambda: None)
        watch.close()
    assert checkpoint(queue, "events")["version"] == "4711"


def test_closing_what_never_began_is_fine(kube: Kube, queue: MemoryQueue) -> None:
    pods_watch(kube, queue).close()
    assert told(queue) == []
    assert checkpoint(queue) == {}


def test_repeats_of_one_occurrence_are_told_once_with_the_count(kube: Kube, tmp_path: Path, queue: MemoryQueue) -> None:
    """The window is a minute of the machine's clock; the end of the worker ends every window."""
    lines = b"".join(event_line(count) for count in range(1, 51))
    with OddServer(listed("7"), http(200, lines)) as server:
        watch = events_watch(kube_of(server.url, tmp_path), queue)
        watch.follow(lambda: None)
        assert len(told(queue)) == 1
        watch.close()
    counts = [event.count for event in told(queue)]
    assert (counts[-1], len(counts) <= 2) == (50, True)
    assert len({event.event_id for event in told(queue)}) == 1


def events_watch(kube: Kube, queue: Queue) -> Relay[Event]:
    def select(event: Event) -> Iterable[Sight]:
        seen = from_event(event, SYSTEM_CLOCK.now())
        return [seen] if seen else []

    return Relay("events", Resource(kube, "/api/v1/events", Event), select, queue, SYSTEM_CLOCK)


def listed(version: str) -> bytes:
    return http(200, json.dumps({"kind": "List", "items": [], "metadata": {"resourceVersion": version}}).encode())


def event_line(count: int, uid: str = "uid-1") -> bytes:
    content = {
        "metadata": {"name": "e", "uid": "e", "resourceVersion": str(100 + count)},
        "involvedObject": {"kind": "Pod", "namespace": "shop", "name": "web-0", "uid": uid},
        "reason": "FailedScheduling",
        "message": "0/3 nodes are available",
        "count": count,
        "firstTimestamp": "2037-03-01T11:00:00Z",
        "lastTimestamp": "2037-03-01T11:00:00Z",
    }
    return json.dumps({"type": "MODIFIED", "object": content}).encode() + b"\n"


def test_a_storm_is_bounded_and_what_is_dropped_is_counted(tmp_path: Path, queue: MemoryQueue) -> None:
    before = counted("events_dropped_total", event_type="pod_scheduling_failed")
    lines = b"".join(event_line(1, f"uid-{number}") for number in range(STORM_BURST + 1000))
    with OddServer(listed("7"), http(200, lines)) as server:
        events_watch(kube_of(server.url, tmp_path), queue).follow(lambda: None)
    depth = queue.stats()["events"].depth
    dropped = counted("events_dropped_total", event_type="pod_scheduling_failed") - before
    assert STORM_BURST <= depth < STORM_BURST + 900
    assert depth + dropped == STORM_BURST + 1000


# -- odd servers ----------------------------------------------------------------------------------


def test_an_empty_watch_that_ends_at_once_is_not_opened_again_at_once(tmp_path: Path, queue: MemoryQueue) -> None:
    with OddServer(listed("7"), http(200, b"")) as server:
        watch = events_watch(kube_of(server.url, tmp_path), queue)
        assert watch.follow(lambda: None) >= 0.25
        assert watch.follow(lambda: None) >= 0.25


def test_empty_lines_are_no_trouble(tmp_path: Path, queue: MemoryQueue) -> None:
    with OddServer(listed("7"), http(200, b"\n\n")) as server:
        events_watch(kube_of(server.url, tmp_path), queue).follow(lambda: None)


def test_a_watch_that_breaks_goes_on_from_where_it_was(tmp_path: Path, queue: MemoryQueue) -> None:
    broken = http(200, event_line(1), {"Content-Length": "100000"})
    with OddServer(listed("7"), broken, http(200, event_line(1, "uid-2"))) as server:
        watch = events_watch(kube_of(server.url, tmp_path), queue)
        assert 0 < watch.follow(lambda: None) < 2, "what brought something is no failure that adds to earlier ones"
        watch.follow(lambda: None)
        assert b"resourceVersion=7&" in server.requests[1]
        assert b"resourceVersion=101&" in server.requests[2]
    assert [event.uid for event in told(queue)] == ["uid-1", "uid-2"]


def test_a_watch_that_breaks_before_it_brought_anything_is_a_failure(tmp_path: Path, queue: MemoryQueue) -> None:
    with OddServer(listed("7"), http(200, b"", {"Content-Length": "100000"})) as server:
        watch = events_watch(kube_of(server.url, tmp_path), queue)
        with pytest.raises(KubeUnavailable):
            watch.follow(lambda: None)


def test_what_a_deleted_object_shows_is_no_news(tmp_path: Path, queue: MemoryQueue) -> None:
    deleted = event_line(1, "uid-1").replace(b"MODIFIED", b"DELETED")
    with OddServer(listed("7"), http(200, deleted + event_line(1, "uid-2"))) as server:
        events_watch(kube_of(server.url, tmp_path), queue).follow(lambda: None)
    assert [event.uid for event in told(queue)] == ["uid-2"]


def test_every_bunch_and_page_is_a_sign_of_life(cluster: Cluster, kube: Kube, queue: MemoryQueue) -> None:
    signs: list[None] = []
    watch = nodes_watch(kube, queue)
    running = Looping(cluster, lambda: watch.follow(lambda: signs.append(None)))
    before = len(signs)
    assert before > 0
    cluster.add_node("node-4")
    eventually(lambda: len(signs) > before)
    running.kill()
