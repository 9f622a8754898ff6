"""The eviction subresource: one request, and what each of its answers means (rules 10-17 of a drain).

The answers were checked against a real API server v1.36; they come from Kubernetes'
pkg/registry/core/pod/storage/eviction.go.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import Enum

from shared.basics import telemetry
from shared.kube.connection import Answer, Kube
from shared.kube.errors import (
    Status,
    Target,
    by_rbac,
    denier,
    parse_status,
    proves_absence,
    proves_replacement,
    retry_after,
)
from shared.kube.pods import Pod, pod_path

BUDGET_PAUSE = 5.0
"""Seconds between two tries of a pod that its budget holds, as kubectl drain waits."""

_BUDGET_NAME = re.compile(r"""(?:disruption budget |poddisruptionbudget\S* ")([a-z0-9][-a-z0-9.]*)""")

_NEVER_EVALUATED = "more than one PodDisruptionBudget"


class Verdict(Enum):
    """What an eviction's answer means for the pod."""

    ACCEPTED = "accepted"
    """Taken. The pod's deletionTimestamp is what proves it: a webhook may have made a dry run of it (rule 11)."""
    TERMINATING = "terminating"
    """It was seen to terminate; wait for its end."""
    GONE = "gone"
    """Proved: it is not there any more, or another pod has its name."""
    BLOCKED = "blocked"
    """A disruption budget does not allow it now."""
    DENIED = "denied"
    """An admission webhook or policy refuses; it may change its mind."""
    RATIONED = "rationed"
    """It was not asked: as many were evicted within the hour as the cluster's owner allows."""
    RETRY = "retry"
    """The API server is busy or failing, or the namespace is going: try again."""
    REFUSED = "refused"
    """Trying again cannot help this pod."""
    FORBIDDEN = "forbidden"
    """RBAC does not grant it, for this pod or any other of the namespace."""


@dataclass(frozen=True)
class Outcome:
    """The answer to one eviction."""

    verdict: Verdict
    code: int
    """HTTP status; 0 when there was no answer."""
    detail: str
    """For a person: why, in the API server's words or ours."""
    pause: float = 0.0
    """Seconds to wait before the next try."""
    budget: str | None = None
    """Name of the disruption budget that blocks, where the answer says it."""
    throttled: bool = False
    """Whether the API server asked to be asked less."""


def evict(kube: Kube, pod: Pod, grace_seconds: int | None, dry_run: bool = False) -> Outcome:
    """Ask the API server to evict exactly this ``pod``.

    Raises:
        KubeUnavailable, Unauthorized: no answer.
    """
    options: dict[str, object] = {"preconditions": {"uid": pod.uid}}
    if grace_seconds is not None:
        options["gracePeriodSeconds"] = grace_seconds
    if dry_run:
        options["dryRun"] = ["All"]
    body = {
        "apiVersion": "policy/v1",
        "kind": "Eviction",
        "metadata": {"name": pod.metadata.name, "namespace": pod.metadata.namespace},
        "deleteOptions": options,
    }
    path = f"{pod_path(pod.metadata.namespace, pod.metadata.name)}/eviction"
    answer = kube.exchange("POST", path, None, body)
    if not dry_run:
        telemetry.EVICTIONS.labels(telemetry.code(answer.status)).inc()
    outcome = outcome_of(answer, pod)
    if outcome.verdict is Verdict.FORBIDDEN:
        missing = 'RBAC must allow verb "create" on resource "pods/eviction" in API group ""'
        return replace(outcome, detail=f"{outcome.detail}; {missing}")
    return outcome


