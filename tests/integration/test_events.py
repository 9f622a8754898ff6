"""The four kinds of trouble as the shipped agent tells of them: complete, at once, once, and in bounded room."""

from __future__ import annotations

import os
import re
import signal
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.integration.conftest import FAST
from tests.sim.agent import ROOT, Agent
from tests.sim.central.server import Central
from tests.sim.kube.cluster import Cluster
from tests.sim.kube.kinds import timestamp
from tests.sim.kube.objects import identity
from tests.sim.kube.resources import EVENTS, NODES, PODS, Object
from tests.sim.kube.writes import change
from workers.event_watcher.aggregate import STORM_BURST
from workers.heartbeat.delivery import BATCH_BYTES, BATCH_MESSAGES

Told = dict[str, Any]


@dataclass
class Stage:
    """A cluster, the agent that watches it, and what Central heard."""

    cluster: Cluster
    central: Central
    agent: Agent

    def told(self, **fields: Any) -> list[Told]:
        """Events delivered so far that have these fields, in order."""
        batches = self.central.ledger.of("events")
        events = [event for batch in batches for event in batch.body["events"]]
        return [event for event in events if all(event[key] == value for key, value in fields.items())]

    def wait_told(self, times: int = 1, **fields: Any) -> list[Told]:
        found: list[Told] = self.central.ledger.wait(
            lambda: [] if len(self.told(**fields)) < times else self.told(**fields)
        )
        return found

    def drain(self, name: str) -> None:
        """Wait until all that happened before this call is told: something that happens now comes after it."""
        self.cluster.add_pod("marks", f"{name}-pod", "node-1")
        self.cluster.oom_kill("marks", f"{name}-pod")
        self.cluster.store.put(EVENTS, {**failed_scheduling("marks", f"{name}-event"), "reason": "Evicted"})
        self.wait_told(name=f"{name}-pod")
        self.wait_told(name=f"{name}-event")


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with (
        Cluster(nodes=4, rbac=[ROOT / "k8s" / "base" / "rbac.yaml"]) as cluster,
        Central() as central,
        Agent(central.url, cluster.write_kubeconfig(tmp_path_factory.mktemp("events") / "kubeconfig"), FAST) as agent,
    ):
        cluster.add_deployment("shop", "web", 4, node=["node-1", "node-2"])
        agent.wait_ready()
        yield Stage(cluster, central, agent)


def failed_scheduling(namespace: str, name: str, count: int = 1) -> Object:
    """The Event object a scheduler would write about a pod that is, for brevity's sake, not there."""
    now = timestamp()
    return {
        "metadata": identity(f"{name}.17f", namespace),
        "involvedObject": {"kind": "Pod", "namespace": namespace, "name": name, "uid": f"uid-{name}"},
        "reason": "FailedScheduling",
        "message": "0/4 nodes are available: 4 Insufficient cpu.",
        "type": "Warning",
        "count": count,
        "firstTimestamp": now,
        "lastTimestamp": now,
    }


def uid(stage: Stage, namespace: str, name: str) -> str:
    pod = stage.cluster.pod(namespace, name)
    assert pod is not None
    return str(pod["metadata"]["uid"])


# -- what is told ---------------------------------------------------------------------------------


def test_a_pod_that_cannot_be_scheduled(stage: Stage) -> None:
    stage.cluster.add_deployment("ml", "training", 1, cpu="1000")
    (event,) = stage.wait_told(event_type="pod_scheduling_failed", namespace="ml")
    assert (event["severity"], event["reason"], event["kind"]) == ("warning", "FailedScheduling", "Pod")
    assert event["name"].startswith("training-")
    assert event["uid"] == uid(stage, "ml", event["name"])
    assert event["owner"] == "Deployment/training"
    assert event["node_name"] is None
    assert "4 Insufficient cpu" in event["message"]
    assert event["count"] >= 1, "all attempts while it was held back"
    assert event["details"]["pods"] == 1
    assert event["first_seen"] <= event["last_seen"]


