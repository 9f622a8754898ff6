"""The bundle as kubectl renders it, and what linters think of it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from shared.config.limits import KEYS
from tests.container.bundle import COMPONENTS, K8S, fill_in, one, render
from tests.container.bundle import kubectl as run_kubectl
from tests.sim.agent import ROOT
from tests.unit.bundle.conftest import Run

EVERY = sorted(path.parent.name for path in COMPONENTS.glob("*/kustomization.yaml"))

OBJECTS = {
    ("ServiceAccount", "cloudoptim-agent"),
    ("ClusterRole", "cloudoptim-agent"),
    ("ClusterRoleBinding", "cloudoptim-agent"),
    ("PriorityClass", "cloudoptim-agent"),
    ("Deployment", "cloudoptim-agent"),
    ("ConfigMap", "cloudoptim-client-config"),
    ("Secret", "cloudoptim-client-secret"),
}

OPERATORS = {"monitoring", "service-monitor"}
"""Components whose kinds are the Prometheus operator's, not Kubernetes'."""

SPEC_KEYS = {"central-server-url", "cluster-id", "poll-interval-seconds", "metrics-interval-seconds", "log-level"}

_ACCEPTED = {
    "CKV_K8S_15": "the tag is of one version and never moves; pulling it always would tie a restart to the registry",
    "CKV_K8S_43": "a digest differs between registries; whoever wants one sets it under images: in cluster/",
    "CKV_K8S_38": "the agent is a client of the API server",
    "CKV2_K8S_6": "where Central and the API server are differs; the component network-policy is there to take",
    "CKV_DOCKER_7": "the tag is in the argument's default, where checkov does not look",
}
"""What checkov finds, and why it stays."""

pytestmark = pytest.mark.usefixtures("kubectl")


def test_nothing_is_applied_from_a_fresh_clone(tmp_path: Path) -> None:
    """What is missing is named, and there is no output that could be half an installation."""
    bundle = fill_in(tmp_path / "k8s")
    (bundle / "cluster").rename(tmp_path / "elsewhere")
    refused = run_kubectl("kustomize", str(bundle), check=False)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "k8s/cluster" in refused.stderr


def test_nothing_is_applied_without_the_key(tmp_path: Path) -> None:
    bundle = fill_in(tmp_path / "k8s")
    (bundle / "cluster" / "api-key").unlink()
    refused = run_kubectl("kustomize", str(bundle), check=False)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "api-key" in refused.stderr


def test_objects_have_the_names_of_the_specification(tmp_path: Path) -> None:
    objects = render(fill_in(tmp_path / "k8s"))
    assert {(each["kind"], each["metadata"]["name"]) for each in objects} == OBJECTS
    assert set(one(objects, "ConfigMap")["data"]) >= SPEC_KEYS
    assert set(one(objects, "Secret")["data"]) == {"api-key"}


def test_everything_carries_the_label_and_lives_in_kube_system(tmp_path: Path) -> None:
    policies = {"ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"}
    cluster_wide = {"ClusterRole", "ClusterRoleBinding", "PriorityClass", *policies}
    for each in render(fill_in(tmp_path / "k8s", components=["monitoring", "admission-limits", "read-only"])):
        assert each["metadata"]["labels"]["app"] == "cloudoptim-agent", each["kind"]
        assert each["metadata"].get("namespace") == (None if each["kind"] in cluster_wide else "kube-system")


def test_base_brings_no_values_of_a_cluster() -> None:
    assert not {"ConfigMap", "Secret"} & {each["kind"] for each in render(K8S / "base")}


def test_the_users_directory_is_not_in_the_repository() -> None:
    assert "/cluster/" in (K8S / ".gitignore").read_text().splitlines()
    assert not (K8S / "cluster.example" / "api-key").exists()


@pytest.mark.parametrize("component", EVERY)
def test_each_component_renders_by_itself(tmp_path: Path, component: str) -> None:
    plain = render(fill_in(tmp_path / "plain"))
    assert render(fill_in(tmp_path / "k8s", components=[component])) != plain


def test_mounts_of_components_have_their_volumes(tmp_path: Path) -> None:
    pod = one(render(fill_in(tmp_path / "k8s", components=EVERY)), "Deployment")["spec"]["template"]["spec"]
    mounts = [mount["name"] for mount in pod["containers"][0]["volumeMounts"]]
    assert sorted(mounts) == sorted(volume["name"] for volume in pod["volumes"])
    assert {"prices", "ca"} <= set(mounts)


def test_every_limit_of_the_owner_is_mounted(tmp_path: Path) -> None:
    """As files, so that a change holds without a restart; a key that is not there is no file."""
    pod = one(render(fill_in(tmp_path / "k8s")), "Deployment")["spec"]["template"]["spec"]
    (guards,) = (volume["configMap"] for volume in pod["volumes"] if volume["name"] == "guards")
    assert guards["optional"] is True
    assert {item["key"] for item in guards["items"]} == {"tasks-paused", *KEYS}
    assert all(item["key"] == item["path"] for item in guards["items"])
    assert not {"ALLOWED_TASK_TYPES", "MAX_CORDONED_NODES"} & {env["name"] for env in pod["containers"][0]["env"]}


@pytest.mark.parametrize("others", [[], ["pod-labels", "forced-delete", "kubernetes-events"]])
def test_a_read_only_agent_may_write_nothing(tmp_path: Path, others: list[str]) -> None:
    """Rules that other components add stay in the role, and the policy refuses what they grant."""
    objects = render(fill_in(tmp_path / "k8s", components=[*others, "read-only"]))
    writes = [rule for rule in one(objects, "ClusterRole")["rules"] if set(rule["verbs"]) - {"get", "list", "watch"}]
    assert len(writes) == len(others)
    (rule,) = one(objects, "ValidatingAdmissionPolicy")["spec"]["matchConstraints"]["resourceRules"]
    assert {resource for each in writes for resource in each["resources"]} <= set(rule["resources"])
    assert rule["operations"] == ["*"]
    env = one(objects, "Deployment")["spec"]["template"]["spec"]["containers"][0]["env"]
    assert {"name": "READ_ONLY", "value": "true"} in env


def test_a_line_of_the_example_can_be_uncommented_by_itself(tmp_path: Path) -> None:
    """As it is it has none; and what is written there is what stands in the documentation."""
    example = (K8S / "cluster.example" / "kustomization.yaml").read_text()
    for line in re.findall(r"^# - \.\./components/.*$", example, re.MULTILINE):
        bundle = fill_in(tmp_path / line.rpartition("/")[2])
        (bundle / "cluster" / "kustomization.yaml").write_text(example.replace(line, line.removeprefix("# ")))
        assert render(bundle)
    (bundle / "cluster" / "kustomization.yaml").write_text(example)
    assert {(each["kind"], each["metadata"]["name"]) for each in render(bundle)} == OBJECTS


def test_another_namespace_takes_all_of_it(tmp_path: Path) -> None:
    """The subject of the binding too, or the agent could do nothing there."""
    bundle = fill_in(tmp_path / "k8s", components=EVERY)
    kustomization = bundle / "cluster" / "kustomization.yaml"
    kustomization.write_text(kustomization.read_text() + "namespace: elsewhere\n")
    objects = render(bundle)
    assert {each["metadata"].get("namespace") for each in objects} == {None, "elsewhere"}
    assert one(objects, "ClusterRoleBinding")["subjects"][0]["namespace"] == "elsewhere"


def test_of_two_monitors_one_is_there(tmp_path: Path) -> None:
    """Both would scrape everything twice."""
    objects = render(fill_in(tmp_path / "k8s", components=["monitoring", "service-monitor"]))
    assert {"ServiceMonitor", "PodMonitor"} & {each["kind"] for each in objects} == {"ServiceMonitor"}
    service = one(objects, "Service")
    monitor = one(objects, "ServiceMonitor")["spec"]
    assert service["metadata"]["labels"].items() >= monitor["selector"]["matchLabels"].items()
    assert [port["name"] for port in service["spec"]["ports"]] == [each["port"] for each in monitor["endpoints"]]


def test_openshift_chooses_user_and_groups(tmp_path: Path) -> None:
    """restricted-v2 refuses a user, group or fsGroup of ours, and wants what is left as it is.

    https://docs.openshift.com/container-platform/4.18/authentication/managing-security-context-constraints.html
    """
    pod = one(render(fill_in(tmp_path / "k8s", components=["openshift"])), "Deployment")["spec"]["template"]["spec"]
    assert pod["securityContext"] == {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    own = pod["containers"][0]["securityContext"]
    assert (own["allowPrivilegeEscalation"], own["capabilities"]) == (False, {"drop": ["ALL"]})
    assert {kind for volume in pod["volumes"] for kind in volume} <= {"name", "configMap", "emptyDir", "secret"}


def test_example_names_every_component() -> None:
    example = (K8S / "cluster.example" / "kustomization.yaml").read_text()
    assert [name for name in EVERY if f"../components/{name}\n" not in example] == []


@pytest.mark.parametrize("version", ["1.29", "1.33", "1.37"])
def test_valid_for_kubernetes(tmp_path: Path, run: Run, version: str) -> None:
    components = [name for name in EVERY if name not in OPERATORS]
    rendered = run_kubectl("kustomize", str(fill_in(tmp_path / "k8s", components=components))).stdout
    (tmp_path / "all.yaml").write_text(rendered)
    run("kubernetes-validate", "--strict", "--kubernetes-version", version, str(tmp_path / "all.yaml"))


def test_checkov_finds_nothing_else(tmp_path: Path, run: Run) -> None:
    """Each finding that stays has its reason, and each reason still has its finding."""
    scanned = tmp_path / "scanned"
    scanned.mkdir()
    (scanned / "all.yaml").write_text(run_kubectl("kustomize", str(fill_in(tmp_path / "k8s"))).stdout)
    (scanned / "Dockerfile").write_text((ROOT / "Dockerfile").read_text())
    options = ("--framework", "kubernetes", "dockerfile", "--skip-download", "--soft-fail", "--output", "json")
    reports = json.loads(run("checkov", "--directory", str(scanned), *options).stdout)
    assert {report["check_type"] for report in reports} == {"kubernetes", "dockerfile"}
    found = {check["check_id"] for report in reports for check in report["results"]["failed_checks"]}
    assert found == set(_ACCEPTED)


def test_hadolint_finds_nothing(run: Run) -> None:
    run("hadolint", str(ROOT / "Dockerfile"))
