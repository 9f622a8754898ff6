"""The bundle on a real API server, that of TEST_KUBECONFIG: admitted, installed, upgraded, gone without a trace.

It installs the agent in kube-system under its own names, so it leaves a cluster alone where one is installed.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.container.bundle import K8S, fill_in, helm, kubectl, one, render
from tests.sim.agent import ROOT

_ACCOUNT = "system:serviceaccount:kube-system:cloudoptim-agent"
_GRANTING = ("pod-labels", "forced-delete", "volume-wait", "kubernetes-events", "device-claims")


@pytest.fixture(autouse=True)
def kubeconfig(monkeypatch: pytest.MonkeyPatch) -> str:
    """kubectl talks to the cluster of TEST_KUBECONFIG, and to no other."""
    given = os.environ.get("TEST_KUBECONFIG")
    if not given:
        pytest.skip("TEST_KUBECONFIG names no cluster to try the bundle on")
    monkeypatch.setenv("KUBECONFIG", given)
    return given


@pytest.fixture
def vacant() -> Iterator[None]:
    """Nobody's agent is there before, and ours is not afterwards."""
    assert remains() == [], "an agent is installed in this cluster; it is left alone"
    yield
    if remains():
        kubectl("delete", "deployment/cloudoptim-agent", "-n", "kube-system", "--ignore-not-found")
        kubectl("delete", f"{listable()}", "-A", "-l", "app=cloudoptim-agent", "--ignore-not-found")


def listable() -> str:
    """Every kind that kubectl can list and delete, for a search by label."""
    return ",".join(kubectl("api-resources", "--verbs=list,delete", "-o", "name").stdout.split())


def remains() -> list[str]:
    """What carries the agent's label, the cluster over."""
    found = kubectl("get", listable(), "-A", "-l", "app=cloudoptim-agent", "-o", "json", "--ignore-not-found").stdout
    return [f"{each['kind']} {each['metadata']['name']}" for each in json.loads(found or '{"items": []}')["items"]]


def may(verb: str, resource: str, account: str = _ACCOUNT) -> bool:
    kind, _, part = resource.partition("/")
    asked = ("auth", "can-i", verb, kind, f"--subresource={part}", "--all-namespaces", "--as", account)
    return kubectl(*asked, check=False).stdout.strip() == "yes"


def test_admitted_as_it_is(tmp_path: Path) -> None:
    kubectl("apply", "--dry-run=server", "-k", str(fill_in(tmp_path / "k8s")))


def test_admitted_with_what_can_be_opted_in(tmp_path: Path) -> None:
    bundle = fill_in(tmp_path / "k8s", components=(*_GRANTING, "prices", "private-ca", "scrape-annotations"))
    kubectl("apply", "--dry-run=server", "-k", str(bundle))


def test_passes_pod_security_restricted(tmp_path: Path) -> None:
    template = one(render(fill_in(tmp_path / "k8s")), "Deployment")["spec"]["template"]
    spec = {**template["spec"], "serviceAccountName": "default"}
    del spec["priorityClassName"]  # Both belong to the bundle, which is not installed here.
    namespace = "cloudoptim-pod-security"
    labels = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "warn")}
    metadata = {"name": namespace, "labels": labels}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "agent", "namespace": namespace}, "spec": spec}
    kubectl("apply", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}))
    try:
        done = kubectl("create", "--dry-run=server", "-f", "-", stdin=json.dumps(pod))
    finally:
        kubectl("delete", "namespace", namespace)
    assert "Warning" not in done.stderr


@pytest.mark.usefixtures("vacant")
def test_installed_upgraded_and_gone(tmp_path: Path) -> None:
    bundle = str(fill_in(tmp_path / "k8s", api_key="live-key"))
    kubectl("apply", "-k", bundle)
    kubectl("rollout", "status", "deployment/cloudoptim-agent", "-n", "kube-system", "--timeout=120s")
    lines = kubectl("apply", "-k", bundle).stdout.splitlines()
    assert all(line.endswith(" unchanged") for line in lines), lines

    # A newer bundle without the user's directory: refused as a whole; and its base knows of no key.
    (tmp_path / "k8s" / "cluster").rename(tmp_path / "kept")
    refused = kubectl("apply", "-k", bundle, check=False)
    assert (refused.returncode, refused.stdout) == (1, "")
    kubectl("apply", "-k", f"{bundle}/base")
    secret = kubectl("get", "secret", "cloudoptim-client-secret", "-n", "kube-system", "-o", "json").stdout
    assert json.loads(secret)["data"]["api-key"] == "bGl2ZS1rZXk="
    (tmp_path / "kept").rename(tmp_path / "k8s" / "cluster")

    kubectl("delete", "-k", bundle)
    kubectl("wait", "pod", "-l", "app=cloudoptim-agent", "-n", "kube-system", "--for=delete", "--timeout=180s")
    assert remains() == []


def test_install_yaml_is_admitted() -> None:
    kubectl("apply", "--dry-run=server", "-f", str(K8S / "install.yaml"))


@pytest.mark.usefixtures("vacant")
def test_helm_installs_upgrades_and_removes_it_in_a_namespace_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "values.yaml").write_text(
        json.dumps({"config": {"central-server-url": "https://central.test", "cluster-id": "demo"}, "apiKey": "k"})
    )
    given = ("cloudoptim", str(K8S / "chart"), "--values", str(tmp_path / "values.yaml"))
    space = ("--namespace", "cloudoptim-chart")
    account = "system:serviceaccount:cloudoptim-chart:cloudoptim-agent"
    try:
        helm("install", *given, *space, "--create-namespace", "--dry-run=server")
        helm("install", *given, *space, "--create-namespace", "--set", "components.podLabels=true")
        assert may("patch", "pods", account)
        helm("upgrade", *given, *space)
        assert not may("patch", "pods", account)
        assert may("create", "pods/eviction", account)
        helm("uninstall", "cloudoptim", *space, "--wait")
    finally:
        kubectl("delete", "namespace", "cloudoptim-chart", "--ignore-not-found")
    assert remains() == []


@pytest.mark.usefixtures("vacant")
def test_leaving_a_component_out_takes_its_rights_back(tmp_path: Path) -> None:
    beyond = {("patch", "pods"), ("delete", "pods"), ("list", "volumeattachments.storage.k8s.io"), ("create", "events")}
    plain = str(fill_in(tmp_path / "plain"))
    kubectl("apply", "-k", str(fill_in(tmp_path / "all", components=_GRANTING)))
    assert all(may(*right) for right in beyond)
    kubectl("apply", "-k", plain)
    assert not any(may(*right) for right in beyond)
    assert not any(may(verb, kind) for verb in ("get", "list") for kind in ("secrets", "configmaps"))
    assert may("create", "pods/eviction")
    assert may("patch", "nodes")
    page = (ROOT / "docs" / "operations.md").read_text().replace("\\\n", " ")
    (documented,) = re.findall(r"^\$ kubectl (auth can-i .*)$", page, re.MULTILINE)
    assert kubectl(*documented.split()).stdout.strip() == "yes"
    kubectl("delete", "-k", plain)