@pytest.mark.parametrize(("node", "status"), [("node-3", "Unknown"), ("node-4", "False")])
def test_a_node_that_is_not_ready(stage: Stage, node: str, status: str) -> None:
    """The API server writes this as a Normal event; the condition says when and why."""
    stage.cluster.node_not_ready(node, status)
    (event,) = stage.wait_told(event_type="node_not_ready", name=node)
    assert (event["severity"], event["kind"], event["namespace"]) == ("critical", "Node", None)
    assert event["reason"] == {"Unknown": "NodeStatusUnknown", "False": "KubeletNotReady"}[status]
    assert (event["node_name"], event["owner"]) == (node, None)
    stage.cluster.node_ready(node)


def test_a_node_that_is_not_ready_shows_in_its_event_where_the_condition_is_not_seen(stage: Stage) -> None:
    """The watch of nodes is silent, as over a half-open connection; the event is a hint to look."""
    stage.drain("before-silence")
    stage.agent.supervisorctl("restart", "metrics")  # so that no other watch of nodes is new
    for subscription in stage.cluster.store.subscriptions():
        subscription.frozen = NODES in subscription.resources
    stage.cluster.node_not_ready("node-4")
    told = stage.wait_told(times=2, event_type="node_not_ready", name="node-4")
    assert [event["reason"] for event in told] == ["KubeletNotReady", "NodeStatusUnknown"]
    stage.cluster.node_ready("node-4")
    stage.agent.supervisorctl("restart", "event-watcher")
    stage.agent.wait_ready()


def test_a_pod_evicted_by_the_kubelet_is_told_once_though_it_shows_in_event_condition_and_status(
    stage: Stage,
) -> None:
    stage.cluster.add_statefulset("shop", "greedy", 1, node="node-1")
    first = uid(stage, "shop", "greedy-0")
    stage.cluster.kubelet_evict("shop", "greedy-0", "memory")
    (event,) = stage.wait_told(event_type="pod_evicted", uid=first)
    assert event["severity"] == "warning"
    assert event["reason"] in ("Evicted", "TerminationByKubelet")
    assert "low on resource: memory" in event["message"]
    assert (event["owner"], event["node_name"]) == ("StatefulSet/greedy", "node-1")
    stage.drain("after-kubelet")
    assert len({event["event_id"] for event in stage.told(event_type="pod_evicted", uid=first)}) == 1


def test_a_pod_evicted_through_the_api(stage: Stage) -> None:
    stage.cluster.add_statefulset("shop", "asked", 1, node="node-2")
    pod = uid(stage, "shop", "asked-0")
    task = stage.central.task("delete_pod", {"namespace": "shop", "pod_name": "asked-0", "pod_uid": pod})
    stage.central.offer(task)
    (event,) = stage.wait_told(event_type="pod_evicted", uid=pod)
    assert (event["severity"], event["reason"]) == ("info", "EvictionByEvictionAPI")
    assert (event["owner"], event["node_name"]) == ("StatefulSet/asked", "node-2")


def test_a_pod_evicted_by_a_taint(stage: Stage) -> None:
    stage.cluster.add_statefulset("shop", "tainted", 1, node="node-2")
    pod = uid(stage, "shop", "tainted-0")
    taint_evict(stage.cluster, "shop", "tainted-0")
    (event,) = stage.wait_told(event_type="pod_evicted", uid=pod)
    assert event["severity"] == "warning"
    assert event["reason"] in ("DeletionByTaintManager", "TaintManagerEviction")
    assert event["owner"] == "StatefulSet/tainted"
    stage.drain("after-taint")
    assert len(stage.told(event_type="pod_evicted", uid=pod)) == 1


