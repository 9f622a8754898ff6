"""Nodes: what is read of one, and the writes."""

from __future__ import annotations

from typing import Any

import pytest

from shared.kube.connection import Kube
from shared.kube.errors import Conflict, NotFound
from shared.kube.nodes import Nodes
from tests.sim.kube.cluster import Cluster


@pytest.fixture
def nodes(kube: Kube) -> Nodes:
    return Nodes(kube)


def spec(cluster: Cluster, name: str) -> dict[str, Any]:
    return dict((cluster.node(name) or {})["spec"])


def test_a_node_is_what_the_api_server_says(cluster: Cluster, nodes: Nodes) -> None:
    cluster.add_node("big", cpu=16, memory="64Gi", provider_id="aws:///us-east-1a/i-1", labels={"team": "a"})
    node = nodes.find("big")
    assert node.metadata.name == "big"
    assert (node.metadata.labels or {})["team"] == "a"
    assert node.spec.provider_id == "aws:///us-east-1a/i-1"
    assert (node.status.allocatable["cpu"], node.status.allocatable["memory"]) == ("16", "64Gi")
    assert not node.spec.unschedulable
    assert node.is_ready


@pytest.mark.parametrize("status", ["Unknown", "False"])
def test_a_lost_node_is_not_ready(cluster: Cluster, nodes: Nodes, status: str) -> None:
    cluster.node_not_ready("node-1", status)
    node = nodes.find("node-1")
    assert not node.is_ready
    assert node.ready is not None
    assert node.ready.status == status


def test_a_node_without_conditions_is_not_ready(cluster: Cluster, nodes: Nodes, kube: Kube) -> None:
    kube.call("POST", "/api/v1/nodes", None, {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "fresh"}})
    node = nodes.find("fresh")
    assert node.ready is None
    assert not node.is_ready


def test_a_node_that_is_not_there_is_not_found(nodes: Nodes) -> None:
    with pytest.raises(NotFound):
        nodes.find("none")
    with pytest.raises(NotFound):
        nodes.set_unschedulable("none", True)
    with pytest.raises(NotFound):
        nodes.set_labels("none", {"a": "b"})


def test_cordon_and_uncordon_are_one_field_that_leaves_nothing_behind(cluster: Cluster, nodes: Nodes) -> None:
    before = spec(cluster, "node-1")
    assert nodes.set_unschedulable("node-1", True).spec.unschedulable
    assert spec(cluster, "node-1")["unschedulable"] is True
    assert not nodes.set_unschedulable("node-1", False).spec.unschedulable
    cluster.wait_for(lambda: spec(cluster, "node-1") == before)


def test_labels_are_set_and_null_removes(cluster: Cluster, nodes: Nodes) -> None:
    nodes.set_labels("node-1", {"team": "a", "old": "x"})
    node = nodes.set_labels("node-1", {"team": "b", "old": None, "never-there": None, "empty": ""})
    labels = node.metadata.labels or {}
    assert (labels["team"], labels["empty"]) == ("b", "")
    assert {"old", "never-there"}.isdisjoint(labels)
    assert labels["kubernetes.io/hostname"] == "node-1", "the others stay"


def test_a_uid_is_a_precondition_of_every_write(cluster: Cluster, nodes: Nodes) -> None:
    uid = nodes.find("node-1").metadata.uid
    assert nodes.set_unschedulable("node-1", True, uid).spec.unschedulable
    assert (nodes.set_labels("node-1", {"team": "a"}, uid).metadata.labels or {})["team"] == "a"
    with pytest.raises(Conflict):
        nodes.set_unschedulable("node-1", False, "of-the-one-before")
    with pytest.raises(Conflict):
        nodes.set_labels("node-1", {"team": "b"}, "of-the-one-before")
    node = nodes.find("node-1")
    assert (node.spec.unschedulable, (node.metadata.labels or {})["team"]) == (True, "a")
