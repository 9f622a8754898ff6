"""docs/platforms.md: what it says to set is rendered both ways, and is what each platform asks for."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.container.bundle import K8S, Object, fill_in, one, render
from tests.sim.agent import ROOT
from tests.unit.bundle.conftest import Run
from tests.unit.bundle.test_chart import SETTINGS, comparable, templated

PAGE = (ROOT / "docs" / "platforms.md").read_text()
SECTIONS: dict[str, str] = dict(re.findall(r"^## (.*?)\n(.*?)(?=^## |\Z)", PAGE, re.DOTALL | re.MULTILINE))

pytestmark = pytest.mark.usefixtures("kubectl")


def snippet(section: str, file: str) -> Any:
    """The YAML that a section has for a file; None without one."""
    found = re.search(rf"^```yaml\n# {re.escape(file)}\n(.*?)^```", SECTIONS[section], re.DOTALL | re.MULTILINE)
    return yaml.safe_load(found[1]) if found else None


def kustomized(folder: Path, section: str) -> list[Object]:
    """The bundle with the section's lines in cluster/kustomization.yaml."""
    added = snippet(section, "k8s/cluster/kustomization.yaml")
    bundle = fill_in(folder / "k8s", SETTINGS)
    path = bundle / "cluster" / "kustomization.yaml"
    kustomization = yaml.safe_load(path.read_text())
    generated = [*kustomization["configMapGenerator"]]
    for generator in added.pop("configMapGenerator", []):
        generated[0].setdefault("literals", []).extend(generator["literals"])
    path.write_text(yaml.safe_dump({**kustomization, **added, "configMapGenerator": generated}))
    return render(bundle)


def pod_of(objects: list[Object]) -> Object:
    spec: Object = one(objects, "Deployment")["spec"]["template"]["spec"]
    return spec


BOTH = [name for name in SECTIONS if snippet(name, "values.yaml")]


@pytest.mark.parametrize("section", BOTH)
def test_kustomize_and_helm_say_the_same(tmp_path: Path, run: Run, section: str) -> None:
    values = snippet(section, "values.yaml")
    assert comparable(templated(run, tmp_path, values)) == comparable(kustomized(tmp_path, section))


def test_every_platform_of_the_page_is_tried() -> None:
    assert len(BOTH) >= 6
    assert set(SECTIONS) - set(BOTH) == {"A namespace of your own", "GitOps"}


def test_a_namespace_of_ones_own(tmp_path: Path) -> None:
    objects = kustomized(tmp_path, "A namespace of your own")
    assert {each["metadata"].get("namespace") for each in objects} == {None, "cloudoptim"}


@pytest.mark.parametrize("section", ["GKE Autopilot", "EKS with Fargate"])
def test_requests_are_limits_where_a_platform_asks_for_it(tmp_path: Path, section: str) -> None:
    resources = pod_of(kustomized(tmp_path, section))["containers"][0]["resources"]
    assert resources["requests"] == resources["limits"]


def test_autopilot_meets_no_label_it_does_not_know(tmp_path: Path) -> None:
    objects = kustomized(tmp_path, "GKE Autopilot")
    pod = pod_of(objects)
    assert "affinity" not in pod
    assert set(pod["nodeSelector"]) == {"kubernetes.io/os"}
    assert "kube-system" not in {each["metadata"].get("namespace") for each in objects}


def test_hybrid_nodes_are_shunned_and_on_demand_nodes_still_preferred(tmp_path: Path) -> None:
    affinity = pod_of(kustomized(tmp_path, "EKS with hybrid nodes"))["affinity"]["nodeAffinity"]
    assert len(affinity) == 2


def test_a_proxy_can_be_reached(tmp_path: Path) -> None:
    objects = kustomized(tmp_path, "Behind a proxy, with a network policy")
    assert one(objects, "ConfigMap")["data"]["HTTPS_PROXY"].endswith(":3128")
    ports = [port["port"] for rule in one(objects, "NetworkPolicy")["spec"]["egress"] for port in rule["ports"]]
    assert 3128 in ports


def test_gitops_keeps_the_bundle_whole_and_ones_own_elsewhere(tmp_path: Path) -> None:
    shutil.copytree(K8S, tmp_path / "vendor" / "cloudoptim" / "k8s", ignore=shutil.ignore_patterns("cluster"))
    mine = tmp_path / "clusters" / "prod-eu-1" / "cloudoptim"
    mine.mkdir(parents=True)
    own = snippet("GitOps", "clusters/prod-eu-1/cloudoptim/kustomization.yaml")
    (mine / "kustomization.yaml").write_text(yaml.safe_dump(own))
    objects = render(mine)
    assert {"Deployment", "ConfigMap", "PodMonitor"} <= {each["kind"] for each in objects}
    assert all(each["metadata"]["labels"]["app"] == "cloudoptim-agent" for each in objects)
    assert {"apiGroups": [""], "resources": ["pods"], "verbs": ["patch"]} in one(objects, "ClusterRole")["rules"]