def taint_evict(cluster: Cluster, namespace: str, name: str) -> None:
    """What the taint manager does before it deletes the pod: a condition and an event."""
    stored = cluster.store.get(PODS, namespace, name)
    assert stored is not None
    why = {"reason": "DeletionByTaintManager", "message": "Taint manager: deleting due to NoExecute taint"}
    target = {"type": "DisruptionTarget", "status": "True", "lastTransitionTime": timestamp(), **why}

    def targeted(latest: Object) -> Object:
        conditions = [*latest["status"]["conditions"], target]
        return {**latest, "status": {**latest["status"], "conditions": conditions}}

    change(cluster.store, stored, targeted)
    message = f"Marking for deletion Pod {namespace}/{name}"
    cluster.recorder.emit(stored, "Normal", "TaintManagerEviction", message, "taint-eviction-controller")


INITS = [{"name": "migrate"}, {"name": "proxy", "restartPolicy": "Always"}]


def test_a_node_that_a_cloud_will_take_is_told_ahead_of_what_waits(stage: Stage) -> None:
    """Hundreds of other events wait for a Central that is slow to take them."""
    stage.central.fault("events", status=200, after=True, delay=1.0)
    for number in range(500):
        event = {**failed_scheduling("wave", f"pod-{number}"), "reason": "Evicted"}
        stage.cluster.store.put(EVENTS, event)
    stage.cluster.taint_node("node-4", "aws-node-termination-handler/spot-itn", "itn-1")
    (event,) = stage.wait_told(event_type="node_disruption_notice", name="node-4")
    assert len(stage.told(namespace="wave")) < 500, "they were overtaken"
    assert (event["severity"], event["details"]["notice"]) == ("warning", "spot-interruption")
    assert event["details"]["deadline_is"] == "usual"
    stage.central.faults.clear()
    stage.agent.wait(lambda: len(stage.told(namespace="wave")) == 500, 60)


@pytest.mark.parametrize(
    ("container", "what"), [("app", "container"), ("migrate", "init container"), ("proxy", "sidecar")]
)
def test_a_container_killed_for_want_of_memory(stage: Stage, container: str, what: str) -> None:
    """No event tells of it: it shows in the pod's status only, which the kubelet's restart leaves there."""
    name = f"hungry-{container}"
    stage.cluster.add_statefulset("shop", name, 1, node="node-1", init_containers=INITS)
    pod = uid(stage, "shop", f"{name}-0")
    stage.cluster.oom_kill("shop", f"{name}-0", container)
    (event,) = stage.wait_told(event_type="oom_killed", uid=pod)
    assert (event["severity"], event["reason"], event["kind"]) == ("critical", "OOMKilled", "Pod")
    assert f"container {container} was killed" in event["message"]
    assert (event["owner"], event["node_name"]) == (f"StatefulSet/{name}", "node-1")


def test_a_container_that_is_killed_again_is_another_occurrence(stage: Stage) -> None:
    stage.cluster.add_pod("shop", "twice", "node-1")
    for times in (1, 2):
        stage.cluster.oom_kill("shop", "twice")
        told = stage.wait_told(times, event_type="oom_killed", name="twice")
        now = timestamp()  # which has whole seconds
        stage.cluster.wait_for(lambda now=now: timestamp() > now)  # type: ignore[misc]
    assert len({event["event_id"] for event in told}) == 2


def test_a_node_out_of_memory(stage: Stage) -> None:
    stage.cluster.add_pod("shop", "victim", "node-2")
    stage.cluster.oom_kill("shop", "victim", system=True)
    (event,) = stage.wait_told(event_type="oom_killed", kind="Node")
    assert (event["severity"], event["reason"]) == ("critical", "SystemOOM")
    assert (event["name"], event["node_name"]) == ("node-2", "node-2")
    assert "victim process: app" in event["message"]


# -- repeats, restarts, a lost version --------------------------------------------------------------


