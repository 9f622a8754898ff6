"""What each answer to an eviction means (rules 10 to 17 of a drain), by the bodies a real API server v1.36 sends."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.kube.connection import Answer, Kube
from shared.kube.evictions import BUDGET_PAUSE, Outcome, Verdict, delete, evict, outcome_of
from shared.kube.objects import Condition, Meta
from shared.kube.pods import Pod, Pods, PodStatus
from tests.sim.kube.cluster import Cluster
from tests.unit.conftest import counted, kube_of

SAID = "Cannot evict pod as it would violate the pod's disruption budget."
USER = 'User "system:serviceaccount:kube-system:cloudoptim-agent"'


def pod(ready: bool = True, terminating: bool = False) -> Pod:
    deleted = datetime(2026, 3, 1, tzinfo=timezone.utc) if terminating else None
    return Pod(
        Meta("web-0", "shop", "uid-1", deletion_timestamp=deleted),
        status=PodStatus("Running", conditions=[Condition("Ready", "True" if ready else "False")]),
    )


def status(
    code: int,
    message: str,
    reason: str | None = None,
    details: Mapping[str, Any] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Answer:
    body = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": message, "code": code}
    body |= {"reason": reason} if reason else {}
    body |= {"details": details} if details is not None else {}
    return Answer(code, headers or {}, json.dumps(body).encode())


def budget(message: str, retry: int = 0) -> Answer:
    details: dict[str, Any] = {"causes": [{"reason": "DisruptionBudget", "message": message}]}
    details |= {"retryAfterSeconds": retry} if retry else {}
    return status(429, SAID, "TooManyRequests", details, {"Retry-After": str(retry)} if retry else {})


def forbidden(message: str, kind: str = "pods", causes: list[dict[str, str]] | None = None) -> Answer:
    return status(403, message, "Forbidden", {"name": "web-0", "kind": kind, **({"causes": causes} if causes else {})})


NEEDS = "The disruption budget web needs 2 healthy pods and has 2 currently"
STALE = "The disruption budget web is still being processed by the server."
NOT_NOW = "The disruption budget web does not allow evicting pods currently"
UID = (
    'Operation cannot be fulfilled on Pod "web-0": the UID in the precondition (uid-1) does not match the UID in record'
    " (uid-2). The object might have been deleted and then recreated"
)
MODIFIED = (
    'Operation cannot be fulfilled on poddisruptionbudgets.policy "web": the object has been modified; please apply'
    " your changes to the latest version and try again"
)
BUDGET_GONE = 'poddisruptionbudgets.policy "web" not found'
SEVERAL = "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support."
RBAC = (
    f'pods "web-0" is forbidden: {USER} cannot create resource "pods/eviction" in API group "" in the namespace "shop"'
)
TERMINATING = 'pods "web-0" is forbidden: unable to create new content in namespace shop because it is being terminated'
CAUSE = [
    {"reason": "NamespaceTerminating", "message": "namespace shop is being terminated", "field": "metadata.namespace"}
]
NEGATIVE = 'poddisruptionbudget.policy "web" is forbidden: pdb disruptions allowed is negative'
TOO_BIG = (
    'poddisruptionbudget.policy "web" is forbidden: DisruptedPods map too big - too many evictions not confirmed by PDB'
    " controller"
)
WEBHOOK = 'admission webhook "guard.example.com" denied the request: not today'
POLICY = "pods \"web-0\" is forbidden: ValidatingAdmissionPolicy 'guard' with binding 'guard' denied request: not today"
THROTTLED = b"Too many requests, please try again later.\n"

RULES: dict[str, tuple[Answer, Outcome]] = {
    "11: accepted": (Answer(201, {}, b'{"kind":"Status"}'), Outcome(Verdict.ACCEPTED, 201, "evicted")),
    "11: 200 is as good": (Answer(200, {}, b""), Outcome(Verdict.ACCEPTED, 200, "evicted")),
    "12: not there": (
        status(404, 'pods "web-0" not found', "NotFound", {"name": "web-0", "kind": "pods"}),
        Outcome(Verdict.GONE, 404, 'pods "web-0" not found'),
    ),
    "12: another of its name": (
        status(409, UID, "Conflict", {"name": "web-0", "kind": "Pod"}),
        Outcome(Verdict.GONE, 409, UID),
    ),
    "13: the budget is spent": (
        budget(NEEDS),
        Outcome(Verdict.BLOCKED, 429, f"{SAID} {NEEDS}", BUDGET_PAUSE, "web"),
    ),
    "13: the budget is spent, without numbers": (
        budget(NOT_NOW),
        Outcome(Verdict.BLOCKED, 429, f"{SAID} {NOT_NOW}", BUDGET_PAUSE, "web"),
    ),
    "13: the budget's status is stale": (
        budget(STALE, retry=10),
        Outcome(Verdict.BLOCKED, 429, f"{SAID} {STALE}", 10, "web"),
    ),
    "13: a wish shorter than ours": (
        budget(STALE, retry=1),
        Outcome(Verdict.BLOCKED, 429, f"{SAID} {STALE}", BUDGET_PAUSE, "web"),
    ),
    "14: throttled, in plain text": (
        Answer(429, {"Retry-After": "3"}, THROTTLED),
        Outcome(Verdict.RETRY, 429, f"the API server throttles: {THROTTLED.decode().strip()}", 3, throttled=True),
    ),
    "14: throttled without a wish": (
        Answer(429, {}, b""),
        Outcome(Verdict.RETRY, 429, "the API server throttles: status 429", 1, throttled=True),
    ),
    "15: two budgets": (
        status(500, SEVERAL),
        Outcome(Verdict.REFUSED, 500, f"{SEVERAL}; leave one of the budgets that select it"),
    ),
    "15: any other 500": (status(500, "etcdserver: timeout"), Outcome(Verdict.RETRY, 500, "etcdserver: timeout", 1)),
    "15: 503 with a wish": (
        status(503, "apiserver is shutting down", headers={"Retry-After": "5"}),
        Outcome(Verdict.RETRY, 503, "apiserver is shutting down", 5),
    ),
    "15: 504": (
        status(504, "Timeout: request did not complete"),
        Outcome(Verdict.RETRY, 504, "Timeout: request did not complete", 1),
    ),
    "16: the namespace is going": (
        forbidden(TERMINATING, causes=CAUSE),
        Outcome(Verdict.RETRY, 403, TERMINATING, BUDGET_PAUSE),
    ),
    "16: a negative allowance": (
        forbidden(NEGATIVE, "poddisruptionbudget"),
        Outcome(Verdict.BLOCKED, 403, NEGATIVE, BUDGET_PAUSE, "web"),
    ),
    "16: too many unconfirmed": (
        forbidden(TOO_BIG, "poddisruptionbudget"),
        Outcome(Verdict.BLOCKED, 403, TOO_BIG, BUDGET_PAUSE, "web"),
    ),
    "16: a webhook": (status(403, WEBHOOK, "Forbidden"), Outcome(Verdict.DENIED, 403, WEBHOOK, BUDGET_PAUSE)),
    "16: a webhook that gives no code": (status(400, WEBHOOK), Outcome(Verdict.DENIED, 400, WEBHOOK, BUDGET_PAUSE)),
    "16: a webhook's own 429": (
        status(429, WEBHOOK, "TooManyRequests"),
        Outcome(Verdict.DENIED, 429, WEBHOOK, BUDGET_PAUSE),
    ),
    "16: a webhook's own 404": (status(404, WEBHOOK), Outcome(Verdict.DENIED, 404, WEBHOOK, BUDGET_PAUSE)),
    "16: an admission policy": (status(422, POLICY, "Invalid"), Outcome(Verdict.DENIED, 422, POLICY, BUDGET_PAUSE)),
    "16: some other rule": (
        forbidden('pods "web-0" is forbidden: not while the moon is full'),
        Outcome(Verdict.DENIED, 403, 'pods "web-0" is forbidden: not while the moon is full', BUDGET_PAUSE),
    ),
    "16: RBAC": (
        forbidden(RBAC),
        Outcome(Verdict.FORBIDDEN, 403, RBAC),
    ),
    "400": (status(400, "name in URL does not match"), Outcome(Verdict.REFUSED, 400, "name in URL does not match")),
    "422": (status(422, "is invalid", "Invalid"), Outcome(Verdict.REFUSED, 422, "is invalid")),
    "a status with a reason only": (
        Answer(422, {}, b'{"kind":"Status","reason":"Invalid"}'),
        Outcome(Verdict.REFUSED, 422, "Invalid"),
    ),
    "12: a budget that went meanwhile": (
        status(404, BUDGET_GONE, "NotFound", {"name": "web", "group": "policy", "kind": "poddisruptionbudgets"}),
        Outcome(Verdict.RETRY, 404, BUDGET_GONE, 0.0),
    ),
    "26: a proxy's page": (
        Answer(404, {}, b"default backend - 404"),
        Outcome(Verdict.RETRY, 404, "default backend - 404", 1.0),
    ),
    "26: another pod's end": (
        status(404, 'pods "web-1" not found', "NotFound", {"name": "web-1", "kind": "pods"}),
        Outcome(Verdict.RETRY, 404, 'pods "web-1" not found', 1.0),
    ),
    "26: a proxy's refusal": (Answer(403, {}, b"<html>"), Outcome(Verdict.RETRY, 403, "<html>", 1.0)),
    "14: a day": (
        Answer(429, {"Retry-After": "86400"}, b""),
        Outcome(Verdict.RETRY, 429, "the API server throttles: status 429", 60, throttled=True),
    ),
}


@pytest.mark.parametrize(("answer", "outcome"), RULES.values(), ids=RULES)
def test_what_an_answer_means(answer: Answer, outcome: Outcome) -> None:
    assert outcome_of(answer, pod()) == outcome


def test_12_a_conflict_that_is_not_about_the_uid_says_nothing_of_the_pod() -> None:
    assert outcome_of(status(409, MODIFIED, "Conflict"), pod()).verdict is Verdict.RETRY


def test_16_in_a_namespace_that_is_going_a_terminating_pod_is_waited_for() -> None:
    outcome = outcome_of(forbidden(TERMINATING, causes=CAUSE), pod(terminating=True))
    assert (outcome.verdict, outcome.code) == (Verdict.TERMINATING, 403)


def test_17_a_blocked_pod_that_is_not_ready_gets_a_hint() -> None:
    hint = "unhealthyPodEvictionPolicy AlwaysAllow on the budget would let it go"
    assert hint in outcome_of(budget(NEEDS), pod(ready=False)).detail
    assert hint not in outcome_of(budget(NEEDS), pod()).detail


@pytest.mark.parametrize(
    ("message", "name"),
    [
        (NEEDS, "web"),
        (STALE, "web"),
        ("The disruption budget my.web-2 needs 1 healthy pods and has 1 currently", "my.web-2"),
        ("The disruption budget web does not allow evicting pods currently (InsufficientPods): too few", "web"),
        ("something new", None),
    ],
)
def test_the_budgets_name_is_found_where_the_message_says_it(message: str, name: str | None) -> None:
    assert outcome_of(budget(message), pod()).budget == name


@given(st.integers(100, 599), st.binary(max_size=200), st.dictionaries(st.just("Retry-After"), st.text(max_size=8)))
def test_no_answer_is_too_odd(code: int, body: bytes, headers: dict[str, str]) -> None:
    outcome = outcome_of(Answer(code, headers, body), pod())
    assert outcome.code == code
    assert outcome.pause >= 0
    assert (outcome.verdict is Verdict.ACCEPTED) == (200 <= code < 300)


# -- the request itself, to a server --------------------------------------------------------------


def found(kube: Kube, name: str = "web-0") -> Pod:
    return Pods(kube).find("shop", name)


def test_10_exactly_the_pod_that_was_meant_is_evicted_with_the_grace_that_was_asked(
    cluster: Cluster, kube: Kube
) -> None:
    cluster.add_pod("shop", "web-0", "node-1", termination_seconds=60)
    before = counted("evictions_total", code="201")
    assert evict(kube, found(kube), 12).verdict is Verdict.ACCEPTED
    assert counted("evictions_total", code="201") == before + 1
    metadata = (cluster.pod("shop", "web-0") or {})["metadata"]
    assert metadata["deletionGracePeriodSeconds"] == 12
    assert evict(kube, found(kube), 12).verdict is Verdict.ACCEPTED, "also when it terminates already"


def test_10_without_a_wish_the_pods_own_grace_stands(cluster: Cluster, kube: Kube) -> None:
    cluster.add_pod("shop", "web-0", "node-1", termination_seconds=60, grace=77)
    evict(kube, found(kube), None)
    assert (cluster.pod("shop", "web-0") or {})["metadata"]["deletionGracePeriodSeconds"] == 77


def test_12_another_pod_of_the_same_name_is_left_alone(cluster: Cluster, kube: Kube) -> None:
    cluster.add_pod("shop", "web-0", "node-1")
    other = msgspec.structs.replace(found(kube), metadata=Meta("web-0", "shop", "uid-of-the-one-before"))
    assert evict(kube, other, 12).verdict is Verdict.GONE
    assert delete(kube, other, 12).verdict is Verdict.GONE
    assert not found(kube).terminating


def test_12_a_pod_that_is_gone_is_gone(cluster: Cluster, kube: Kube) -> None:
    cluster.add_namespace("shop")
    assert evict(kube, pod(), 12).verdict is Verdict.GONE
    assert delete(kube, pod(), 12).verdict is Verdict.GONE


def test_13_a_budget_holds_what_it_guards(cluster: Cluster, kube: Kube) -> None:
    cluster.add_pod("shop", "web-0", "node-1", app="web")
    cluster.add_budget("shop", "web", {"app": "web"}, min_available=1)
    outcome = evict(kube, found(kube), 12)
    assert (outcome.verdict, outcome.budget) == (Verdict.BLOCKED, "web")


def test_13_a_stale_budget_asks_for_ten_seconds(tmp_path: Path) -> None:
    with Cluster(nodes=1, controllers=False) as still:
        kube = kube_of(still.url, tmp_path)
        still.add_pod("shop", "web-0", "node-1", app="web")
        still.add_budget("shop", "web", {"app": "web"}, min_available=0, stale=True)
        outcome = evict(kube, found(kube), 12)
    assert (outcome.verdict, outcome.budget, outcome.pause) == (Verdict.BLOCKED, "web", 10)


def test_14_an_api_server_that_throttles_is_obeyed(cluster: Cluster, kube: Kube) -> None:
    cluster.add_pod("shop", "web-0", "node-1")
    cluster.throttle(times=None, retry_after=7, subresource="eviction")
    outcome = evict(kube, found(kube), 12)
    assert (outcome.verdict, outcome.code, outcome.pause) == (Verdict.RETRY, 429, 7)


def test_a_dry_run_touches_nothing(cluster: Cluster, kube: Kube) -> None:
    cluster.add_pod("shop", "web-0", "node-1")
    assert evict(kube, found(kube), 12, dry_run=True).verdict is Verdict.ACCEPTED
    assert not found(kube).terminating


def test_21_a_deletion_goes_past_budgets(cluster: Cluster, kube: Kube) -> None:
    cluster.add_pod("shop", "web-0", "node-1", app="web", termination_seconds=60)
    cluster.add_budget("shop", "web", {"app": "web"}, min_available=1)
    assert delete(kube, found(kube), 7).verdict is Verdict.ACCEPTED
    assert (cluster.pod("shop", "web-0") or {})["metadata"]["deletionGracePeriodSeconds"] == 7


def test_21_a_deletion_that_rbac_does_not_grant_names_the_component(tmp_path: Path) -> None:
    rules = [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]
    with Cluster(rbac=[{"kind": "ClusterRole", "metadata": {"name": "agent"}, "rules": rules}]) as cluster:
        kube = kube_of(cluster.url, tmp_path, cluster.agent_token)
        cluster.add_pod("shop", "web-0", "node-1")
        deleted, evicted = delete(kube, found(kube), 7), evict(kube, found(kube), 7)
    assert deleted.verdict is Verdict.FORBIDDEN
    assert deleted.detail.endswith(
        "disable_eviction needs the forced-delete component of the bundle, which grants delete on pods"
    )
    assert evicted.verdict is Verdict.FORBIDDEN
    assert 'must allow verb "create" on resource "pods/eviction"' in evicted.detail
