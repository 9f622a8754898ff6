"""The Deployment and its pod, as somebody on a laptop finds them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from shared.kube.connection import Kube
from tests.sim.kube.cluster import Cluster
from tests.unit.conftest import OddServer, http, kube_of
from workers.commands.doctor.cluster import check_api_server, check_bundle, check_pod, check_usage
from workers.commands.doctor.findings import Finding, Verdict
from workers.commands.doctor.installation import ACCOUNT, Installation

HERE = Installation("cloudoptim")
DEPLOYMENTS = f"/apis/apps/v1/namespaces/{HERE.namespace}/deployments"


@pytest.fixture(autouse=True)
def namespace(cluster: Cluster) -> None:
    """Not kube-system: it is wherever its owner put it."""
    cluster.add_namespace(HERE.namespace)


def deployed(kube: Kube, ready: int, replicas: int = 1) -> Finding:
    labels, containers = {"app": ACCOUNT}, [{"name": "agent", "image": "agent:1"}]
    template = {"metadata": {"labels": labels}, "spec": {"containers": containers}}
    spec = {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template}
    kube.call("POST", DEPLOYMENTS, None, {"metadata": {"name": ACCOUNT}, "spec": spec})
    status = {"status": {"readyReplicas": ready}}
    kube.call("PATCH", f"{DEPLOYMENTS}/{ACCOUNT}/status", None, status, "application/merge-patch+json")
    return {finding.topic: finding for finding in check_bundle(kube, HERE, inside=False)}["deployment"]


@pytest.mark.parametrize(
    ("ready", "replicas", "verdict", "words"),
    [
        (1, 1, Verdict.OK, "its pod is ready"),
        (0, 1, Verdict.FAIL, "no pod is ready"),
        (0, 0, Verdict.FAIL, "scaled to 0"),
    ],
)
def test_a_deployment_is_as_good_as_its_pod(
    kube: Kube, ready: int, replicas: int, verdict: Verdict, words: str
) -> None:
    finding = deployed(kube, ready, replicas)
    assert (finding.verdict, words in finding.detail) == (verdict, True)
    assert bool(finding.advice) == (verdict is Verdict.FAIL)


def pod(cluster: Cluster, kube: Kube, **status: Any) -> list[Finding]:
    """What is said of the agent's pod with this status."""
    cluster.add_pod(HERE.namespace, "agent-x", "node-1", labels={"app": ACCOUNT})
    path = f"/api/v1/namespaces/{HERE.namespace}/pods/agent-x/status"
    kube.call("PATCH", path, None, {"status": status}, "application/merge-patch+json")
    return list(check_pod(kube, HERE))


def test_no_pod_is_a_failure(kube: Kube) -> None:
    (finding,) = check_pod(kube, HERE)
    assert (finding.topic, finding.verdict) == ("pod", Verdict.FAIL)


def test_why_a_pod_waits_is_said(cluster: Cluster, kube: Kube) -> None:
    waiting = {"reason": "ImagePullBackOff", "message": "Back-off pulling image"}
    status = [{"name": "agent", "state": {"waiting": waiting}}]
    found = pod(cluster, kube, phase="Pending", containerStatuses=status)[0]
    assert found.verdict is Verdict.FAIL
    assert found.detail == "agent-x is Pending: ImagePullBackOff Back-off pulling image"
    assert found.advice == "kubectl -n cloudoptim describe pod agent-x"


@pytest.mark.parametrize(
    ("reason", "message", "advice"),
    [
        ("OOMKilled", "", "raise the memory limit, and report it"),
        ("Error", "Central refused the API key", "see the message and the log"),
    ],
)
def test_why_it_ended_last_is_said(cluster: Cluster, kube: Kube, reason: str, message: str, advice: str) -> None:
    ended = {"terminated": {"reason": reason, "message": message, "exitCode": 1}}
    status = [{"name": "agent", "restartCount": 4, "state": {"running": {}}, "lastState": ended}]
    found = {finding.topic: finding for finding in pod(cluster, kube, phase="Running", containerStatuses=status)}
    assert found["pod"].verdict is Verdict.OK
    assert found["restarts"].detail == f"4, the last for {reason} {message}".strip()
    assert found["restarts"].advice == advice


@pytest.mark.parametrize(
    ("answer", "verdict", "words"),
    [
        (http(200, b'{"ready": true}'), Verdict.OK, '{"ready": true}'),
        (http(503, b'{"ready": false, "reasons": ["central: away"]}'), Verdict.FAIL, "central: away"),
        (http(403, b'{"kind": "Status"}'), Verdict.UNKNOWN, "403"),
        (http(502, b"<html>"), Verdict.UNKNOWN, "502"),
    ],
    ids=["ready", "not ready", "forbidden", "no agent"],
)
def test_ready_is_asked_through_the_api_server(tmp_path: Path, answer: bytes, verdict: Verdict, words: str) -> None:
    pods = http(200, b'{"items": [{"metadata": {"name": "agent-x"}, "status": {"phase": "Running"}}]}')
    with OddServer(pods, answer) as server:
        found = {finding.topic: finding for finding in check_pod(kube_of(server.url, tmp_path), HERE)}
        assert b"/pods/agent-x:8080/proxy/ready" in server.requests[1]
    assert found["/ready"].verdict is verdict
    assert words in found["/ready"].detail


def test_utilisation_that_is_not_there_is_a_warning(cluster: Cluster, kube: Kube) -> None:
    cluster.set_metrics(versions=("v1", "v1beta1"))
    (finding,) = check_usage(kube)
    assert (finding.verdict, finding.detail) == (Verdict.OK, "v1 tells the usage of 3 nodes")
    cluster.set_metrics("absent")
    (finding,) = check_usage(kube)
    assert finding.verdict is Verdict.WARN
    assert "metrics-server" in finding.advice


@pytest.mark.parametrize("answer", [b"", http(500), http(200, b"<html>"), http(401)], ids=["cut", "500", "html", "401"])
def test_something_else_than_an_api_server_is_a_failure(tmp_path: Path, answer: bytes) -> None:
    with OddServer(answer) as server:
        (finding,) = check_api_server(kube_of(server.url, tmp_path))
    assert (finding.topic, finding.verdict) == ("kubernetes api", Verdict.FAIL)
    assert "KUBECONFIG" in finding.advice
