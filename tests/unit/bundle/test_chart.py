"""The Helm chart and install.yaml say what the bundle says: one source, rendered by Helm and by kubectl."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import yaml

from scripts.chart.__main__ import PLACEHOLDERS, files
from scripts.chart.values import camel
from shared.config.limits import KEYS
from tests.container.bundle import K8S, Object, fill_in, one, render
from tests.sim.agent import ROOT
from tests.sim.kube.cluster import Cluster
from tests.unit.bundle.conftest import Run
from tests.unit.bundle.test_bundle import EVERY, OPERATORS

CHART = K8S / "chart"
SETTINGS = {"central-server-url": "https://central.test", "cluster-id": "demo"}
GIVEN = {"config": SETTINGS, "apiKey": "demo-key"}

pytestmark = pytest.mark.usefixtures("kubectl", "helm")


@pytest.fixture
def helm(run: Run) -> None:
    """Only where there is a Helm."""
    run("helm", "version")


def templated(run: Run, folder: Path, values: Object, namespace: str = "kube-system") -> list[Object]:
    """The objects of ``helm template`` with these values over those that every installation gives."""
    file = folder / "values.yaml"
    config = {**SETTINGS, **values["config"]} if "config" in values else SETTINGS
    file.write_text(yaml.safe_dump({**GIVEN, **values, "config": config}))
    said = run("helm", "template", "agent", str(CHART), "--namespace", namespace, "--values", str(file)).stdout
    return [each for each in yaml.safe_load_all(said) if each]


def chosen(components: Iterable[str]) -> Object:
    return {"components": {camel(name): True for name in components}}


def comparable(objects: Iterable[Object]) -> dict[str, Object]:
    """By kind and name; without what only one of the two can say, and with lists in one order."""
    found = {}
    for each in objects:
        each = json.loads(json.dumps(each))
        if each["kind"] == "Deployment":
            # Helm restarts the pod for a changed setting; with kubectl its user does.
            assert len(each["spec"]["template"]["metadata"]["annotations"].pop("checksum/config", "x" * 64)) in (1, 64)
        found[f"{each['kind']} {each['metadata']['name']}"] = _in_order(each)
    return found


def _in_order(node: Any) -> Any:
    """Lists sorted, but for those in which an order means something."""
    if isinstance(node, dict):
        return {key: value if key in ("command", "args") else _in_order(value) for key, value in node.items()}
    if isinstance(node, list):
        return sorted((_in_order(item) for item in node), key=lambda item: json.dumps(item, sort_keys=True))
    return node


def test_chart_and_install_are_made_from_the_bundle() -> None:
    stale = [path for path, text in files().items() if (K8S / path).read_text() != text]
    assert stale == [], "run `make chart`"


def test_helm_finds_nothing_wrong(run: Run) -> None:
    assert "[ERROR]" not in run("helm", "lint", "--strict", str(CHART)).stdout


@pytest.mark.parametrize(
    "components",
    [[], *([name] for name in EVERY), EVERY],
    ids=lambda names: "+".join(names) if len(names) < 2 else "all",
)
def test_each_object_is_that_of_the_bundle(tmp_path: Path, run: Run, components: list[str]) -> None:
    of_chart = comparable(templated(run, tmp_path, chosen(components)))
    of_bundle = comparable(render(fill_in(tmp_path / "k8s", SETTINGS, components=components)))
    assert of_chart == of_bundle


@pytest.mark.parametrize("version", ["1.30", "1.37"])
def test_valid_for_kubernetes(tmp_path: Path, run: Run, version: str) -> None:
    objects = templated(run, tmp_path, {**EVERYTHING, **chosen(name for name in EVERY if name not in OPERATORS)})
    (tmp_path / "all.yaml").write_text(yaml.safe_dump_all(objects))
    run("kubernetes-validate", "--strict", "--kubernetes-version", version, str(tmp_path / "all.yaml"))


AFFINITY = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [{
    "matchExpressions": [{"key": "pool", "operator": "In", "values": ["system"]}]}]}}}  # fmt: skip
TOLERATION = {"key": "CriticalAddonsOnly", "operator": "Exists"}

EVERYTHING: Object = {
    "image": {"repository": "registry.test/agent", "digest": f"sha256:{'0' * 64}"},
    "imagePullSecrets": [{"name": "registry"}],
    "existingSecret": "from-a-vault",
    "resources": {"limits": {"memory": "512Mi"}},
    "nodeSelector": {"pool": "system"},
    "tolerations": [TOLERATION],
    "affinity": AFFINITY,
    "labels": {"team": "platform"},
    "annotations": {"owner": "platform"},
    "podLabels": {"sidecar.istio.io/inject": "false"},
    "podAnnotations": {"scanned": "no"},
    "env": [{"name": "SPOT_NODE_LABEL", "value": "pool=spot"}],
    "proxy": {"https": "http://proxy.test:3128", "noProxy": "10.0.0.1"},
    "priorityClass": {"create": False, "name": "platform-high"},
    "serviceAccount": {"annotations": {"note": "ours"}},
    "networkPolicy": {"egress": [{"ports": [{"protocol": "TCP", "port": 3128}]}]},
    "privateCa": {"certificate": "-----BEGIN CERTIFICATE-----\nMIIB\n"},
    "prices": {"json": '{"m5.large": 0.1}'},
    "persistentSpool": {"size": "2Gi", "storageClass": "fast"},
    **chosen(["network-policy", "persistent-spool", "private-ca", "prices"]),
}


def test_each_value_arrives(tmp_path: Path, run: Run) -> None:
    objects = templated(run, tmp_path, EVERYTHING, namespace="cloudoptim")
    deployment = one(objects, "Deployment")
    template = deployment["spec"]["template"]
    pod = template["spec"]
    (agent,) = pod["containers"]
    assert agent["image"] == f"registry.test/agent@sha256:{'0' * 64}"
    assert pod["imagePullSecrets"] == [{"name": "registry"}]
    assert {volume["name"]: volume for volume in pod["volumes"]}["secret"]["secret"]["secretName"] == "from-a-vault"
    assert "Secret" not in {each["kind"] for each in objects}
    assert agent["resources"] == {
        "limits": {"cpu": "200m", "memory": "512Mi"},
        "requests": {"cpu": "100m", "memory": "128Mi"},
    }
    assert pod["nodeSelector"] == {"kubernetes.io/os": "linux", "pool": "system"}
    assert TOLERATION in pod["tolerations"]
    assert len(pod["tolerations"]) == 3
    assert pod["affinity"]["nodeAffinity"].items() > AFFINITY["nodeAffinity"].items(), "beside the preferences"
    assert all(each["metadata"]["labels"]["app"] == "cloudoptim-agent" for each in objects)
    assert {each["kind"] for each in objects if each["metadata"]["labels"].get("team") != "platform"} == set()
    assert deployment["metadata"]["annotations"] == {"owner": "platform"}
    assert template["metadata"]["labels"]["sidecar.istio.io/inject"] == "false"
    assert template["metadata"]["annotations"]["scanned"] == "no"
    assert agent["env"][-1] == {"name": "SPOT_NODE_LABEL", "value": "pool=spot"}
    config = one(objects, "ConfigMap", "cloudoptim-client-config")["data"]
    assert (config["HTTPS_PROXY"], config["NO_PROXY"]) == ("http://proxy.test:3128", "10.0.0.1")
    assert "HTTP_PROXY" not in config
    assert pod["priorityClassName"] == "platform-high"
    assert "PriorityClass" not in {each["kind"] for each in objects}
    assert one(objects, "ServiceAccount")["metadata"]["annotations"] == {"note": "ours"}
    assert one(objects, "NetworkPolicy")["spec"]["egress"][-1] == {"ports": [{"protocol": "TCP", "port": 3128}]}
    assert one(objects, "ConfigMap", "cloudoptim-client-ca")["data"]["ca.crt"].endswith("\nMIIB\n")
    assert one(objects, "ConfigMap", "cloudoptim-client-prices")["data"]["prices.json"] == '{"m5.large": 0.1}'
    claim = one(objects, "PersistentVolumeClaim")["spec"]
    assert (claim["resources"]["requests"]["storage"], claim["storageClassName"]) == ("2Gi", "fast")
    assert {each["metadata"].get("namespace") for each in objects} == {None, "cloudoptim"}
    assert one(objects, "ClusterRoleBinding")["subjects"][0]["namespace"] == "cloudoptim"


def test_a_namespace_can_be_said_for_tools_that_render_without_one(tmp_path: Path, run: Run) -> None:
    objects = templated(run, tmp_path, {"namespace": "cloudoptim"}, namespace="default")
    assert {each["metadata"].get("namespace") for each in objects} == {None, "cloudoptim"}


def test_a_changed_setting_restarts_the_pod_and_a_changed_limit_does_not(tmp_path: Path, run: Run) -> None:
    def checksum(**settings: str) -> str:
        objects = templated(run, tmp_path, {"config": settings})
        return str(one(objects, "Deployment")["spec"]["template"]["metadata"]["annotations"]["checksum/config"])

    assert checksum() != checksum(**{"log-level": "DEBUG"})
    assert checksum() == checksum(**{"tasks-paused": "true", "max-drains-per-hour": "3"})
    mounted = (CHART / "templates" / "_mounted.tpl").read_text()
    assert [key for key in KEYS if f'"{key}"' not in mounted] == []


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"config": {"central-server-url": ""}}, "config.central-server-url"),
        ({"config": {"cluster-id": ""}}, "config.cluster-id"),
        ({"apiKey": ""}, "existingSecret"),
        ({"components": {"podLables": True}}, "podLables"),
        ({"maxCordonedNodes": 3}, "maxCordonedNodes"),
        ({"image": {"digest": "latest"}}, "digest"),
    ],
    ids=["no URL", "no cluster", "no key", "no such component", "no such value", "no digest"],
)
def test_what_is_missing_or_misspelt_is_refused_by_name(tmp_path: Path, run: Run, values: Object, said: str) -> None:
    with pytest.raises(AssertionError, match=said):
        templated(run, tmp_path, values)


def test_an_api_server_takes_it(tmp_path: Path, run: Run) -> None:
    """The simulator has no OpenAPI to validate by; that is tested above, and on a cluster by `make container-test`."""
    values = {**GIVEN, **chosen(name for name in EVERY if name not in OPERATORS)}
    (tmp_path / "values.yaml").write_text(yaml.safe_dump(values))
    with Cluster(nodes=0) as cluster:
        config = cluster.write_kubeconfig(tmp_path / "kubeconfig", token="admin")
        server = ("--kubeconfig", str(config), "--dry-run=server", "--disable-openapi-validation")
        given = ("--namespace", "kube-system", "--values", str(tmp_path / "values.yaml"))
        assert "Is it well?" in run("helm", "install", "agent", str(CHART), *given, *server).stdout


def test_a_packed_chart_is_whole(tmp_path: Path, run: Run) -> None:
    """The dashboard is a link in the repository, and a file in the package."""
    run("helm", "package", str(CHART), "--destination", str(tmp_path))
    (packed,) = tmp_path.glob("*.tgz")
    (tmp_path / "values.yaml").write_text(yaml.safe_dump({**GIVEN, **chosen(["monitoring"])}))
    said = run("helm", "template", "agent", str(packed), "--values", str(tmp_path / "values.yaml")).stdout
    dashboard = one([each for each in yaml.safe_load_all(said) if each], "ConfigMap", "cloudoptim-agent-dashboard")
    assert json.loads(dashboard["data"]["dashboard.json"])["title"] == "CloudOptim agent"


def test_install_yaml_refuses_to_start_until_it_is_filled_in(tmp_path: Path) -> None:
    """With its own placeholders the agent ends with 78 and names all three."""
    objects = list(yaml.safe_load_all((K8S / "install.yaml").read_text()))
    assert one(objects, "Secret")["stringData"] == {"api-key": PLACEHOLDERS["api-key"]}
    data = one(objects, "ConfigMap")["data"]
    env = {
        "PATH": os.environ["PATH"],
        "AGENT_RUN_DIR": str(tmp_path / "run"),
        "CENTRAL_SERVER_URL": data["central-server-url"],
        "CLUSTER_ID": data["cluster-id"],
        "CENTRAL_API_KEY": PLACEHOLDERS["api-key"],
    }
    command = [sys.executable, "-m", "workers.commands", "run"]
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=60)
    assert done.returncode == 78
    for variable in ("CENTRAL_SERVER_URL", "CLUSTER_ID", "CENTRAL_API_KEY"):
        assert f"cloudoptim-agent: {variable}" in done.stderr


def test_install_yaml_is_the_bundle_without_components(tmp_path: Path) -> None:
    objects = list(yaml.safe_load_all((K8S / "install.yaml").read_text()))
    mine, bundle = comparable(objects), comparable(render(fill_in(tmp_path / "k8s")))
    assert mine.keys() == bundle.keys()
    differing = {name for name in mine if mine[name] != bundle[name]}
    assert differing == {"ConfigMap cloudoptim-client-config", "Secret cloudoptim-client-secret"}
