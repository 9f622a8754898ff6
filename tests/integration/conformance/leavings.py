"""Deleting and evicting, and what the controllers make of it."""

from __future__ import annotations

from typing import Any

from tests.integration.conformance.asking import MERGE, PROTOBUF, Ask
from tests.integration.conformance.case import (
    BUDGETS,
    MINE,
    NODE,
    PODS,
    SETS,
    Case,
    Object,
    a_node,
    gone,
    guarded,
    made,
    pod,
    running,
    with_a_pod,
)

_OTHER = "11111111-2222-4333-8444-555555555555"
_ENDING = ("metadata.name", "metadata.deletionGracePeriodSeconds", "metadata.deletionTimestamp", "metadata.finalizers")
_SET = f"{SETS}/{{me}}"
_FINALIZER = ["conformance.cloudoptim.io/held"]


def _delete(name: str, options: Any = None, *before: Ask, path: str = MINE, **more: Any) -> Case:
    return Case(name, Ask("DELETE", path, options, **more), before or (made(),), _ENDING)


def _eviction(name: str = "{me}", **options: Any) -> Object:
    body: Object = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name}}
    return {**body, "deleteOptions": options} if options else body


def _evict(name: str, *before: Ask, body: Any = None, query: str = "", **options: Any) -> Case:
    asked = Ask("POST", f"{MINE}/eviction{query}", _eviction(**options) if body is None else body)
    return Case(name, asked, before or (made(), running()))


def _after(name: str, *before: Ask, path: str = MINE, show: tuple[str, ...] = _ENDING, until: Any = None) -> Case:
    """What is there when something was done."""
    return Case(name, Ask("GET", path, until=until), before, show)


def _message(kind: str, api_version: str, raw: bytes) -> bytes:
    """A protobuf body as client-go sends it: the magic, then runtime.Unknown of a type and the object's bytes."""

    def field(number: int, value: bytes) -> bytes:
        return bytes([number << 3 | 2, len(value)]) + value

    meta = field(1, api_version.encode()) + field(2, kind.encode())
    return b"k8s\0" + field(1, meta) + field(2, raw) + field(3, b"") + field(4, b"")


_GRACE_OF_FIVE = b"\x08\x05"
"""DeleteOptions with gracePeriodSeconds 5."""

_HELD = (made(), running(), *guarded(maxUnavailable=0))
_EVICTED = Ask("POST", f"{MINE}/eviction", _eviction())
_DELETED = Ask("DELETE", MINE)
_OF_OTHER = {"preconditions": {"uid": _OTHER}}

