"""The rules that are asked about are those of the bundle, and what it means when one is denied."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from shared.kube.connection import Kube
from tests.sim.kube.cluster import Cluster
from tests.unit.conftest import kube_of
from workers.commands.doctor.access import RULES, Rule, check_access, verdict_on
from workers.commands.doctor.findings import Verdict
from workers.commands.doctor.installation import Installation

K8S = Path(__file__).resolve().parents[5] / "k8s"
Right = tuple[str, str, str, str]
"""Component, group, resource, verb."""


def granted() -> set[Right]:
    """What the ClusterRole and the components' patches to it grant."""
    found: set[Right] = set()
    sources = [("", K8S / "base" / "rbac.yaml"), *((p.parent.name, p) for p in K8S.glob("components/*/rules.yaml"))]
    for component, path in sources:
        for document in yaml.safe_load_all(path.read_text()):
            rules = document.get("rules", []) if isinstance(document, dict) else [each["value"] for each in document]
            for rule in rules:
                found |= {
                    (component, group, resource, verb)
                    for group in rule["apiGroups"]
                    for resource in rule["resources"]
                    for verb in rule["verbs"]
                }
    return found


def test_what_is_asked_about_is_what_the_bundle_grants() -> None:
    asked = {(rule.component, rule.group, rule.resource, verb) for rule in RULES for verb in rule.verbs}
    assert asked == granted()


@pytest.mark.parametrize(
    ("rule", "denied", "verdict", "words"),
    [
        (Rule("", "nodes", ("patch", "update")), [], Verdict.OK, "patch, update nodes"),
        (Rule("", "nodes", ("patch", "update")), ["patch"], Verdict.FAIL, "not allowed: patch nodes"),
        (Rule("metrics.k8s.io", "pods", ("get",)), ["get"], Verdict.WARN, "not allowed: get pods (metrics.k8s.io)"),
        (Rule("", "pods", ("patch",), "pod-labels"), ["patch"], Verdict.OK, "the component pod-labels"),
        (Rule("", "events", ("create",), "kubernetes-events"), ["create"], Verdict.WARN, "KUBERNETES_EVENTS is true"),
    ],
)
def test_a_denied_verb_is_as_bad_as_what_it_is_for(rule: Rule, denied: list[str], verdict: Verdict, words: str) -> None:
    finding = verdict_on(rule, denied, events_wanted=True)
    assert finding.verdict is verdict
    assert words in finding.detail
    assert bool(finding.advice) == (verdict is not Verdict.OK)


def test_events_nobody_wants_may_be_denied() -> None:
    rule = Rule("", "events", ("create",), "kubernetes-events")
    assert verdict_on(rule, ["create"], events_wanted=False).verdict is Verdict.OK


def test_where_it_cannot_be_asked_that_is_said_once(tmp_path: Path) -> None:
    with Cluster(nodes=0, rbac=[K8S / "base" / "rbac.yaml"]) as cluster:
        agent: Kube = kube_of(cluster.url, tmp_path, cluster.agent_token)
        (finding,) = check_access(agent, Installation(), inside=False, events_wanted=False)
    assert finding.verdict is Verdict.UNKNOWN
    assert 'cannot create resource "subjectaccessreviews"' in finding.detail
    assert "run the doctor in the pod" in finding.advice


def test_a_read_only_agent_may_be_denied_every_write_and_no_read() -> None:
    for rule in RULES:
        verdict = verdict_on(rule, [*rule.verbs], read_only=True).verdict
        reads = rule.component == "" and "list" in rule.verbs
        assert (verdict is not Verdict.OK) == reads
