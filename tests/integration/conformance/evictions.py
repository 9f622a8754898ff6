"""Evicting, with and without budgets, and what is there afterwards."""

from __future__ import annotations

from typing import Any

from tests.integration.conformance.asking import MERGE, Ask
from tests.integration.conformance.case import (
    BUDGETS,
    ENDING,
    FINALIZER,
    MINE,
    OTHER,
    PODS,
    Case,
    after,
    eviction,
    guarded,
    made,
    pod,
    running,
)


def _evict(name: str, *before: Ask, body: Any = None, query: str = "", **options: Any) -> Case:
    asked = Ask("POST", f"{MINE}/eviction{query}", eviction(**options) if body is None else body)
    return Case(name, asked, before or (made(), running()))


_HELD = (made(), running(), *guarded(maxUnavailable=0))
_PAIR = (made(), running(), made(name="{me}-2"), running("{me}-2"))
_EVICTED = Ask("POST", f"{MINE}/eviction", eviction())
_DELETED = Ask("DELETE", MINE)
_GOING = (
    Ask("POST", "/api/v1/namespaces", {"metadata": {"name": "{me}"}}),
    Ask("GET", "/api/v1/namespaces/{me}/serviceaccounts/default", until=lambda answer: answer.code == 200),
    Ask("POST", "/api/v1/namespaces/{me}/pods", pod("held", finalizers=FINALIZER)),
    Ask("DELETE", "/api/v1/namespaces/{me}"),
)
"""A namespace that is being terminated, which a pod's finalizer keeps."""

EVICTIONS = (
    Case("evict-missing", _EVICTED),
    Case("evict-of-missing-namespace", Ask("POST", "/api/v1/namespaces/no-such/pods/p/eviction", eviction("p"))),
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
        *_PAIR,
        *guarded(healthy=2, minAvailable=1),
    ),
    _evict(
        "evict-guarded-spent",
        *_PAIR,
        *guarded(healthy=2, minAvailable=1),
        Ask("POST", f"{PODS}/{{me}}-2/eviction", eviction("{me}-2")),
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
    _evict("evict-another-uid", preconditions={"uid": OTHER}),
    _evict("evict-its-uid", preconditions={"uid": "{uid}"}),
    _evict("evict-another-version", preconditions={"resourceVersion": "1"}),
    _evict("evict-guarded-another-uid", *_HELD, preconditions={"uid": OTHER}),
    _evict(
        "evict-allowed-another-uid",
        *_PAIR,
        *guarded(healthy=2, minAvailable=1),
        preconditions={"uid": OTHER},
    ),
    _evict("evict-dry-run", dryRun=["All"]),
    _evict("evict-dry-run-by-query", query="?dryRun=All"),
    _evict("evict-dry-run-guarded", *_HELD, dryRun=["All"]),
    _evict("evict-dry-run-unknown", dryRun=["Some"]),
    _evict("evict-another-name", body=eviction("x")),
    _evict("evict-without-name", body={"apiVersion": "policy/v1", "kind": "Eviction"}),
    _evict("evict-another-namespace", body={**eviction(), "metadata": {"name": "{me}", "namespace": "default"}}),
    _evict("evict-another-kind", body={"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "{me}"}}),
    _evict("evict-of-no-kind", body={"metadata": {"name": "{me}"}}),
    _evict("evict-beta", body={**eviction(), "apiVersion": "policy/v1beta1"}),
    _evict("evict-version-unknown", body={**eviction(), "apiVersion": "policy/v9"}),
    _evict("evict-empty-body", body=""),
    _evict("evict-no-json", body="{bad"),
    _evict("evict-grace-negative", gracePeriodSeconds=-1),
    _evict("evict-grace-text", gracePeriodSeconds="soon"),
    _evict("evict-finalized", made(finalizers=FINALIZER), running()),
    _evict("evict-again", made(), running(), _EVICTED),
    _evict("evict-mirror", made(annotations={"kubernetes.io/config.mirror": "c0ffee"}), running()),
    after(
        "after-eviction",
        made(),
        running(),
        _EVICTED,
        show=(
            *ENDING,
            "status.conditions.1.type",
            "status.conditions.1.reason",
            "status.conditions.1.message",
            "status.phase",
        ),
    ),
    after("after-eviction-grace", made(), running(), Ask("POST", f"{MINE}/eviction", eviction(gracePeriodSeconds=5))),
    after(
        "after-eviction-dry-run",
        made(),
        running(),
        Ask("POST", f"{MINE}/eviction", eviction(dryRun=["All"])),
        show=(*ENDING, "status.conditions.1.type"),
    ),
    after(
        "after-evicting-shorter",
        made(grace=60),
        running(),
        _DELETED,
        Ask("POST", f"{MINE}/eviction", eviction(gracePeriodSeconds=3)),
    ),
    after(
        "after-spending",
        *_PAIR,
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
    Case(
        "evict-in-a-namespace-that-goes",
        Ask("POST", "/api/v1/namespaces/{me}/pods/held/eviction", eviction("held")),
        _GOING,
    ),
    Case("create-in-a-namespace-that-goes", Ask("POST", "/api/v1/namespaces/{me}/pods", pod("new")), _GOING),
)
