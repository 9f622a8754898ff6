"""What the cluster's owner set holds, whatever Central asks, and Central can stop what it began."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from shared.kube.connection import MERGE_PATCH
from shared.schemas.parameters import PARAMETERS
from tests.integration.shipped import Shipped, shipped
from tests.sim.central.ledger import Json

LIMIT = 3
"""Nodes that may be cordoned at once."""


@dataclass(frozen=True)
class Owned:
    """A cluster whose owner has a switch to pause tasks, the key of a mounted ConfigMap."""

    shop: Shipped
    switch: Path

    def pause(self, content: str) -> None:
        """Set the switch as the kubelet does: a new file in the old one's place."""
        new = self.switch.with_suffix(".new")
        new.write_text(content)
        new.replace(self.switch)

    def tried(self, task_type: str = "uncordon_node", node: str = "node-1") -> Json:
        return self.shop.result(self.shop.push(task_type, node))


@pytest.fixture(scope="module")
def module(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Owned]:
    folder = tmp_path_factory.mktemp("guarded")
    switch = folder / "tasks-paused"
    env = {"LIMITS_DIR": str(folder), "MAX_CORDONED_NODES": str(LIMIT)}
    with shipped(folder, nodes=6, env=env) as shop:
        yield Owned(shop, switch)


@pytest.fixture
def owned(module: Owned) -> Owned:
    """All nodes schedulable, nothing paused."""
    module.pause("false")
    for number in range(1, 7):
        if module.shop.is_cordoned(f"node-{number}"):
            assert module.tried("uncordon_node", f"node-{number}")["status"] == "success"
    return module


@pytest.fixture(scope="module")
def restricted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shipped]:
    """Its owner allows cordoning and nothing else."""
    env = {"ALLOWED_TASK_TYPES": "cordon_node,uncordon_node"}
    with shipped(tmp_path_factory.mktemp("restricted"), nodes=2, env=env) as shop:
        yield shop


# -- paused ---------------------------------------------------------------------------------------


def test_the_mounted_switch_pauses_and_unpauses_without_a_restart(owned: Owned) -> None:
    pids = owned.shop.agent.pids()
    assert owned.tried()["status"] == "success"
    owned.pause("true\n")
    refused = owned.tried("cordon_node")
    assert refused["status"] == "failed"
    assert refused["error"] == (f"tasks are paused by the cluster's owner: {owned.switch} says so")
    assert not owned.shop.is_cordoned("node-1")
    owned.pause("false")
    assert owned.tried()["status"] == "success"
    assert owned.shop.agent.pids() == pids


def test_a_switch_nobody_can_read_pauses_and_one_that_is_gone_does_not(owned: Owned) -> None:
    owned.pause("perhaps")
    assert "tasks-paused: expected true or false" in owned.tried()["error"]
    owned.switch.unlink()
    assert owned.tried()["status"] == "success"


def test_pausing_refuses_what_waits_and_stops_what_runs_until_the_pause_ends(owned: Owned) -> None:
    """The owner's brake: nothing further is evicted, though the budget would let it; then the drain goes on."""
    shop = owned.shop
    drain = shop.draining("node-6")
    waits = shop.push("uncordon_node", "node-6")
    shop.agent.wait(lambda: any(line.get("task_id") == waits for line in shop.logged("claimed uncordon_node")))
    owned.pause("true")
    shop.agent.wait(lambda: shop.logged("paused by the cluster's owner"))
    shop.let_go("node-6")
    evicted = len(shop.cluster.audit.select(subresource="eviction", code=201))
    time.sleep(7)  # A budget's pause, and more.
    assert len(shop.cluster.audit.select(subresource="eviction", code=201)) == evicted
    assert not shop.central.ledger.results(drain)
    owned.pause("false")
    assert shop.result(drain)["status"] == "success"
    assert shop.result(waits)["status"] == "success"
    assert not shop.is_cordoned("node-6")


def test_the_variable_pauses_every_type(tmp_path: Path) -> None:
    with shipped(tmp_path, nodes=1, env={"TASKS_PAUSED": "true"}) as shop:
        for task_type in PARAMETERS:
            parameters = {"node_name": "node-1", "namespace": "shop", "pod_name": "web-0", "labels": {"a": "b"}}
            wanted = {name: parameters[name] for name in PARAMETERS[task_type].model_fields if name in parameters}
            result = shop.result(shop.central.offer(shop.central.task(task_type, wanted)))
            assert result["status"] == "failed"
            assert result["error"] == "tasks are paused by the cluster's owner: TASKS_PAUSED is true"
        writes = [entry for entry in shop.cluster.audit if entry.verb not in ("get", "list", "watch")]
        assert not writes


# -- allowed types --------------------------------------------------------------------------------


