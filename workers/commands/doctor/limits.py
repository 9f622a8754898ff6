"""The owner's limits: which are set, and whether the API server holds the agent to them, by trying it."""

from __future__ import annotations

import json
from collections.abc import Iterator

from shared.basics.errors import AgentError
from shared.config.limits import Limits
from shared.kube.connection import MERGE_PATCH, Answer, Kube
from shared.kube.errors import Forbidden, NotFound, parse_status
from workers.commands.doctor.findings import Finding, fail, ok, unknown, warn

_API = "/apis/admissionregistration.k8s.io/v1"
_POLICIES = ("cloudoptim-agent-nodes", "cloudoptim-agent-pods", "cloudoptim-agent-protected-pods")

_ABSENT = "the component admission-limits is not applied: the agent alone keeps to the owner's limits"
_APPLY = "apply k8s/ again with the component admission-limits"

_NO_POD = "cloudoptim-doctor-tries-this"
"""A pod that is not there: a policy refuses its eviction before anybody looks for it."""


def check_limits(limits: Limits) -> Iterator[Finding]:
    """What the owner set."""
    if limits.unreadable:
        yield fail("limits", f"cannot be read, so no task runs: {limits.unreadable}", "correct the ConfigMap's key")
    words = limits.words()
    always = "what is labelled cloudoptim.io/protected=true is kept"
    yield ok("limits", "; ".join([*(f"{variable} is {value}" for variable, value in words.items()), always]))


def check_admission(kube: Kube, inside: bool) -> Iterator[Finding]:
    """Whether the policies of admission-limits are in force.

    Inside the pod, with the agent's own rights, two forbidden writes are tried with dryRun=All: nothing is changed,
    whatever the answer. An administrator on a laptop sees the policies themselves.
    """
    yield from _try_it(kube) if inside else _look(kube)


def _try_it(kube: Kube) -> Iterator[Finding]:
    nodes = json.loads(kube.get("/api/v1/nodes", {"limit": 1}))["items"]
    if not nodes:
        yield unknown("admission limits", "not tried: there is no node")
        return
    marked = {"metadata": {"annotations": {"cloudoptim.io/doctor": "dry-run"}}}
    path = f"/api/v1/nodes/{nodes[0]['metadata']['name']}"
    answer = kube.exchange("PATCH", path, {"dryRun": "All"}, marked, MERGE_PATCH)
    yield verdict_on_try("change a node's annotations", answer)
    eviction = {
        "apiVersion": "policy/v1",
        "kind": "Eviction",
        "metadata": {"name": _NO_POD, "namespace": "kube-system"},
        "deleteOptions": {"dryRun": ["All"]},
    }
    answer = kube.exchange("POST", f"/api/v1/namespaces/kube-system/pods/{_NO_POD}/eviction", None, eviction)
    yield verdict_on_try("evict a pod of kube-system", answer)


def verdict_on_try(what: str, answer: Answer) -> Finding:
    """What the answer to a write says that admission-limits forbids."""
    said = str(parse_status(answer.status, answer.body).message)
    tried = f"tried with dryRun=All to {what}"
    if "ValidatingAdmissionPolicy 'cloudoptim-agent-" in said:
        return ok("admission limits", f"in force; {tried}: {said}")
    if 200 <= answer.status < 300 or answer.status == 404:
        return ok("admission limits", f"{tried}, and nothing forbids it; {_ABSENT}")
    if answer.status == 403 and " cannot " in said:
        return ok("admission limits", f"{tried}, and the agent has no right to write at all")
    return unknown("admission limits", f"{tried}: {answer.status} {said}", "see the message")


def _look(kube: Kube) -> Iterator[Finding]:
    for name in _POLICIES:
        try:
            kube.get(f"{_API}/validatingadmissionpolicies/{name}")
            binding = json.loads(kube.get(f"{_API}/validatingadmissionpolicybindings/{name}"))
        except NotFound as error:
            if f"policies/{name}" in str(error):
                yield ok("admission limits", f"{name} is not there; {_ABSENT}")
            else:
                yield fail("admission limits", f"{name} has no binding, so it holds nothing", _APPLY)
        except Forbidden as error:
            yield unknown("admission limits", f"{name} may not be read by this user: {error}")
        except AgentError as error:
            yield unknown("admission limits", str(error))
        else:
            if "Deny" in binding["spec"].get("validationActions", ()):
                yield ok("admission limits", f"{name} is there and bound; run the doctor in the pod to have it tried")
            else:
                yield warn("admission limits", f"{name} is bound without Deny: it refuses nothing", _APPLY)
