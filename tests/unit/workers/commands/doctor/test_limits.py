"""Which limits are set, and whether the API server holds the agent to them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.config import load
from shared.kube.connection import MERGE_PATCH, Answer, Kube
from tests.container.bundle import policies
from tests.sim.agent import ROOT
from tests.sim.kube.cluster import Cluster
from tests.unit.conftest import kube_of, settings_of
from workers.commands.doctor.findings import Finding, Verdict
from workers.commands.doctor.limits import check_admission, check_limits, verdict_on_try

K8S = ROOT / "k8s"


def test_the_limits_that_are_set_are_shown_as_the_owner_wrote_them(run_dir: Path) -> None:
    env = {
        "ALLOWED_TASK_TYPES": "drain_node,cordon_node",
        "MAX_CORDONED_NODES": "3,10%/zone",
        "MAINTENANCE_WINDOWS": "Sat 08:00-09:00; Sun 08:00-09:00 Europe/Berlin",
        "READ_ONLY": "true",
    }
    (finding,) = check_limits(settings_of(run_dir, **env).tasks.limits)
    assert finding.verdict is Verdict.OK
    for words in (
        "ALLOWED_TASK_TYPES is cordon_node,drain_node",
        "MAX_CORDONED_NODES is 3,10%/zone",
        "MAINTENANCE_WINDOWS is Sat 08:00-09:00; Sun 08:00-09:00 Europe/Berlin",
        "READ_ONLY is true",
        "cloudoptim.io/protected=true is kept",
    ):
        assert words in finding.detail


def test_what_is_shown_can_be_set_again(run_dir: Path) -> None:
    limits = settings_of(run_dir, MAX_CORDONED_NODES="5%/a,7", PROTECTED_NAMESPACES="b, c").tasks.limits
    environ = {"CENTRAL_SERVER_URL": "http://127.0.0.1:1", "CENTRAL_API_KEY": "k", "CLUSTER_ID": "demo"}
    assert load({**environ, **limits.words()}).tasks.limits == limits


def test_limits_that_cannot_be_read_are_a_failure(run_dir: Path) -> None:
    (run_dir / "max-cordoned-nodes").write_text("ten")
    first, *_ = check_limits(settings_of(run_dir, LIMITS_DIR=str(run_dir)).tasks.limits.current())
    assert first.verdict is Verdict.FAIL
    assert "max-cordoned-nodes: expected" in first.detail


# -- in the API server ----------------------------------------------------------------------------


@pytest.fixture
def bundle() -> Iterator[Cluster]:
    pytest.importorskip("cel_expr_python", reason="the evaluator of policies has no wheels for Python 3.10")
    with Cluster(nodes=1, rbac=[K8S / "base" / "rbac.yaml"], controllers=False) as cluster:
        yield cluster


def apply(kube: Kube) -> None:
    for path, policy in policies("admission-limits"):
        kube.call("POST", path, None, policy)


def tried(cluster: Cluster, folder: Path) -> list[Finding]:
    folder.mkdir(exist_ok=True)
    return list(check_admission(kube_of(cluster.url, folder, cluster.agent_token), inside=True))


def test_inside_the_pod_it_is_tried_and_nothing_is_changed(bundle: Cluster, tmp_path: Path) -> None:
    before = [json.dumps(node) for node in bundle.nodes()]
    assert ["and nothing forbids it" in finding.detail for finding in tried(bundle, tmp_path / "agent")] == [True, True]
    apply(kube_of(bundle.url, tmp_path, "admin"))
    findings = tried(bundle, tmp_path / "agent")
    assert [finding.verdict for finding in findings] == [Verdict.OK] * 2
    assert "in force; tried with dryRun=All to change a node's annotations" in findings[0].detail
    assert "denied request: kube-system is protected" in findings[1].detail
    assert [json.dumps(node) for node in bundle.nodes()] == before


def test_a_read_only_agent_has_nothing_to_try(bundle: Cluster, tmp_path: Path) -> None:
    bundle.access.grants[0] = type(bundle.access.grants[0])(
        "", ({"apiGroups": [""], "resources": ["nodes"], "verbs": ["get", "list"]},)
    )
    assert all("no right to write at all" in finding.detail for finding in tried(bundle, tmp_path))


def test_what_else_refuses_is_quoted() -> None:
    body = b'{"message": "admission webhook \\"guard\\" denied the request: no"}'
    finding = verdict_on_try("x", Answer(403, {}, body))
    assert finding.verdict is Verdict.UNKNOWN
    assert 'admission webhook "guard" denied' in finding.detail


def test_from_a_laptop_the_policies_are_looked_at(bundle: Cluster, tmp_path: Path) -> None:
    admin = kube_of(bundle.url, tmp_path, "admin")
    assert all("is not applied" in finding.detail for finding in check_admission(admin, inside=False))
    apply(admin)
    assert all("is there and bound" in finding.detail for finding in check_admission(admin, inside=False))
    bindings = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings"
    audit = {"spec": {"validationActions": ["Audit"]}}
    admin.call("PATCH", f"{bindings}/cloudoptim-agent-nodes", None, audit, MERGE_PATCH)
    admin.call("DELETE", f"{bindings}/cloudoptim-agent-pods")
    found = {finding.detail.split()[0]: finding.verdict for finding in check_admission(admin, inside=False)}
    assert found == {
        "cloudoptim-agent-nodes": Verdict.WARN,
        "cloudoptim-agent-pods": Verdict.FAIL,
        "cloudoptim-agent-protected-pods": Verdict.OK,
    }