DELETES = (
    Case("delete-missing", Ask("DELETE", MINE)),
    Case("delete-node-missing", Ask("DELETE", NODE)),
    Case("delete-set-missing", Ask("DELETE", _SET)),
    Case("delete-missing-of-another-uid", Ask("DELETE", MINE, _OF_OTHER)),
    _delete("delete-bound"),
    _delete("delete-unbound", None, made(node=None)),
    _delete("delete-its-uid", {"preconditions": {"uid": "{uid}"}}),
    _delete("delete-another-uid", _OF_OTHER),
    _delete("delete-another-version", {"preconditions": {"resourceVersion": "1"}}),
    _delete("delete-another-uid-and-version", {"preconditions": {"uid": _OTHER, "resourceVersion": "1"}}),
    _delete("delete-node-another-uid", _OF_OTHER, a_node(), path=NODE),
    _delete("delete-set-another-uid", _OF_OTHER, *with_a_pod(), path=_SET),
    _delete("delete-grace", {"gracePeriodSeconds": 7}),
    _delete("delete-grace-zero", {"gracePeriodSeconds": 0}),
    _delete("delete-grace-negative", {"gracePeriodSeconds": -1}),
    _delete("delete-grace-by-query", path=f"{MINE}?gracePeriodSeconds=7"),
    _delete("delete-grace-text", {"gracePeriodSeconds": "soon"}),
    _delete("delete-grace-text-by-query", path=f"{MINE}?gracePeriodSeconds=soon"),
    _delete("delete-dry-run", {"dryRun": ["All"]}),
    _delete("delete-dry-run-unknown", {"dryRun": ["Some"]}),
    _delete("delete-no-json", "{bad"),
    _delete("delete-of-another-kind", {"apiVersion": "v1", "kind": "Thing"}),
    _delete("delete-unknown-media", "x", kind="text/plain"),
    _delete("delete-options-of-policy", {"apiVersion": "policy/v1", "kind": "DeleteOptions", "gracePeriodSeconds": 5}),
    _delete("delete-propagation-unknown", {"propagationPolicy": "Sideways"}),
    _delete("delete-orphan-said-twice", {"propagationPolicy": "Orphan", "orphanDependents": True}),
    _delete("delete-by-protobuf", _message("DeleteOptions", "policy/v1", _GRACE_OF_FIVE), kind=PROTOBUF),
    _delete("delete-by-broken-protobuf", b"k8s\0\xff\xff", kind=PROTOBUF),
    _delete("delete-terminating-shorter", {"gracePeriodSeconds": 3}, made(grace=60), _DELETED),
    _delete("delete-terminating-longer", {"gracePeriodSeconds": 90}, made(grace=60), _DELETED),
    _delete("delete-terminating-unasked", None, made(grace=60), Ask("DELETE", MINE, {"gracePeriodSeconds": 20})),
    _delete("delete-terminating-zero", {"gracePeriodSeconds": 0}, made(grace=60), _DELETED),
    _delete("delete-terminating-another-uid", _OF_OTHER, made(), _DELETED),
    _delete("delete-finalized", None, made(finalizers=_FINALIZER)),
    _delete("delete-finalized-zero", {"gracePeriodSeconds": 0}, made(finalizers=_FINALIZER)),
    _delete(
        "delete-finalized-again", None, made(finalizers=_FINALIZER), Ask("DELETE", MINE, {"gracePeriodSeconds": 0})
    ),
    _delete("delete-ended", None, made(), Ask("PATCH", f"{MINE}/status", {"status": {"phase": "Succeeded"}}, MERGE)),
    _delete("delete-node", None, a_node(), path=NODE),
    _delete("delete-set", {"propagationPolicy": "Background"}, *with_a_pod(), path=_SET),
    _delete("delete-set-orphaning", {"propagationPolicy": "Orphan"}, *with_a_pod(), path=_SET),
    _delete("delete-set-in-the-foreground", {"propagationPolicy": "Foreground"}, *with_a_pod(), path=_SET),
    _delete("delete-budget", None, made(), running(), *guarded(maxUnavailable=1), path=f"{BUDGETS}/{{me}}"),
    Case(
        "delete-several",
        Ask("DELETE", f"{PODS}?labelSelector=app%3D{{me}}"),
        (made(), made(name="{me}-2")),
        ("items.0.metadata.name", "items.1.metadata.name"),
    ),
    # -- what is there afterwards ---------------------------------------------------------------
    _after("after-grace-zero", made(), Ask("DELETE", MINE, {"gracePeriodSeconds": 0})),
    _after("after-dry-run", made(), Ask("DELETE", MINE, {"dryRun": ["All"]})),
    _after(
        "after-finalizer-taken",
        made(finalizers=_FINALIZER),
        Ask("DELETE", MINE, {"gracePeriodSeconds": 0}),
        Ask("PATCH", MINE, {"metadata": {"finalizers": None}}, MERGE),
    ),
    _after(
        "after-orphaning",
        *with_a_pod(),
        Ask("DELETE", _SET, {"propagationPolicy": "Orphan"}),
        Ask("GET", _SET, until=gone),
        path=f"{PODS}/{{pod}}",
        show=("metadata.ownerReferences", "metadata.deletionTimestamp"),
    ),
    _after(
        "after-deleting-an-owner",
        *with_a_pod(),
        Ask("DELETE", _SET),
        path=f"{PODS}/{{pod}}",
        until=lambda answer: answer.code == 404 or answer.find("metadata", "deletionTimestamp"),
        show=_ENDING[1:],
    ),
    _after(
        "after-deleting-an-owner-in-the-foreground",
        *with_a_pod(),
        Ask("DELETE", _SET, {"propagationPolicy": "Foreground"}),
        Ask("GET", f"{PODS}/{{pod}}", until=lambda answer: bool(answer.find("metadata", "deletionTimestamp"))),
        path=_SET,
    ),
    _after(
        "after-owner-that-never-was",
        made(
            ownerReferences=[
                {"apiVersion": "apps/v1", "kind": "DaemonSet", "name": "gone", "uid": _OTHER, "controller": True}
            ]
        ),
        until=lambda answer: answer.code == 404 or answer.find("metadata", "deletionTimestamp"),
    ),
    _after("after-node-deleted", a_node(), Ask("POST", PODS, pod(node="{me}")), Ask("DELETE", NODE)),
)