def test_the_first_sight_goes_at_once_and_repeats_as_one_with_the_count(stage: Stage) -> None:
    """What waits for its window when the worker ends is forwarded by then."""
    message = "0/4 nodes are available: 4 node(s) had volume node affinity conflict."
    stage.cluster.add_pod("repeats", "stuck", cpu="1000")
    (first,) = stage.wait_told(event_type="pod_scheduling_failed", namespace="repeats")
    for _ in range(40):
        stage.cluster.fail_scheduling("repeats", "stuck", message)
    stage.drain("after-repeats")
    assert stage.told(namespace="repeats") == [first]
    stage.agent.supervisorctl("stop", "event-watcher")
    _, repeat = stage.wait_told(times=2, namespace="repeats")
    assert repeat["event_id"] == first["event_id"]
    assert repeat["count"] >= 40
    assert repeat["first_seen"] == first["first_seen"]
    assert repeat["last_seen"] > first["last_seen"]
    stage.agent.supervisorctl("start", "event-watcher")


@pytest.mark.parametrize("how", ["stopped", "killed"])
@pytest.mark.parametrize("version", ["still there", "gone"])
def test_a_restart_goes_on_where_it_was_and_tells_nothing_twice(stage: Stage, how: str, version: str) -> None:
    """Where the version is gone, as after a compaction, pages of a list show what happened since."""
    mark = f"{how}-{version.replace(' ', '-')}"
    stage.cluster.add_pod("restarts", f"before-{mark}", "node-1")
    stage.cluster.oom_kill("restarts", f"before-{mark}")
    stage.wait_told(name=f"before-{mark}")
    stage.drain(f"settled-{mark}")
    if how == "killed":
        os.kill(stage.agent.pids()["event-watcher"], signal.SIGKILL)
    stage.agent.supervisorctl("stop", "event-watcher")
    repeats_before = twice(stage)
    stage.cluster.add_pod("restarts", f"while-{mark}", "node-1")
    stage.cluster.oom_kill("restarts", f"while-{mark}")
    stage.cluster.store.put(EVENTS, failed_scheduling("restarts", f"pending-{mark}"))
    if version == "gone":
        stage.cluster.compact()
    stage.agent.supervisorctl("start", "event-watcher")
    stage.wait_told(name=f"while-{mark}", event_type="oom_killed")
    stage.wait_told(name=f"pending-{mark}", event_type="pod_scheduling_failed")
    stage.drain(f"after-{mark}")
    assert twice(stage) == repeats_before == Counter()


def twice(stage: Stage) -> Counter[str]:
    """What was delivered more than once with the same count: nothing, as long as Central always answers."""
    seen = Counter(f"{event['name']}: {event['event_id']}/{event['count']}" for event in stage.told())
    return Counter({what: times for what, times in seen.items() if times > 1})


# -- much of it -----------------------------------------------------------------------------------


def test_pods_pass_through_and_leave_nothing_behind(stage: Stage) -> None:
    """Some thirty megabytes of pods in the watch; the worker keeps none of them."""
    stage.drain("before-many")
    before = private_kilobytes(stage)
    for number in range(5000):
        stage.cluster.add_pod("many", f"pod-{number}", "node-1")
    stage.drain("after-many")
    assert private_kilobytes(stage) - before < 6 * 1024


def private_kilobytes(stage: Stage) -> int:
    rollup = Path(f"/proc/{stage.agent.pids()['event-watcher']}/smaps_rollup").read_text()
    return sum(int(size) for size in re.findall(r"^Private_\w+: +(\d+) kB", rollup, re.MULTILINE))


def test_a_storm_of_one_thing_is_two_messages_at_most(stage: Stage) -> None:
    """Five thousand repeats in a moment: the first sight, and at the end the count, if it does not have it yet."""
    event = failed_scheduling("storm", "restless")
    for count in range(1, 5001):
        event = stage.cluster.store.put(EVENTS, {**event, "count": count}).object
    stage.drain("after-restless")
    stage.agent.supervisorctl("restart", "event-watcher")
    told = stage.wait_told(name="restless", count=5000)
    assert len(stage.told(name="restless")) <= 2
    assert len({event["event_id"] for event in told}) == 1