def delete(kube: Kube, pod: Pod, grace_seconds: int) -> Outcome:
    """DELETE exactly this ``pod``: past all budgets.

    Raises:
        KubeUnavailable, Unauthorized: no answer.
    """
    options = {"gracePeriodSeconds": grace_seconds, "preconditions": {"uid": pod.uid}}
    answer = kube.exchange("DELETE", pod_path(pod.metadata.namespace, pod.metadata.name), None, options)
    telemetry.DELETIONS.labels(telemetry.code(answer.status)).inc()
    outcome = outcome_of(answer, pod)
    if outcome.verdict is Verdict.ACCEPTED:
        return replace(outcome, detail=f"deleted with {grace_seconds} s of grace")
    if outcome.verdict is Verdict.FORBIDDEN:
        hint = "disable_eviction needs the forced-delete component of the bundle, which grants delete on pods"
        return replace(outcome, detail=f"{outcome.detail}; {hint}")
    return outcome


def outcome_of(answer: Answer, pod: Pod) -> Outcome:
    """What ``answer`` means for ``pod``. Pure."""
    code = answer.status
    if 200 <= code < 300:
        return Outcome(Verdict.ACCEPTED, code, "evicted")
    status = parse_status(code, answer.body)
    said, target = status.said, Target("pods", pod.metadata.name)
    if 400 <= code < 500 and denier(said):
        # The code is the webhook's own, 400 if it gives none: a 404 or 429 of its making says nothing of the pod.
        # A policy's is 422, unless it says otherwise.
        return Outcome(Verdict.DENIED, code, said, BUDGET_PAUSE)
    if proves_absence(status, target) or proves_replacement(status, target, pod.uid):
        return Outcome(Verdict.GONE, code, said)
    if code == 404 and status.details is not None and status.details.kind == "poddisruptionbudgets":
        return Outcome(Verdict.RETRY, code, said)  # It went while the API server looked at it: the next try is free.
    if code == 429:
        return _too_many(status, answer.headers, pod)
    if code == 403 and status.kind == "Status":
        return _forbidden(status, pod, answer.may_pass)
    if code >= 500 and _NEVER_EVALUATED in said:
        return Outcome(Verdict.REFUSED, code, f"{said}; leave one of the budgets that select it")
    if code >= 500 or code in (404, 409) or status.kind != "Status":
        return Outcome(Verdict.RETRY, code, said, retry_after(answer.headers) or 1.0)
    return Outcome(Verdict.REFUSED, code, said)


def _too_many(status: Status, headers: Mapping[str, str], pod: Pod) -> Outcome:
    for cause in status.causes:
        if cause.reason == "DisruptionBudget":
            detail = f"{status.said} {cause.message}".strip() + _unready_hint(pod)
            pause = max(BUDGET_PAUSE, retry_after(headers) or 0.0)
            return Outcome(Verdict.BLOCKED, 429, detail, pause, _budget_in(cause.message))
    # API throttling, whose body may be plain text.
    pause = retry_after(headers) or 1.0
    return Outcome(Verdict.RETRY, 429, f"the API server throttles: {status.said}", pause, throttled=True)


def _forbidden(status: Status, pod: Pod, may_pass: bool) -> Outcome:
    said = status.said
    if status.has_cause("NamespaceTerminating"):
        if pod.terminating:
            return Outcome(Verdict.TERMINATING, 403, "terminates with its namespace")
        return Outcome(Verdict.RETRY, 403, said, BUDGET_PAUSE)
    if by_rbac(status) and may_pass:
        return Outcome(Verdict.RETRY, 403, f"{said}; it was granted until now", 1.0)
    if by_rbac(status):
        return Outcome(Verdict.FORBIDDEN, 403, said)
    if "poddisruptionbudget" in said.lower():
        return Outcome(Verdict.BLOCKED, 403, said, BUDGET_PAUSE, _budget_in(said))
    return Outcome(Verdict.DENIED, 403, said, BUDGET_PAUSE)


def _budget_in(message: str) -> str | None:
    match = _BUDGET_NAME.search(message)
    return match[1] if match else None


def _unready_hint(pod: Pod) -> str:
    if pod.is_ready:
        return ""
    return "; the pod is not Ready: unhealthyPodEvictionPolicy AlwaysAllow on the budget would let it go"
