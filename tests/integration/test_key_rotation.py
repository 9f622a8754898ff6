"""The API key's file is replaced while requests flow: nothing is lost, nothing is sent twice, nothing stops.

That a key which stays refused ends the pod with a reason is in test_life_cycle; that no output shows one in
test_security.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.integration.conftest import FAST
from tests.sim.agent import Agent
from tests.sim.central.server import Central
from tests.sim.kube.cluster import Cluster

OLD, NEW = "the-old-key", "the-new-key"


class Rotation:
    """An agent whose key is in a file, tasks and events that flow, and what Central makes of them."""

    def __init__(self, cluster: Cluster, central: Central, agent: Agent, key_file: Path) -> None:
        self.cluster, self.central, self.agent = cluster, central, agent
        self._key_file = key_file
        self.tasks: list[str] = []
        self.pods: list[str] = []

    def replace_key(self, key: str) -> None:
        """As the kubelet does it: at once, by a rename."""
        fresh = self._key_file.with_name("fresh")
        fresh.write_text(key)
        fresh.rename(self._key_file)

    @contextmanager
    def requests_flow(self) -> Iterator[None]:
        done = threading.Event()
        flow = threading.Thread(target=self._flow, args=(done,))
        flow.start()
        try:
            yield
        finally:
            done.set()
            flow.join()

    def _flow(self, done: threading.Event) -> None:
        while not done.wait(0.3):
            number = len(self.tasks)
            labels = {"rotation": str(number)}
            task = self.central.task("label_node", {"node_name": "node-1", "labels": labels})
            self.tasks.append(self.central.offer(task))
            self.cluster.add_pod("shop", f"hungry-{number}", "node-2")
            self.cluster.oom_kill("shop", f"hungry-{number}")
            self.pods.append(f"hungry-{number}")

    def wait_for_key(self, key: str) -> None:
        """Until each kind of call came with ``key``, but for samples: they wait while results and events flow."""
        for call in ("tasks", "heartbeat", "result", "events"):
            self.central.ledger.wait(
                lambda call=call: any(  # type: ignore[misc]
                    arrival.headers["Authorization"] == f"Bearer {key}" for arrival in self.central.ledger.of(call)
                )
            )

    def assert_each_arrived_once(self) -> None:
        for task_id in self.tasks:
            assert self.central.ledger.wait_result(task_id)["status"] == "success"
        self.agent.wait(lambda: set(self.pods) <= set(self._forwarded()))
        keys = [
            (arrival.call, arrival.headers["Idempotency-Key"])
            for call in ("result", "events", "metrics")
            for arrival in self.central.ledger.of(call)
        ]
        assert [key for key, times in Counter(keys).items() if times > 1] == []
        assert [name for name, times in self._forwarded().items() if times > 1] == []

    def _forwarded(self) -> Counter[str]:
        batches = self.central.ledger.of("events")
        return Counter(event["name"] for batch in batches for event in batch.body["events"])


@pytest.fixture
def rotation(cluster: Cluster, kubeconfig: Path, tmp_path: Path) -> Iterator[Rotation]:
    key_file = tmp_path / "api-key"
    key_file.write_text(OLD)
    with (
        Central(api_key=OLD) as central,
        Agent(central.url, kubeconfig, {**FAST, "CENTRAL_API_KEY_FILE": str(key_file)}, api_key="") as agent,
    ):
        agent.wait_ready()
        yield Rotation(cluster, central, agent, key_file)


def test_while_both_keys_are_taken_not_one_request_is_refused(rotation: Rotation) -> None:
    pids = rotation.agent.pids()
    with rotation.requests_flow():
        rotation.wait_for_key(OLD)
        rotation.central.keys.add(NEW)
        rotation.replace_key(NEW)
        rotation.wait_for_key(NEW)
        rotation.central.keys.remove(OLD)
        since = len(rotation.central.ledger.arrivals)
        rotation.central.ledger.wait(lambda: len(rotation.central.ledger.arrivals) > since + 20)
    rotation.assert_each_arrived_once()
    assert rotation.central.refused == []
    assert rotation.agent.pids() == pids
    assert rotation.agent.ready()["ready"]


def test_a_key_that_was_revoked_before_its_file_was_replaced_costs_nothing_but_time(rotation: Rotation) -> None:
    pids = rotation.agent.pids()
    with rotation.requests_flow():
        rotation.wait_for_key(OLD)
        rotation.central.keys = {NEW}
        rotation.agent.wait(lambda: {"tasks", "heartbeat"} <= {call for call, _, _ in rotation.central.refused})
        rotation.replace_key(NEW)
        rotation.wait_for_key(NEW)
    rotation.assert_each_arrived_once()
    assert {status for _, status, _ in rotation.central.refused} == {401}
    refused = len(rotation.central.refused)
    rotation.agent.wait_ready()
    assert len(rotation.central.refused) == refused, "the old key is not used any more"
    assert rotation.agent.pids() == pids
