"""Creating, patching and replacing."""

from __future__ import annotations

from typing import Any

from tests.integration.conformance.asking import JSON_PATCH, MERGE, STRATEGIC, Ask
from tests.integration.conformance.case import (
    BUDGETS,
    MINE,
    NODE,
    OTHER,
    PODS,
    SETS,
    UID,
    VERSION,
    Case,
    Object,
    a_node,
    budget,
    made,
    node,
    pod,
    replica_set,
)


def _create(name: str, path: str, body: Any, *before: Ask, **options: Any) -> Case:
    return Case(name, Ask("POST", path, body, **options), before, ("metadata.name",))


def _patch_node(name: str, body: Any, kind: str = MERGE, query: str = "", show: tuple[str, ...] = ()) -> Case:
    return Case(name, Ask("PATCH", NODE + query, body, kind), (a_node(),), show)


def _patch_pod(name: str, body: Any, kind: str = MERGE, subresource: str = "", show: tuple[str, ...] = ()) -> Case:
    return Case(name, Ask("PATCH", MINE + subresource, body, kind), (made(),), show)


def _labels(**labels: Any) -> Object:
    return {"metadata": {"labels": labels}}


_TWICE = Ask("PATCH", NODE, _labels(first="a"), MERGE)

WRITES = (
    # -- create ---------------------------------------------------------------------------------
    _create("create-without-name", PODS, pod(name="")),
    _create("create-bad-name", PODS, pod(name="Not_A_Name")),
    _create("create-without-containers", PODS, {"metadata": {"name": "{me}"}, "spec": {}}),
    _create("create-container-without-name", PODS, {"metadata": {"name": "{me}"}, "spec": {"containers": [{}]}}),
    _create("create-exists", PODS, pod(), made()),
    _create("create-in-missing-namespace", "/api/v1/namespaces/no-such/pods", pod()),
    _create("create-for-another-namespace", PODS, pod(namespace="default")),
    _create("create-another-kind", PODS, {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "{me}"}}),
    _create("create-of-no-kind-known", PODS, {"apiVersion": "v1", "kind": "Thing", "metadata": {"name": "{me}"}}),
    _create("create-no-json", PODS, "{bad"),
    _create("create-empty-body", PODS, ""),
    _create("create-a-list", PODS, "[]"),
    _create("create-unknown-media", PODS, "x", kind="text/plain"),
    _create("create-dry-run", f"{PODS}?dryRun=All", pod()),
    _create("create-dry-run-unknown", f"{PODS}?dryRun=Some", pod()),
    _create("create-with-version", PODS, pod(resourceVersion="5")),
    _create("create-bad-label", PODS, pod(labels={"app": "not a value!"})),
    _create("create-of-unknown-account", PODS, {**pod(), "spec": {**pod()["spec"], "serviceAccountName": "none"}}),
    _create("create-node-exists", "/api/v1/nodes", node(), a_node()),
    _create(
        "create-node-bad-taint", "/api/v1/nodes", {**node(), "spec": {"taints": [{"key": "a", "effect": "Never"}]}}
    ),
    _create("create-budget-of-both", BUDGETS, budget(minAvailable=1, maxUnavailable=1)),
    _create("create-budget-bad-percentage", BUDGETS, budget(minAvailable="a lot")),
    _create("create-budget-negative", BUDGETS, budget(maxUnavailable=-1)),
    _create("create-budget-unknown-policy", BUDGETS, budget(maxUnavailable=1, unhealthyPodEvictionPolicy="Never")),
    _create("create-set-without-selector", SETS, {"metadata": {"name": "{me}"}, "spec": {}}),
    _create("create-namespace-exists", "/api/v1/namespaces", {"metadata": {"name": "{ns}"}}),
    _create("create-namespace-bad-name", "/api/v1/namespaces", {"metadata": {"name": "a.b"}}),
    _create("create-owner-without-uid", PODS, pod(ownerReferences=[{"apiVersion": "v1", "kind": "Node", "name": "x"}])),
    # -- patch ----------------------------------------------------------------------------------
    Case("patch-node-missing", Ask("PATCH", NODE, {}, MERGE)),
    Case("patch-pod-missing", Ask("PATCH", MINE, {}, MERGE)),
    Case("patch-status-missing", Ask("PATCH", f"{MINE}/status", {}, MERGE)),
    _patch_node("patch-media-missing", {}, "application/json"),
    _patch_node("patch-media-unknown", "x", "text/plain"),
    _patch_node("patch-no-json", "{bad"),
    _patch_node("patch-no-json-strategic", "{bad", STRATEGIC),
    _patch_node("patch-a-list", "[]"),
    _patch_node("patch-a-list-strategic", "[]", STRATEGIC),
    _patch_node("patch-empty", ""),
    _patch_node("patch-text", '"x"'),
    _patch_node("patch-json-object", "{}", JSON_PATCH),
    _patch_node(
        "patch-json-unknown-operation", [{"op": "paint", "path": "/metadata/labels/a", "value": "b"}], JSON_PATCH
    ),
    _patch_node("patch-json-test-fails", [{"op": "test", "path": "/metadata/name", "value": "b"}], JSON_PATCH),
    _patch_node("patch-json-remove-missing", [{"op": "remove", "path": "/metadata/labels/none"}], JSON_PATCH),
    _patch_node(
        "patch-json-add",
        [{"op": "add", "path": "/metadata/labels/a~1b", "value": "c"}],
        JSON_PATCH,
        show=("metadata.labels",),
    ),
    _patch_node("patch-another-name", {"metadata": {"name": "x"}}),
    _patch_node("patch-bad-label", _labels(ok="bad value!")),
    _patch_node("patch-bad-label-key", {"metadata": {"labels": {"a/b/c": "v"}}}),
    _patch_node("patch-long-label", _labels(ok="x" * 64)),
    _patch_node("patch-label-number", _labels(x=5)),
    _patch_node("patch-label-number-strategic", _labels(x=5), STRATEGIC),
    _patch_node("patch-labels-list-strategic", {"metadata": {"labels": ["x"]}}, STRATEGIC),
    _patch_node("patch-unschedulable-text", {"spec": {"unschedulable": "yes"}}),
    _patch_node("patch-unschedulable-text-strategic", {"spec": {"unschedulable": "yes"}}, STRATEGIC),
    _patch_node("patch-cordon", {"spec": {"unschedulable": True}}, show=("spec.unschedulable",)),
    _patch_node("patch-cordon-strategic", {"spec": {"unschedulable": True}}, STRATEGIC, show=("spec.unschedulable",)),
    _patch_node("patch-uncordon", {"spec": {"unschedulable": None}}, show=("spec.unschedulable",)),
    _patch_node("patch-uncordon-by-false", {"spec": {"unschedulable": False}}, show=("spec.unschedulable",)),
    _patch_node("patch-dry-run", {"spec": {"unschedulable": True}}, query="?dryRun=All", show=("spec.unschedulable",)),
    _patch_node("patch-dry-run-unknown", {}, query="?dryRun=Some"),
    _patch_node("patch-bad-taint", {"spec": {"taints": [{"key": "a", "effect": "Never"}]}}),
    _patch_node("patch-taint-without-effect", {"spec": {"taints": [{"key": "a"}]}}),
    _patch_node("patch-two-taints-alike", {"spec": {"taints": [{"key": "a", "effect": "NoSchedule"}] * 2}}),
    Case(
        "patch-version-that-is",
        Ask("PATCH", MINE, {"metadata": {"resourceVersion": "{version}", "labels": {"a": "b"}}}, MERGE),
        (Ask("POST", PODS, pod(), keep=VERSION),),
        ("metadata.labels",),
    ),
    Case(
        "patch-version-that-was",
        Ask("PATCH", NODE, {"metadata": {"resourceVersion": "{version}"}, "spec": {"unschedulable": True}}, MERGE),
        (a_node(), _TWICE),
    ),
    Case(
        "patch-version-that-was-strategic",
        Ask("PATCH", NODE, {"metadata": {"resourceVersion": "{version}"}, "spec": {"unschedulable": True}}, STRATEGIC),
        (a_node(), _TWICE),
    ),
    Case(
        "patch-version-that-was-changing-nothing",
        Ask("PATCH", NODE, {"metadata": {"resourceVersion": "{version}"}}, MERGE),
        (a_node(), _TWICE),
    ),
    _patch_node("patch-version-nonsense", {"metadata": {"resourceVersion": "abc"}, "spec": {"unschedulable": True}}),
    _patch_node("patch-another-uid", {"metadata": {"uid": OTHER}, "spec": {"unschedulable": True}}),
    _patch_node("patch-another-uid-strategic", {"metadata": {"uid": OTHER}}, STRATEGIC),
    _patch_node("patch-its-uid", {"metadata": {"uid": "{uid}"}}, show=("metadata.name",)),
    Case(
        "patch-provider-id-again",
        Ask("PATCH", NODE, {"spec": {"providerID": "other://x"}}, MERGE),
        (a_node(), Ask("PATCH", NODE, {"spec": {"providerID": "conformance://{me}"}}, MERGE)),
    ),
    _patch_pod("patch-pod-label", _labels(a="b"), show=("metadata.labels",)),
    _patch_pod("patch-pod-label-removed", _labels(app=None), show=("metadata.labels",)),
    _patch_pod("patch-pod-another-uid", {"metadata": {"uid": OTHER, "labels": {"a": "b"}}}),
    _patch_pod("patch-pod-node", {"spec": {"nodeName": "elsewhere"}}),
    _patch_pod("patch-pod-grace", {"spec": {"terminationGracePeriodSeconds": 5}}),
    _patch_pod("patch-pod-finalizer-bad", {"metadata": {"finalizers": ["plain"]}}),
    _patch_pod(
        "patch-pod-status",
        {"status": {"phase": "Failed", "reason": "Why"}},
        show=("status.phase",),
        subresource="/status",
    ),
    _patch_pod(
        "patch-pod-status-spec-ignored", {"spec": {"nodeName": "x"}}, show=("metadata.name",), subresource="/status"
    ),
    Case(
        "patch-owner-of-another-uid",
        Ask("PATCH", MINE, {"metadata": {"ownerReferences": [{"$patch": "delete", "uid": "{uid}"}]}}, STRATEGIC),
        (made(),),
        ("metadata.ownerReferences",),
    ),
    # -- replace --------------------------------------------------------------------------------
    Case("put-missing", Ask("PUT", MINE, pod())),
    Case("put-another-name", Ask("PUT", NODE, node(name="x")), (a_node(),)),
    Case("put-without-name", Ask("PUT", NODE, node(name="")), (a_node(),)),
    Case("put-without-version", Ask("PUT", NODE, node()), (a_node(),), ("metadata.name",)),
    Case("put-version-that-was", Ask("PUT", NODE, node(resourceVersion="{version}")), (a_node(), _TWICE)),
    Case("put-another-uid", Ask("PUT", NODE, node(uid=OTHER)), (a_node(),)),
    Case(
        "put-budget-without-version",
        Ask("PUT", f"{BUDGETS}/{{me}}", budget(maxUnavailable=2)),
        (Ask("POST", BUDGETS, budget(maxUnavailable=1)),),
        ("spec.maxUnavailable",),
    ),
    Case("put-pod-another-spec", Ask("PUT", MINE, pod(grace=5)), (made(),)),
    Case(
        "put-set-selector",
        Ask("PUT", f"{SETS}/{{me}}", {**replica_set(0), "spec": {**replica_set(0)["spec"], "replicas": -1}}),
        (Ask("POST", SETS, replica_set(0), keep=UID),),
    ),
)
