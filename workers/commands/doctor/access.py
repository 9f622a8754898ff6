"""Each RBAC rule the agent needs, asked of the API server itself."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from shared.basics.errors import AgentError
from shared.kube.connection import Kube
from workers.commands.doctor.findings import Finding, fail, ok, unknown, warn
from workers.commands.doctor.installation import ACCOUNT, Installation

_API = "/apis/authorization.k8s.io/v1"


@dataclass(frozen=True)
class Rule:
    """One line of the ClusterRole. ``component`` is empty for the base, else what is opted in to."""

    group: str
    resource: str
    verbs: tuple[str, ...]
    component: str = ""


_READ = ("get", "list", "watch")

RULES = (
    *(Rule("", resource, _READ) for resource in ("nodes", "pods", "events", "namespaces")),
    *(Rule("apps", resource, _READ) for resource in ("deployments", "statefulsets", "daemonsets", "replicasets")),
    *(Rule("metrics.k8s.io", resource, ("get", "list")) for resource in ("nodes", "pods")),
    Rule("", "nodes", ("patch", "update")),
    Rule("", "pods/eviction", ("create",)),
    Rule("policy", "poddisruptionbudgets", ("get", "list")),
    Rule("", "pods", ("patch",), "pod-labels"),
    Rule("", "pods", ("delete",), "forced-delete"),
    Rule("storage.k8s.io", "volumeattachments", ("list",), "volume-wait"),
    Rule("", "persistentvolumeclaims", ("get",), "volume-wait"),
    Rule("", "events", ("create",), "kubernetes-events"),
    Rule("resource.k8s.io", "resourceclaims", ("list",), "device-claims"),
)
"""Those of k8s/base, and of the components that are opted in to."""


def check_access(
    kube: Kube, where: Installation, inside: bool, events_wanted: bool, read_only: bool = False
) -> Iterator[Finding]:
    """Whether the agent's ServiceAccount may do what it needs to.

    Inside the pod we ask about ourselves; from a laptop about the ServiceAccount, or it would be the wrong user.
    """
    for rule in RULES:
        try:
            denied = [verb for verb in rule.verbs if not _allowed(kube, where, rule, verb, inside)]
        except AgentError as error:
            advice = "ask as someone who may create subjectaccessreviews, or run the doctor in the pod"
            yield unknown("rbac", f"what {ACCOUNT} may do cannot be asked: {error}", "" if inside else advice)
            return
        yield verdict_on(rule, denied, events_wanted, read_only)


def verdict_on(rule: Rule, denied: Sequence[str], events_wanted: bool = False, read_only: bool = False) -> Finding:
    """What it means that these of the rule's verbs are denied."""
    what = f"{', '.join(rule.verbs)} {rule.resource}" + (f" ({rule.group})" if rule.group else "")
    if not denied:
        return ok("rbac", what)
    missing = f"not allowed: {', '.join(denied)} {rule.resource}" + (f" ({rule.group})" if rule.group else "")
    if read_only and set(rule.verbs).isdisjoint(_READ):
        return ok("rbac", f"{missing}; the agent is read-only")
    if rule.component == "kubernetes-events" and events_wanted:
        return warn("rbac", f"{missing}, but KUBERNETES_EVENTS is true", "apply the component kubernetes-events")
    if rule.component:
        return ok("rbac", f"{missing}; it comes with the component {rule.component}, which is not applied")
    if rule.group == "metrics.k8s.io":
        return warn("rbac", missing, "apply k8s/ again; without it there is no utilisation")
    return fail("rbac", missing, "apply k8s/ again: ClusterRole and ClusterRoleBinding cloudoptim-agent")


def _allowed(kube: Kube, where: Installation, rule: Rule, verb: str, inside: bool) -> bool:
    resource, _, subresource = rule.resource.partition("/")
    asked = {"group": rule.group, "resource": resource, "verb": verb}
    if subresource:
        asked["subresource"] = subresource
    spec: dict[str, object] = {"resourceAttributes": asked}
    kind = "SelfSubjectAccessReview"
    if not inside:
        kind = "SubjectAccessReview"
        spec["user"] = f"system:serviceaccount:{where.namespace}:{ACCOUNT}"
        spec["groups"] = ["system:serviceaccounts", f"system:serviceaccounts:{where.namespace}", "system:authenticated"]
    review = {"apiVersion": "authorization.k8s.io/v1", "kind": kind, "spec": spec}
    answer = json.loads(kube.call("POST", f"{_API}/{kind.lower()}s", None, review))
    return bool(answer.get("status", {}).get("allowed"))
