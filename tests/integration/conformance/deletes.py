"""Deleting, and what the controllers make of it."""

from __future__ import annotations

from typing import Any

from tests.integration.conformance.asking import MERGE, PROTOBUF, Ask
from tests.integration.conformance.case import (
    BUDGETS,
    ENDING,
    FINALIZER,
    MINE,
    NODE,
    OF_OTHER,
    OTHER,
    PODS,
    SETS,
    Case,
    a_node,
    after,
    gone,
    guarded,
    made,
    pod,
    running,
    with_a_pod,
)

_SET = f"{SETS}/{{me}}"
_DELETED = Ask("DELETE", MINE)


def _delete(name: str, options: Any = None, *before: Ask, path: str = MINE, **more: Any) -> Case:
    return Case(name, Ask("DELETE", path, options, **more), before or (made(),), ENDING)


def _message(kind: str, api_version: str, raw: bytes) -> bytes:
    """A protobuf body as client-go sends it: the magic, then runtime.Unknown of a type and the object's bytes."""

    def field(number: int, value: bytes) -> bytes:
        return bytes([number << 3 | 2, len(value)]) + value

    meta = field(1, api_version.encode()) + field(2, kind.encode())
    return b"k8s\0" + field(1, meta) + field(2, raw) + field(3, b"") + field(4, b"")


_GRACE_OF_FIVE = b"\x08\x05"
"""DeleteOptions with gracePeriodSeconds 5."""

DELETES = (
    Case("delete-missing", Ask("DELETE", MINE)),
    Case("delete-node-missing", Ask("DELETE", NODE)),
    Case("delete-set-missing", Ask("DELETE", _SET)),
    Case("delete-missing-of-another-uid", Ask("DELETE", MINE, OF_OTHER)),
    _delete("delete-bound"),
    _delete("delete-unbound", None, made(node=None)),
    _delete("delete-its-uid", {"preconditions": {"uid": "{uid}"}}),
    _delete("delete-another-uid", OF_OTHER),
    _delete("delete-another-version", {"preconditions": {"resourceVersion": "1"}}),
    _delete("delete-another-uid-and-version", {"preconditions": {"uid": OTHER, "resourceVersion": "1"}}),
    _delete("delete-node-another-uid", OF_OTHER, a_node(), path=NODE),
    _delete("delete-set-another-uid", OF_OTHER, *with_a_pod(), path=_SET),
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
    _delete("delete-terminating-another-uid", OF_OTHER, made(), _DELETED),
    _delete("delete-finalized", None, made(finalizers=FINALIZER)),
    _delete("delete-finalized-zero", {"gracePeriodSeconds": 0}, made(finalizers=FINALIZER)),
    _delete("delete-finalized-again", None, made(finalizers=FINALIZER), Ask("DELETE", MINE, {"gracePeriodSeconds": 0})),
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
    after("after-grace-zero", made(), Ask("DELETE", MINE, {"gracePeriodSeconds": 0})),
    after("after-dry-run", made(), Ask("DELETE", MINE, {"dryRun": ["All"]})),
    after(
        "after-finalizer-taken",
        made(finalizers=FINALIZER),
        Ask("DELETE", MINE, {"gracePeriodSeconds": 0}),
        Ask("PATCH", MINE, {"metadata": {"finalizers": None}}, MERGE),
    ),
    after(
        "after-orphaning",
        *with_a_pod(),
        Ask("DELETE", _SET, {"propagationPolicy": "Orphan"}),
        Ask("GET", _SET, until=gone),
        path=f"{PODS}/{{pod}}",
        show=("metadata.ownerReferences", "metadata.deletionTimestamp"),
    ),
    after(
        "after-deleting-an-owner",
        *with_a_pod(),
        Ask("DELETE", _SET),
        path=f"{PODS}/{{pod}}",
        until=lambda answer: answer.code == 404 or answer.find("metadata", "deletionTimestamp"),
        show=ENDING[1:],
    ),
    after(
        "after-deleting-an-owner-in-the-foreground",
        *with_a_pod(),
        Ask("DELETE", _SET, {"propagationPolicy": "Foreground"}),
        Ask("GET", f"{PODS}/{{pod}}", until=lambda answer: bool(answer.find("metadata", "deletionTimestamp"))),
        path=_SET,
    ),
    after(
        "after-owner-that-never-was",
        made(
            ownerReferences=[
                {"apiVersion": "apps/v1", "kind": "DaemonSet", "name": "gone", "uid": OTHER, "controller": True}
            ]
        ),
        until=lambda answer: answer.code == 404 or answer.find("metadata", "deletionTimestamp"),
    ),
    after("after-node-deleted", a_node(), Ask("POST", PODS, pod(node="{me}")), Ask("DELETE", NODE)),
)
