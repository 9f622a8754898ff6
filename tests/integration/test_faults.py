"""What goes wrong on the network, on the agent as it ships: nothing is lost, nothing spins, all is well again after.

Each fault hits Central and the API server at once, under a task that runs and an event that happens meanwhile.
A second agent sits out half-open connections beside it, with the time-outs it ships with.
"""

from __future__ import annotations

import itertools
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.integration.conftest import FAST
from tests.sim.agent import ROOT, Agent
from tests.sim.central.server import Central
from tests.sim.kube.cluster import Cluster
from tests.sim.kube.credentials import kubeconfig
from tests.sim.kube.quantities import pod_requests
from tests.sim.proxy import Fault, Proxy

LASTS = 2.0
"""Seconds of each fault."""

BUSY = 40
"""Requests a second that only a loop without a pause would send; at rest it is about five to either side."""

MOST_TAKEN = 80 * 1024 * 1024
"""Bytes of an endless answer: 8 MiB of Central's and 64 MiB of the API server's are read, and what sockets hold."""

BACK = 60.0
"""Seconds a test is ready to wait; how long it does take is for the benchmarks."""


def answer(status: int, body: bytes = b"", kind: str = "application/json", *headers: str) -> bytes:
    """A whole HTTP answer."""
    lines = [f"HTTP/1.1 {status} Whatever", f"Content-Type: {kind}", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + body


FAULTS = {
    "500": Fault(answer=answer(500, b'{"kind": "Status", "code": 500}')),
    "502 from a proxy on the way": Fault(answer=answer(502, b"<html>Bad Gateway</html>", "text/html")),
    "503 with a date to come back": Fault(answer=answer(503, b"", "text/plain", "Retry-After: 1")),
    "429": Fault(answer=answer(429, b"slow down", "text/plain", "Retry-After: 1")),
    "no HTTP at all": Fault(answer=b"SSH-2.0-OpenSSH_9.6\r\n\r\n"),
    "a page in place of JSON": Fault(answer=answer(200, b"<!doctype html><h1>Please log in</h1>", "text/html")),
    "a body without an end": Fault(answer=b"HTTP/1.1 200 OK\r\nContent-Length: 9000000000\r\n\r\n<", endless=True),
    "bytes that drip": Fault(rate=20),
    "late bytes": Fault(delay=1.0),
    "connections cut in mid-answer": Fault(cut_after=100),
    "connections half closed": Fault(half_close=True),
    "silence that passes": Fault(silent=True),
}


@dataclass
class Network:
    """An agent, and what stands between it and the two it talks to."""

    cluster: Cluster
    central: Central
    to_central: Proxy
    to_kube: Proxy
    agent: Agent
    kubeconfig: Path
    numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    @property
    def proxies(self) -> tuple[Proxy, Proxy]:
        return self.to_central, self.to_kube

    def write_kubeconfig(self) -> None:
        self.kubeconfig.write_text(kubeconfig(self.to_kube.url, self.cluster.agent_token, None))

    def begin_deletion(self, seconds: float) -> str:
        """A task that is under way: its pod takes ``seconds`` to end."""
        name = f"slow-{next(self.numbers)}"
        pod = self.cluster.add_pod("shop", name, "node-2", termination_seconds=seconds, grace=60)
        parameters = {"namespace": "shop", "pod_name": name, "pod_uid": pod["metadata"]["uid"]}
        task_id = self.central.offer(self.central.task("delete_pod", parameters))
        self.cluster.wait_for(lambda: self._is_ending(name), 30)
        return task_id

    def _is_ending(self, name: str) -> bool:
        return "deletionTimestamp" in (self.cluster.pod("shop", name) or {"metadata": {}})["metadata"]

    def offer_label(self) -> str:
        labels = {"fault": str(next(self.numbers))}
        return self.central.offer(self.central.task("label_node", {"node_name": "node-3", "labels": labels}))

    def kill_a_pod(self) -> str:
        """An event; the name of its pod, which stays."""
        name = f"hungry-{next(self.numbers)}"
        self.cluster.add_pod("shop", name, "node-3")
        self.cluster.oom_kill("shop", name)
        return name

    def forwarded(self) -> set[str]:
        return {event["name"] for batch in self.central.ledger.of("events") for event in batch.body["events"]}

    def totals_are_right(self) -> bool:
        """Whether the last sample says what a count of the cluster says now."""
        samples = self.central.ledger.of("metrics")
        counted = count(self.cluster)
        return bool(samples) and {name: samples[-1].body[name] for name in counted} == counted

    def assert_well(self, given: Given) -> None:
        """Everything that was given to it arrives, the totals are right, it is ready."""
        for task_id in given.tasks:
            assert self.central.ledger.wait_result(task_id, BACK)["status"] == "success"
            assert len({arrival["executed_at"] for arrival in self.central.ledger.results(task_id)}) == 1, "once"
        self.agent.wait(
            lambda: set(given.pods) <= self.forwarded(),
            BACK,
            lambda: f"not forwarded: {set(given.pods) - self.forwarded()}",
        )
        self.agent.wait_ready(BACK)
        self.agent.wait(self.totals_are_right, BACK, lambda: f"{count(self.cluster)} is not what was sent last")
        assert self.central.refused == []


def count(cluster: Cluster) -> dict[str, Any]:
    pods, nodes = cluster.pods(), cluster.nodes()
    phases = Counter(pod["status"]["phase"] for pod in pods)
    held = [pod for pod in pods if pod["spec"].get("nodeName") and pod["status"]["phase"] in ("Pending", "Running")]
    return {
        "node_count": len(nodes),
        "pod_count": len(pods),
        "running_pod_count": phases["Running"],
        "pending_pod_count": phases["Pending"],
        "allocated_cpu_cores": sum(pod_requests(pod)[0] for pod in held) / 1000,
    }


def build(stack: ExitStack, folder: Path) -> Network:
    cluster = stack.enter_context(Cluster(nodes=3, rbac=[ROOT / "k8s" / "base" / "rbac.yaml"]))
    cluster.add_deployment("shop", "web", 4, node=["node-1", "node-2"])
    cluster.wait_settled()
    central = stack.enter_context(Central())
    to_central = stack.enter_context(Proxy(central.url))
    to_kube = stack.enter_context(Proxy(cluster.url))
    path = folder / "kubeconfig"
    network = Network(cluster, central, to_central, to_kube, Agent(to_central.url, path, FAST), path)
    network.write_kubeconfig()
    stack.enter_context(network.agent)
    network.agent.wait_ready()
    return network


@pytest.fixture(scope="module")
def patient(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    """All its connections are half-open since before the first test, and its streams are mute; see the last test."""
    with ExitStack() as stack:
        network = build(stack, tmp_path_factory.mktemp("patient"))
        network.central.mute = True
        for proxy in network.proxies:
            proxy.freeze()
            proxy.requests = 0
        yield network


@pytest.fixture(scope="module")
def network(patient: Network, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    with ExitStack() as stack:
        yield build(stack, tmp_path_factory.mktemp("network"))


@dataclass
class Given:
    """What was given to the agent and has to come out."""

    tasks: list[str] = field(default_factory=list)
    pods: list[str] = field(default_factory=list)


def endure(network: Network, at_once: Callable[[], object], later: Callable[[], object] = lambda: None) -> Given:
    """Give it tasks and events before, during and between two faults, and see that it does not spin meanwhile."""
    given = Given([network.begin_deletion(LASTS / 8), network.begin_deletion(LASTS)])
    for proxy in network.proxies:
        proxy.requests = 0
    for begin in (at_once, later):
        begin()
        given.tasks.append(network.offer_label())
        given.pods.append(network.kill_a_pod())
        time.sleep(LASTS / 2)
    for proxy in network.proxies:
        assert proxy.requests < BUSY * LASTS, "a loop without a pause"
    return given


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_a_fault_of_the_network_passes_and_nothing_is_lost(network: Network, fault: Fault) -> None:
    """Central has it alone at first: the result and the event that come then are not to be lost on the way."""
    pids = network.agent.pids()
    with ExitStack() as stack:
        given = endure(
            network,
            lambda: stack.enter_context(network.to_central.misbehaving(fault)),
            lambda: stack.enter_context(network.to_kube.misbehaving(fault)),
        )
        assert all(proxy.requests for proxy in network.proxies), "both were hit"
        assert network.agent.get("/health")[0] == 200, "no reason to restart the pod"
    given.tasks.append(network.offer_label())
    given.pods.append(network.kill_a_pod())
    network.assert_well(given)
    assert network.agent.pids() == pids, "no worker crashed or hung"
    assert all(proxy.most_taken < MOST_TAKEN for proxy in network.proxies)


def test_answers_that_are_garbage_do_not_matter_where_central_took_what_it_was_sent(network: Network) -> None:
    with ExitStack() as stack:

        def begin() -> None:
            network.central.fault("*", status=200, body=b'{"tasks": [{"task_id"', after=True)
            stack.callback(network.central.faults.clear)
            garbage = Fault(answer=answer(200, b'{"kind": "PodList", "items": [{"meta'))
            stack.enter_context(network.to_kube.misbehaving(garbage))

        given = endure(network, begin)
    network.assert_well(given)


def test_a_restarted_api_server_that_forgot_its_history(network: Network) -> None:
    network.assert_well(endure(network, lambda: network.cluster.restart(LASTS / 2, forget=True)))


def test_a_version_that_is_gone_in_mid_list_and_on_the_watch(network: Network) -> None:
    """410 from the API server: the first for the watches, which then meet it once more in the list."""

    def begin() -> None:
        network.cluster.compact()
        network.cluster.fail(verb="list", status=410, body={"kind": "Status", "code": 410}, times=3)
        network.cluster.drop_watches()

    network.assert_well(endure(network, begin))


def test_a_rotated_token(network: Network) -> None:
    """The old one is refused at once; the new one is read from its file as soon as it is there."""

    def begin() -> None:
        network.cluster.rotate_token()
        network.cluster.drop_watches()

    given = endure(network, begin)
    network.write_kubeconfig()
    network.assert_well(given)


def test_half_open_connections_and_a_mute_stream_are_given_up(patient: Network) -> None:
    """The slow one: 15 s for a call to Central, 30 s for the stream, 90 s for a watch."""
    patient.assert_well(Given([patient.offer_label()], [patient.kill_a_pod()]))
    handshakes = len(patient.central.ledger.of("stream"))
    assert 2 <= handshakes < 20, "the mute stream was given up and opened again, not all the time"
    patient.central.mute = False
    patient.agent.wait(lambda: any(not stream.silent for stream in list(patient.central.streams)), 120)
    task_id = "pushed"
    patient.central.push(
        patient.central.task("label_node", {"node_name": "node-1", "labels": {"a": "b"}}, task_id=task_id)
    )
    assert patient.central.ledger.wait_result(task_id)["status"] == "success"
    assert patient.agent.get("/health")[0] == 200
