"""The API server, the objects of the bundle, and metrics.k8s.io."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from shared.basics.errors import AgentError
from shared.kube.connection import Kube
from shared.kube.errors import Forbidden, NotFound
from shared.kube.usage import UsageApi
from workers.commands.doctor.central import check_clock
from workers.commands.doctor.findings import Finding, fail, ok, unknown, warn
from workers.commands.doctor.installation import ACCOUNT, Installation

_RBAC = "/apis/rbac.authorization.k8s.io/v1"
_APPLY = "kubectl apply -k k8s/"


def check_api_server(kube: Kube) -> Iterator[Finding]:
    """Whether it answers, its version, and its clock."""
    try:
        answer = kube.exchange("GET", "/version")
        version = json.loads(answer.body).get("gitVersion", "?")
    except (AgentError, ValueError) as error:
        advice = (
            "in the pod: is the ServiceAccount's token mounted, and egress open? on a laptop: is KUBECONFIG right, and"
            " does NO_PROXY name the API server where HTTPS_PROXY is set?"
        )
        yield fail("kubernetes api", str(error), advice)
        return
    yield ok("kubernetes api", f"answers, version {version}")
    yield from check_clock("kubernetes clock", answer.headers.get("Date"))


def check_bundle(kube: Kube, where: Installation, inside: bool) -> Iterator[Finding]:
    """Whether the bundle's objects are there. The agent itself may not read most of them, and need not."""
    for name, path in where.objects:
        found = _read(kube, path)
        if isinstance(found, NotFound):
            yield fail(name, "is not there", _APPLY)
        elif isinstance(found, Forbidden):
            detail = "the agent may not read it, and need not" if inside else "may not be read by this user"
            yield unknown(name, detail)
        elif isinstance(found, AgentError):
            yield unknown(name, str(found))
        else:
            yield ok(name, "is there")
    yield _check_deployment(where, _read(kube, where.deployment))


def _check_deployment(where: Installation, found: dict[str, Any] | AgentError) -> Finding:
    if isinstance(found, NotFound):
        return fail("deployment", "is not there", _APPLY)
    if isinstance(found, AgentError):
        return unknown("deployment", str(found))
    if found.get("spec", {}).get("replicas", 1) == 0:
        advice = f"{where.kubectl} scale deployment/{ACCOUNT} --replicas=1"
        return fail("deployment", "is scaled to 0: no agent runs", advice)
    if found.get("status", {}).get("readyReplicas", 0):
        return ok("deployment", "is there, its pod is ready")
    advice = f"{where.kubectl} describe pod -l app={ACCOUNT}; then its log"
    return fail("deployment", "is there, but no pod is ready", advice)


def check_usage(kube: Kube) -> Iterator[Finding]:
    """Whether metrics.k8s.io tells utilisation."""
    api = UsageApi(kube)
    try:
        found = len(api.nodes())
    except AgentError as error:
        advice = "install metrics-server to see utilisation; everything else works without it"
        yield warn("metrics.k8s.io", f"no usage: {error}", advice)
        return
    yield ok("metrics.k8s.io", f"{api.version()} tells the usage of {found} nodes")


def check_pod(kube: Kube, where: Installation) -> Iterator[Finding]:
    """From a laptop: the agent's pod, and its /ready through the API server."""
    pods = _read(kube, f"{where.core}/pods?labelSelector=app%3D{ACCOUNT}")
    if isinstance(pods, AgentError):
        yield unknown("pod", str(pods))
        return
    if not pods.get("items"):
        yield fail("pod", "there is none", f"{where.kubectl} describe replicaset -l app={ACCOUNT}")
    for pod in pods.get("items", []):
        name, phase = pod["metadata"]["name"], pod.get("status", {}).get("phase", "?")
        waits = [why for status in _containers(pod) if (why := (status.get("state") or {}).get("waiting"))]
        if phase == "Running" and not waits:
            yield ok("pod", f"{name} is Running")
        else:
            why = "; ".join(f"{wait.get('reason', '?')} {wait.get('message', '')}".strip() for wait in waits)
            yield fail("pod", f"{name} is {phase}: {why or 'see its events'}", f"{where.kubectl} describe pod {name}")
        yield from _restarts(pod)
        yield _check_ready(kube, where, name)


def _check_ready(kube: Kube, where: Installation, pod: str) -> Finding:
    """/ready through the API server, which takes the right to get pods/proxy."""
    answer = kube.exchange("GET", f"{where.core}/pods/{pod}:8080/proxy/ready")
    try:
        said = json.loads(answer.body)
    except ValueError:
        said = {}
    if answer.status == 200 and said.get("ready"):
        return ok("/ready", json.dumps(said))
    if "ready" in said:
        return fail("/ready", "; ".join(said.get("reasons", [])) or "not ready", "the reasons say what is wrong")
    return unknown("/ready", f"cannot be asked through the API server: {answer.status}", "run the doctor in the pod")


def _containers(pod: dict[str, Any]) -> list[dict[str, Any]]:
    return list(pod.get("status", {}).get("containerStatuses") or [])


def _restarts(pod: dict[str, Any]) -> Iterator[Finding]:
    for status in _containers(pod):
        ended = (status.get("lastState") or {}).get("terminated")
        if not ended:
            continue
        reason, message = ended.get("reason", "?"), ended.get("message", "")
        advice = "raise the memory limit, and report it" if reason == "OOMKilled" else "see the message and the log"
        yield warn("restarts", f"{status.get('restartCount')}, the last for {reason} {message}".strip(), advice)


def _read(kube: Kube, path: str) -> dict[str, Any] | AgentError:
    try:
        found: dict[str, Any] = json.loads(kube.get(path))
    except AgentError as error:
        return error
    except ValueError as error:
        return NotFound(f"{path}: {error}")
    return found
