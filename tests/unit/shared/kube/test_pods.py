"""Pods: what tasks need to know of one, and the label patch."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from shared.kube.connection import Kube
from shared.kube.errors import Conflict, NotFound
from shared.kube.pods import KEPT_ANNOTATIONS, KEPT_LABELS, MIRROR, Pod, Pods, compact, on_node
from tests.sim.kube.cluster import Cluster
from workers.task_runner.guards.law import PROTECTED
from workers.task_runner.leaving import plan
from workers.task_runner.operations import replacement


def pod(**parts: Any) -> Pod:
    return msgspec.convert({"metadata": {"name": "web-0", "namespace": "shop", "uid": "uid-1"}, **parts}, Pod)


def test_a_pod_is_what_the_api_server_says(cluster: Cluster, kube: Kube) -> None:
    cluster.add_deployment("shop", "web", 1, node="node-1", grace=45, empty_dir=True, priority_class="high")
    (found,) = Pods(kube, "shop").latest()
    assert found.name == f"shop/{found.metadata.name}"
    assert found.uid == found.metadata.uid
    assert found.controller is not None
    assert (found.controller.kind, found.controller.name.rpartition("-")[0]) == ("ReplicaSet", "web")
    assert found.spec.node_name == "node-1"
    assert found.spec.termination_grace_period_seconds == 45
    assert found.spec.priority_class_name == "high"
    assert any(volume.empty_dir is not None for volume in found.spec.volumes or ())
    assert found.is_ready
    assert not found.terminating
    assert not found.ended


@pytest.mark.parametrize(
    ("phase", "ended"),
    [("Succeeded", True), ("Failed", True), ("Running", False), ("Pending", False), ("Unknown", False), ("", False)],
)
def test_a_pod_has_ended_when_nothing_runs_any_more(phase: str, ended: bool) -> None:
    assert pod(status={"phase": phase}).ended is ended


def test_a_pod_terminates_from_its_deletion_timestamp_on() -> None:
    deleted = {"name": "a", "deletionTimestamp": "2026-03-01T12:00:00Z"}
    assert pod(metadata=deleted).terminating
    assert not pod().terminating


@pytest.mark.parametrize(
    ("conditions", "ready"),
    [
        (None, False),
        ([], False),
        ([{"type": "Ready", "status": "True"}], True),
        ([{"type": "Ready", "status": "False"}], False),
        ([{"type": "ContainersReady", "status": "True"}], False),
    ],
)
def test_a_pod_is_ready_when_its_condition_says_so(conditions: list[dict[str, str]] | None, ready: bool) -> None:
    assert pod(status={"conditions": conditions}).is_ready is ready


def test_only_the_controlling_owner_counts() -> None:
    other = {"kind": "ReplicaSet", "name": "x", "uid": "1"}
    real = {"kind": "DaemonSet", "name": "y", "uid": "2", "controller": True}
    for owners, name in (([other, real], "y"), ([other], None), ([], None), (None, None)):
        controller = pod(metadata={"name": "a", "ownerReferences": owners}).controller
        assert (controller.name if controller else None) == name


def test_labels_and_annotations_may_be_absent() -> None:
    assert pod().label("a") is None
    assert pod().annotation("a") is None
    both = pod(metadata={"name": "a", "labels": {"a": "1"}, "annotations": {"a": "2"}})
    assert (both.label("a"), both.annotation("a")) == ("1", "2")


def test_pods_may_be_those_of_one_namespace_or_of_one_node(cluster: Cluster, kube: Kube) -> None:
    cluster.add_pod("shop", "a", "node-1")
    cluster.add_pod("batch", "b", "node-1")
    cluster.add_pod("batch", "c", "node-2")
    assert [found.name for found in Pods(kube, "batch").latest()] == ["batch/b", "batch/c"]
    assert [found.name for found in Pods(kube).latest(on_node("node-1"))] == ["batch/b", "shop/a"]


def test_labels_are_set_on_exactly_the_pod_that_was_meant(cluster: Cluster, kube: Kube) -> None:
    uid = cluster.add_pod("shop", "a", "node-1", labels={"old": "x"})["metadata"]["uid"]
    changed = Pods(kube).set_labels("shop", "a", {"team": "b", "old": None}, uid)
    assert changed.metadata.labels == {"app": "a", "team": "b"}
    with pytest.raises(Conflict, match="uid: Invalid value"):
        Pods(kube).set_labels("shop", "a", {"team": "c"}, "another-uid")
    with pytest.raises(NotFound):
        Pods(kube).set_labels("shop", "none", {"team": "c"}, uid)
    assert (cluster.pod("shop", "a") or {})["metadata"]["labels"]["team"] == "b"


def test_what_is_kept_of_a_pod_is_all_that_anything_is_decided_by() -> None:
    """A label or an annotation that a decision reads is never left out."""
    assert {PROTECTED, plan._CLUSTER_API, *replacement._SELECTIVE_LABELS} <= KEPT_LABELS
    assert {MIRROR, plan._KARPENTER, plan._AUTOSCALER} <= KEPT_ANNOTATIONS


def test_a_compact_pod_tells_what_the_whole_one_does() -> None:
    whole = msgspec.convert(
        {
            "kind": "Pod",
            "metadata": {
                "name": "web-0",
                "namespace": "shop",
                "uid": "u",
                "resourceVersion": "7",
                "deletionTimestamp": "2026-03-01T12:00:00Z",
                "finalizers": ["keep"],
                "labels": {"app": "web", "pod-template-hash": "abc", "cluster.x-k8s.io/drain": "skip"},
                "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{}" * 500, MIRROR: "x"},
                "ownerReferences": [
                    {"apiVersion": "v1", "kind": "Node", "name": "a", "uid": "n"},
                    {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web", "uid": "r", "controller": True},
                ],
            },
            "spec": {
                "nodeName": "node-1",
                "priorityClassName": "system-node-critical",
                "terminationGracePeriodSeconds": 7,
                "tolerations": [{"operator": "Exists", "effect": "NoExecute"}, {"operator": "Exists"}],
                "volumes": [{"name": "token"}, {"name": "scratch", "emptyDir": {}}],
            },
            "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True", "reason": "r"}]},
        },
        Pod,
    )
    kept = compact(whole)
    for fact in ("name", "uid", "controller", "is_static", "ended", "terminating", "is_ready"):
        assert getattr(kept, fact) == getattr(whole, fact), fact
    assert kept.metadata.finalizers == ["keep"]
    assert kept.metadata.labels == {"pod-template-hash": "abc", "cluster.x-k8s.io/drain": "skip"}
    assert kept.metadata.annotations == {MIRROR: "x"}
    assert [volume.name for volume in kept.spec.volumes or ()] == ["scratch"]
    assert len(kept.spec.tolerations or ()) == 1
    assert kept.spec.termination_grace_period_seconds == 7
    assert compact(kept) == kept