EVICTIONS = (
    Case("evict-missing", _EVICTED),
    Case("evict-of-missing-namespace", Ask("POST", "/api/v1/namespaces/no-such/pods/p/eviction", _eviction("p"))),
    _evict("evict-running"),
    _evict("evict-pending", made()),
    _evict("evict-unbound", made(node=None)),
    _evict("evict-guarded", *_HELD),
    _evict("evict-guarded-pending", made(), *guarded(healthy=0, maxUnavailable=0)),
    _evict(
        "evict-guarded-ended",
        made(),
        Ask("PATCH", f"{MINE}/status", {"status": {"phase": "Failed"}}, MERGE),
        *guarded(healthy=0, maxUnavailable=0),
    ),
    _evict("evict-guarded-terminating", *_HELD, _DELETED),
    _evict(
        "evict-guarded-allowed",
        made(),
        running(),
        made(name="{me}-2"),
        running("{me}-2"),
        *guarded(healthy=2, minAvailable=1),
    ),
    _evict(
        "evict-guarded-spent",
        made(),
        running(),
        made(name="{me}-2"),
        running("{me}-2"),
        *guarded(healthy=2, minAvailable=1),
        Ask("POST", f"{PODS}/{{me}}-2/eviction", _eviction("{me}-2")),
        Ask("GET", f"{BUDGETS}/{{me}}", until=lambda a: a.find("status", "currentHealthy") == 1),
    ),
    _evict("evict-guarded-min", made(), running(), *guarded(minAvailable=1)),
    _evict("evict-guarded-unready", made(), running(ready="False"), *guarded(healthy=0, minAvailable=1)),
    _evict(
        "evict-guarded-unready-always",
        made(),
        running(ready="False"),
        *guarded(healthy=0, minAvailable=1, unhealthyPodEvictionPolicy="AlwaysAllow"),
    ),
    _evict(
        "evict-guarded-unready-healthy-enough",
        made(),
        running(ready="False"),
        made(name="{me}-2"),
        running("{me}-2"),
        *guarded(minAvailable=1),
    ),
    _evict("evict-guarded-percentage-of-bare-pods", made(), running(), *guarded(minAvailable="50%")),
    _evict("evict-two-budgets", made(), running(), *guarded(maxUnavailable=1), *guarded("{me}-2", maxUnavailable=1)),
    _evict("evict-another-uid", preconditions={"uid": _OTHER}),
    _evict("evict-its-uid", preconditions={"uid": "{uid}"}),
    _evict("evict-another-version", preconditions={"resourceVersion": "1"}),
    _evict("evict-guarded-another-uid", *_HELD, preconditions={"uid": _OTHER}),
    _evict(
        "evict-allowed-another-uid",
        made(),
        running(),
        made(name="{me}-2"),
        running("{me}-2"),
        *guarded(healthy=2, minAvailable=1),
        preconditions={"uid": _OTHER},
    ),
    _evict("evict-dry-run", dryRun=["All"]),
    _evict("evict-dry-run-by-query", query="?dryRun=All"),
    _evict("evict-dry-run-guarded", *_HELD, dryRun=["All"]),
    _evict("evict-dry-run-unknown", dryRun=["Some"]),
    _evict("evict-another-name", body=_eviction("x")),
    _evict("evict-without-name", body={"apiVersion": "policy/v1", "kind": "Eviction"}),
    _evict("evict-another-namespace", body={**_eviction(), "metadata": {"name": "{me}", "namespace": "default"}}),
    _evict("evict-another-kind", body={"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "{me}"}}),
    _evict("evict-of-no-kind", body={"metadata": {"name": "{me}"}}),
    _evict("evict-beta", body={**_eviction(), "apiVersion": "policy/v1beta1"}),
    _evict("evict-version-unknown", body={**_eviction(), "apiVersion": "policy/v9"}),
    _evict("evict-empty-body", body=""),
    _evict("evict-no-json", body="{bad"),
    _evict("evict-grace-negative", gracePeriodSeconds=-1),
    _evict("evict-grace-text", gracePeriodSeconds="soon"),
    _evict("evict-finalized", made(finalizers=_FINALIZER), running()),
    _evict("evict-again", made(), running(), _EVICTED),
    _evict("evict-mirror", made(annotations={"kubernetes.io/config.mirror": "c0ffee"}), running()),
    _after(
        "after-eviction",
        made(),
        running(),
        _EVICTED,
        show=(
            *_ENDING,
            "status.conditions.1.type",
            "status.conditions.1.reason",
            "status.conditions.1.message",
            "status.phase",
        ),
    ),
    _after("after-eviction-grace", made(), running(), Ask("POST", f"{MINE}/eviction", _eviction(gracePeriodSeconds=5))),
    _after(
        "after-eviction-dry-run",
        made(),
        running(),
        Ask("POST", f"{MINE}/eviction", _eviction(dryRun=["All"])),
        show=(*_ENDING, "status.conditions.1.type"),
    ),
    _after(
        "after-evicting-shorter",
        made(grace=60),
        running(),
        _DELETED,
        Ask("POST", f"{MINE}/eviction", _eviction(gracePeriodSeconds=3)),
    ),
    _after(
        "after-spending",
        made(),
        running(),
        made(name="{me}-2"),
        running("{me}-2"),
        *guarded(healthy=2, minAvailable=1),
        _EVICTED,
        path=f"{BUDGETS}/{{me}}",
        until=lambda a: a.find("status", "disruptionsAllowed") == 0,
        show=(
            "status.disruptionsAllowed",
            "status.desiredHealthy",
            "status.conditions.0.type",
            "status.conditions.0.status",
            "status.conditions.0.reason",
        ),
    ),
    # A namespace that goes: last, it is another one.
    Case(
        "evict-in-a-namespace-that-goes",
        Ask("POST", "/api/v1/namespaces/{me}/pods/held/eviction", _eviction("held")),
        (
            Ask("POST", "/api/v1/namespaces", {"metadata": {"name": "{me}"}}),
            Ask("GET", "/api/v1/namespaces/{me}/serviceaccounts/default", until=lambda a: a.code == 200),
            Ask("POST", "/api/v1/namespaces/{me}/pods", pod("held", finalizers=_FINALIZER)),
            Ask("DELETE", "/api/v1/namespaces/{me}"),
        ),
    ),
    Case(
        "create-in-a-namespace-that-goes",
        Ask("POST", "/api/v1/namespaces/{me}/pods", pod("new")),
        (
            Ask("POST", "/api/v1/namespaces", {"metadata": {"name": "{me}"}}),
            Ask("GET", "/api/v1/namespaces/{me}/serviceaccounts/default", until=lambda a: a.code == 200),
            Ask("POST", "/api/v1/namespaces/{me}/pods", pod("held", finalizers=_FINALIZER)),
            Ask("DELETE", "/api/v1/namespaces/{me}"),
        ),
    ),
)