def test_only_allowed_types_run_and_central_is_told_which_these_are(restricted: Shipped) -> None:
    result = restricted.result(restricted.offer("drain_node", "node-1"))
    assert result["status"] == "failed"
    assert result["error"] == (
        "the cluster's owner does not allow drain_node: ALLOWED_TASK_TYPES is cordon_node, uncordon_node"
    )
    assert not restricted.is_cordoned("node-1")
    assert restricted.result(restricted.offer("cordon_node", "node-1"))["status"] == "success"
    (registration,) = restricted.central.ledger.of("register")
    assert sorted(registration.body["task_types"]) == ["cordon_node", "uncordon_node"]


def test_a_read_only_agent_registers_without_types_and_reports_as_ever(tmp_path: Path) -> None:
    with shipped(tmp_path, nodes=2, env={"READ_ONLY": "true"}) as shop:
        (registration,) = shop.central.ledger.of("register")
        assert registration.body["task_types"] == []
        assert shop.logged("without task types: the agent is read-only", "heartbeat")
        for task_type in ("cordon_node", "drain_node"):
            result = shop.result(shop.push(task_type, "node-1"))
            assert result["status"] == "failed"
            assert result["error"] == "this agent is read-only: the cluster's owner set READ_ONLY"
        shop.central.ledger.wait(lambda: shop.central.ledger.of("metrics"))
        shop.cluster.fail_scheduling("batch", "huge")
        shop.central.ledger.wait(lambda: shop.central.ledger.of("events"))
        assert shop.agent.ready()["ready"]
        assert not [
            entry for entry in shop.cluster.audit if "agent" in entry.user and entry.verb in ("patch", "create")
        ]


# -- cordoned nodes -------------------------------------------------------------------------------


def test_nodes_that_anyone_cordoned_count(owned: Owned) -> None:
    """Two by a person with kubectl, one by us: that is the limit, for a cordon and for a drain."""
    shop = owned.shop
    for node in ("node-4", "node-5"):
        shop.admin.call("PATCH", f"/api/v1/nodes/{node}", None, {"spec": {"unschedulable": True}}, MERGE_PATCH)
    assert owned.tried("cordon_node", "node-1")["status"] == "success"
    for task_type in ("cordon_node", "drain_node"):
        refused = owned.tried(task_type, "node-2")
        assert refused["status"] == "failed"
        assert refused["error"] == ("MAX_CORDONED_NODES is 3 and 3 nodes are cordoned already (node-1, node-4, node-5)")
    assert not shop.is_cordoned("node-2")
    assert owned.tried("drain_node", "node-1")["status"] == "success", "it is cordoned already"
    assert owned.tried("uncordon_node", "node-4")["status"] == "success"
    assert owned.tried("drain_node", "node-2")["status"] == "success"


def test_many_at_once_do_not_get_past_the_limit(owned: Owned) -> None:
    shop = owned.shop
    tasks = [shop.central.task("cordon_node", {"node_name": f"node-{number}"}) for number in range(1, 7)]
    shop.central.push(tasks)
    statuses = [shop.result(task["task_id"])["status"] for task in tasks]
    assert sorted(statuses) == ["failed"] * 3 + ["success"] * LIMIT
    assert sum(shop.is_cordoned(f"node-{number}") for number in range(1, 7)) == LIMIT


# -- cancelling -----------------------------------------------------------------------------------


def test_a_cancel_frame_stops_a_running_drain_at_its_next_safe_point(owned: Owned) -> None:
    shop = owned.shop
    task_id = shop.draining("node-3")
    result = shop.cancel(task_id)
    assert result["status"] == "failed"
    assert result["error"].startswith("cancelled; Node still has 1 pods")
    evictions = len(shop.cluster.audit.select(verb="create", subresource="eviction"))
    shop.polls(3)
    assert len(shop.cluster.audit.select(verb="create", subresource="eviction")) == evictions
    assert shop.is_cordoned("node-3"), "that is for Central to decide"
    assert len(shop.central.ledger.results(task_id)) == 1


def test_a_cancelled_drain_gives_the_node_back_when_it_was_asked_to(owned: Owned) -> None:
    result = owned.shop.cancel(owned.shop.draining("node-2", uncordon_on_failure=True))
    assert result["error"].startswith("cancelled")
    assert not owned.shop.is_cordoned("node-2")


def test_a_cancel_frame_takes_back_what_has_not_begun(owned: Owned) -> None:
    shop = owned.shop
    drain = shop.draining("node-1")
    waits = shop.push("uncordon_node", "node-1")
    assert shop.cancel(waits)["error"] == "cancelled before it started"
    shop.cancel(drain)
    assert shop.is_cordoned("node-1")