def test_a_storm_of_many_things_is_bounded_delivered_in_batches_and_what_is_dropped_is_counted(stage: Stage) -> None:
    """More first sights than the allowance: those beyond it are dropped and counted, other kinds are not hurt."""
    stage.agent.supervisorctl("restart", "event-watcher")  # with a fresh allowance
    stage.agent.wait_ready()
    dropped = 'cloudoptim_events_dropped_total{event_type="pod_scheduling_failed"}'
    before, total = stage.agent.metric(dropped), STORM_BURST + 3000
    for number in range(total):
        stage.cluster.store.put(EVENTS, failed_scheduling("storm", f"pod-{number}"))
    stage.cluster.add_pod("storm", "hungry", "node-1")
    stage.cluster.oom_kill("storm", "hungry")
    stage.wait_told(name="hungry", event_type="oom_killed")

    def accounted() -> bool:
        delivered = len({event["name"] for event in stage.told(namespace="storm") if event["name"].startswith("pod-")})
        return delivered + stage.agent.metric(dropped) - before == total

    stage.agent.wait(accounted, 60)
    assert stage.agent.metric(dropped) > before
    delivered = {event["event_id"] for event in stage.told(namespace="storm")}
    assert len(delivered) >= STORM_BURST
    batches = [batch.body["events"] for batch in stage.central.ledger.of("events")]
    assert max(len(batch) for batch in batches) <= BATCH_MESSAGES
    assert len(batches) < len(delivered) / 10
    lengths = [int(batch.headers["Content-Length"]) for batch in stage.central.ledger.of("events")]
    assert max(lengths) <= BATCH_BYTES + 1024
    assert stage.agent.ready()["ready"]


# -- whatever the API server serves -----------------------------------------------------------------


@pytest.mark.parametrize("moment", ["0000-01-01T00:00:00Z", "10000-01-01T09:59:59Z"])
def test_an_event_of_a_year_that_python_does_not_know_hides_nothing_that_comes_after_it(
    stage: Stage, moment: str
) -> None:
    """Whoever may edit anything in any namespace may write such an event."""
    name = f"odd-{moment[:4]}"
    odd = {**failed_scheduling("tenant", name), "lastTimestamp": moment, "eventTime": moment}
    stage.cluster.store.put(EVENTS, odd)
    (event,) = stage.wait_told(name=name)
    assert event["last_seen"] == event["first_seen"], "a time that cannot be is taken as absent"
    stage.drain(f"after-{name}")
    assert stage.agent.ready()["ready"]


# -- what the cluster's owner wants -----------------------------------------------------------------


def test_only_the_namespaces_and_types_asked_for_are_told(tmp_path: Path) -> None:
    wanted = {"EVENT_NAMESPACES": "shop,batch", "EVENT_TYPES": "oom_killed,node_not_ready"}
    with (
        Cluster(nodes=2, rbac=[ROOT / "k8s" / "base" / "rbac.yaml"]) as cluster,
        Central() as central,
        Agent(central.url, cluster.write_kubeconfig(tmp_path / "kubeconfig"), {**FAST, **wanted}) as agent,
    ):
        agent.wait_ready()
        stage = Stage(cluster, central, agent)
        for namespace in ("other", "shop", "batch"):
            cluster.add_pod(namespace, f"in-{namespace}", "node-1")
            cluster.oom_kill(namespace, f"in-{namespace}")
            cluster.kubelet_evict(namespace, f"in-{namespace}")
        cluster.fail_scheduling("shop", "huge")
        cluster.node_not_ready("node-2")
        stage.wait_told(name="node-2")
        stage.wait_told(name="in-batch")
        told = {(event["event_type"], event["name"]) for event in stage.told()}
        assert told == {("oom_killed", "in-shop"), ("oom_killed", "in-batch"), ("node_not_ready", "node-2")}
