"""Load balancers that lie between the agent and Central: nothing is reset, and nothing is lost.

Each agent has its own, all lie at the same time, and the agents have the time-outs they ship with. With real packets,
and for ten minutes, the same is tried by ``make paths``.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field

import pytest

from tests.integration.conftest import FAST
from tests.sim.agent import ROOT, Agent
from tests.sim.central.server import Central
from tests.sim.kube.cluster import Cluster
from tests.sim.proxy import Fault, Proxy

LIES = {
    "nothing passes": Fault(lost="both"),
    "answers are lost": Fault(lost="answers"),
    "requests are lost": Fault(lost="requests"),
    "the stream is buffered": Fault(holds_stream=True),
}
LASTS = 4.0
"""Seconds of each lie: calls and streams of that time are found dead long after it."""

BACK = 120.0


@dataclass
class Behind:
    """An agent behind a load balancer of its own."""

    cluster: Cluster
    central: Central
    balancer: Proxy
    agent: Agent
    tasks: list[str] = field(default_factory=list)
    pods: list[str] = field(default_factory=list)

    def give(self, name: str) -> None:
        """A task by poll and an event."""
        parameters = {"node_name": "node-1", "labels": {"given": name}}
        self.tasks.append(self.central.offer(self.central.task("label_node", parameters, seconds=600)))
        self.cluster.add_pod("shop", name, "node-1")
        self.cluster.oom_kill("shop", name)
        self.pods.append(name)

    def told(self) -> set[str]:
        return {event["name"] for batch in self.central.ledger.of("events") for event in batch.body["events"]}


@pytest.fixture(scope="module")
def all_of_them(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Behind]]:
    """All after their lies, with something given to each before, during and after."""
    with ExitStack() as stack:
        found: dict[str, Behind] = {}
        for name in LIES:
            cluster = stack.enter_context(Cluster(nodes=1, rbac=[ROOT / "k8s" / "base" / "rbac.yaml"]))
            central = stack.enter_context(Central())
            balancer = stack.enter_context(Proxy(central.url))
            path = cluster.write_kubeconfig(tmp_path_factory.mktemp("behind") / "kubeconfig")
            agent = stack.enter_context(Agent(balancer.url, path, FAST))
            found[name] = Behind(cluster, central, balancer, agent)
        for behind in found.values():
            behind.agent.wait_ready(BACK)
            behind.agent.wait(lambda behind=behind: behind.central.streams)  # type: ignore[misc]
            behind.give("before")
        with ExitStack() as lies:
            for name, lie in LIES.items():
                lies.enter_context(found[name].balancer.misbehaving(lie))
                found[name].give("during")
            time.sleep(LASTS)
        for behind in found.values():
            behind.give("after")
        yield found


@pytest.fixture(params=LIES)
def behind(request: pytest.FixtureRequest, all_of_them: dict[str, Behind]) -> Behind:
    return all_of_them[request.param]


def test_polls_and_deliveries_are_back_and_nothing_is_lost(behind: Behind) -> None:
    for task_id in behind.tasks:
        assert behind.central.ledger.wait_result(task_id, BACK)["status"] == "success"
        assert len({result["executed_at"] for result in behind.central.ledger.results(task_id)}) == 1, "done once"
    behind.agent.wait(lambda: set(behind.pods) <= behind.told(), BACK)
    behind.agent.wait_ready(BACK)


def test_the_stream_is_back(behind: Behind) -> None:
    """A task that is pushed and not offered is done; on streams that are dead, nobody hears it."""
    task = behind.central.task("uncordon_node", {"node_name": "node-1"}, seconds=600)

    def done() -> bool:
        behind.central.push(task, BACK)
        return bool(behind.central.ledger.results(task["task_id"]))

    behind.agent.wait(done, BACK)


def test_nobody_was_restarted_for_it(behind: Behind) -> None:
    assert behind.agent.get("/health")[0] == 200
    assert behind.agent.metric('cloudoptim_worker_restarts_total{worker="task-runner"}') == 0
    assert behind.agent.metric('cloudoptim_worker_restarts_total{worker="heartbeat"}') == 0
