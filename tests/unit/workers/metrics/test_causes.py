"""Who causes a cost: told from the pod alone."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from shared.kube.objects import Meta
from workers.metrics.causes import Cause, cause_of


def meta(
    name: str = "web-5d9c7b8f6d-x2x4z",
    kind: str | None = None,
    owner: str = "",
    labels: dict[str, str] | None = None,
    created: str = "2026-11-25T07:30:12Z",
    **reference: Any,
) -> Meta:
    owners = [{"kind": kind, "name": owner, "controller": True, "apiVersion": "apps/v1", **reference}] if kind else []
    content = {"name": name, "namespace": "shop", "labels": labels, "ownerReferences": owners}
    return msgspec.convert({**content, "creationTimestamp": created}, Meta)


def told(given: Meta) -> tuple[str, str]:
    cause = cause_of(given, "node-1")
    assert cause.namespace == "shop"
    return cause.kind, cause.name


def test_a_replica_set_counts_for_its_deployment() -> None:
    hashed = {"pod-template-hash": "5d9c7b8f6d"}
    assert told(meta(kind="ReplicaSet", owner="web-5d9c7b8f6d", labels=hashed)) == ("Deployment", "web")
    rollout = {"rollouts-pod-template-hash": "5d9c7b8f6d"}
    assert told(meta(kind="ReplicaSet", owner="web-5d9c7b8f6d", labels=rollout)) == ("Rollout", "web")


@pytest.mark.parametrize("labels", [None, {"pod-template-hash": ""}, {"pod-template-hash": "other"}])
def test_a_replica_set_of_nobody_counts_for_itself(labels: dict[str, str] | None) -> None:
    assert told(meta(kind="ReplicaSet", owner="web-5d9c7b8f6d", labels=labels)) == ("ReplicaSet", "web-5d9c7b8f6d")


@pytest.mark.parametrize("kind", ["StatefulSet", "DaemonSet", "ReplicationController", "Sandbox"])
def test_any_other_controller_counts_by_its_kind_and_name(kind: str) -> None:
    assert told(meta(kind=kind, owner="db")) == (kind, "db")


def test_a_job_counts_for_the_cron_job_that_made_it_if_that_is_sure() -> None:
    """29926530 minutes after 1970 it was 2026-11-25, 07:30."""
    assert told(meta(kind="Job", owner="report-29926530")) == ("CronJob", "report")
    assert told(meta(kind="Job", owner="report-29926530", created="2026-11-30T00:00:00Z")) == ("CronJob", "report")
    for name in ("report", "report-7", "import-20261125", "report-29926540", "report-29900000"):
        assert told(meta(kind="Job", owner=name)) == ("Job", name)


def test_a_bare_pod_and_a_static_one_count_for_themselves() -> None:
    assert told(meta("bare")) == ("Pod", "bare")
    assert told(meta("bare", kind="ReplicaSet", owner="web", controller=False)) == ("Pod", "bare")
    static = meta("kube-proxy-node-1", kind="Node", owner="node-1", apiVersion="v1")
    assert told(static) == ("StaticPod", "kube-proxy"), "one for all nodes, whose names the kubelets append"


def test_a_controller_that_cannot_be_one_fills_no_sample() -> None:
    """The API server does not look at what a pod's maker writes into its ownerReferences."""
    assert told(meta(kind="K" * 10_000, owner="o" * 10_000)) == ("K" * 63, "o" * 253)


def test_the_owner_may_group_by_labels() -> None:
    given = meta("bare", labels={"team": "blue", "app": "web", "tier": "1"})
    assert cause_of(given, "node-1", ("team", "cost-centre", "app")) == Cause(
        "shop", "Pod", "bare", ("blue", "", "web")
    )
