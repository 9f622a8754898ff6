"""The component admission-limits: what the API server lets the agent's account do, and nobody else's business.

Against the simulator, which evaluates the policies; with ``--kubeconfig`` against a real API server, under names of
its own. All is tried with dryRun=All, by the account itself.
"""

from __future__ import annotations

import json
import re
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from shared.kube.connection import JSON, MERGE_PATCH, Answer, Kube
from shared.kube.errors import NotFound, parse_status
from tests.integration.drain.ground import COLLECTIONS, RealAgents, granted
from tests.sim.agent import ROOT
from tests.sim.kube.cluster import Cluster

COMPONENT = ROOT / "k8s" / "components" / "admission-limits"
POLICIES = ("nodes", "pods", "protected-pods")
PROTECTED = "cloudoptim.io/protected"
RIGHTS = granted(["pod-labels", "forced-delete"])
"""All that any component lets the agent write."""

Object = dict[str, Any]


class Court:
    """A cluster with the policies in force, and what they are to protect, all with names of its own."""

    def __init__(self, admin: Kube, agent: Kube, account: str) -> None:
        self.admin, self.agent = admin, agent
        self.name = f"limits-{uuid.uuid4().hex[:6]}"
        self.account = account
        self.system, self.shop, self.vault = (f"{self.name}-{what}" for what in ("system", "shop", "vault"))
        self._made: list[str] = []

    def policies(self, *paths: Path) -> list[Object]:
        """The component's, or those in ``paths``, for this account, this "kube-system" and this "cloudoptim-agent"."""
        paths = paths or tuple(COMPONENT / f"{name}.yaml" for name in POLICIES)
        text = "---\n".join(path.read_text() for path in paths)
        text = text.replace("[^:]+:cloudoptim-agent$", self.account.partition("system:serviceaccount:")[2] + "$")
        text = re.sub(
            r"(?<=')kube-system(?=')|^(.*message: )kube-system", rf"\1{self.system}", text, flags=re.MULTILINE
        )
        text = re.sub(r"\b(name|policyName): cloudoptim-agent", rf"\1: {self.name}", text)
        return [document for document in yaml.safe_load_all(text) if document]

    @contextmanager
    def read_only(self) -> Iterator[None]:
        """With the policy of the component read-only besides."""
        policies = self.policies(COMPONENT.parent / "read-only" / "policy.yaml")
        before = len(self._made)
        for policy in policies:
            self.make(COLLECTIONS[policy["kind"]], policy["kind"], policy["metadata"]["name"], {}, spec=policy["spec"])
        self.until(lambda: self.patch("plain", {"spec": {"unschedulable": True}}) is not None)
        try:
            yield
        finally:
            for path in reversed(self._made[before:]):
                self.admin.exchange("DELETE", path)
            del self._made[before:]
            self.until(lambda: self.patch("plain", {"spec": {"unschedulable": True}}) is None)

    @contextmanager
    def open(self) -> Iterator[Court]:
        for namespace, labels in ((self.system, {}), (self.shop, {}), (self.vault, {PROTECTED: "true"})):
            self.make("/api/v1/namespaces", "Namespace", namespace, labels)
        for node, labels in (("plain", {}), ("kept", {PROTECTED: "true"}), ("master", {ROLE: ""})):
            self.make("/api/v1/nodes", "Node", f"{self.name}-{node}", {"team": "a", **labels}, spec={})
        for policy in self.policies():
            self.make(COLLECTIONS[policy["kind"]], policy["kind"], policy["metadata"]["name"], {}, spec=policy["spec"])
        for namespace in (self.system, self.shop, self.vault):
            self.until(lambda at=namespace: self.there(f"/api/v1/namespaces/{at}/serviceaccounts/default"))
            self.pod(namespace, "plain")
            self.pod(namespace, "kept", {PROTECTED: "true"})
        try:
            self.until(self._in_force)
            yield self
        finally:
            for path in reversed(self._made):
                self.admin.exchange("DELETE", path, None, {"gracePeriodSeconds": 0})

    simulated = True

    def _in_force(self) -> bool:
        """The API server learns of policies, and of what they are parametrised with, one by one."""
        try:
            may = self.patch("plain", {"spec": {"unschedulable": True}}), self.evict(self.shop, "plain")
            annotated = self.patch("plain", {"metadata": {"annotations": {"a": "b"}}})
            return may == (None, None) and all((annotated, self.evict(self.vault, "x"), self.evict(self.shop, "kept")))
        except AssertionError:
            return False

    def make(self, collection: str, kind: str, name: str, labels: Object, **fields: Any) -> None:
        version = "v1" if collection.startswith("/api/") else collection.removeprefix("/apis/").rpartition("/")[0]
        body = {"apiVersion": version, "kind": kind, "metadata": {"name": name, "labels": labels}, **fields}
        self.admin.call("POST", collection, None, body)
        self._made.append(f"{collection}/{name}")

    def pod(self, namespace: str, name: str, labels: Object | None = None) -> None:
        spec = {"containers": [{"name": "app", "image": "pause:3.10"}], "nodeSelector": {"nowhere": self.name}}
        self.make(f"/api/v1/namespaces/{namespace}/pods", "Pod", name, {"app": name, **(labels or {})}, spec=spec)

    def there(self, path: str) -> bool:
        try:
            self.admin.get(path)
        except NotFound:
            return False
        return True

    def until(self, condition: Any) -> None:
        """A policy is in force a moment after it was made."""
        deadline = time.monotonic() + 60
        while not condition():
            assert time.monotonic() < deadline, "it did not happen in time"
            time.sleep(0.1)

    # -- what the agent tries -----------------------------------------------------------------------

    def patch(self, node: str, body: Any, kind: str = MERGE_PATCH) -> str | None:
        path = f"/api/v1/nodes/{self.name}-{node}"
        return said(self.agent.exchange("PATCH", path, {"dryRun": "All"}, body, kind))

    def label_pod(self, namespace: str, pod: str, body: Any, kind: str = MERGE_PATCH) -> str | None:
        path = f"/api/v1/namespaces/{namespace}/pods/{pod}"
        return said(self.agent.exchange("PATCH", path, {"dryRun": "All"}, body, kind))

    def evict(self, namespace: str, pod: str) -> str | None:
        body = {
            "apiVersion": "policy/v1",
            "kind": "Eviction",
            "metadata": {"name": pod, "namespace": namespace},
            "deleteOptions": {"dryRun": ["All"]},
        }
        return said(self.agent.exchange("POST", f"/api/v1/namespaces/{namespace}/pods/{pod}/eviction", None, body))

    def delete(self, namespace: str, pod: str) -> str | None:
        path = f"/api/v1/namespaces/{namespace}/pods/{pod}"
        return said(self.agent.exchange("DELETE", path, None, {"dryRun": ["All"]}))


ROLE = "node-role.kubernetes.io/control-plane"


def said(answer: Answer) -> str | None:
    """What a policy refused the request with; None when it was let through. Any other answer is a failed test."""
    if answer.status < 300:
        return None
    status = parse_status(answer.status, answer.body)
    head, found, why = str(status.message).partition(" denied request: ")
    assert found, f"{answer.status} {status.message}"
    assert (answer.status, status.reason) == (403, "Forbidden")
    assert " is forbidden: ValidatingAdmissionPolicy 'limits-" in head
    return why


@pytest.fixture(scope="module")
def court(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Court]:
    folder = tmp_path_factory.mktemp("court")
    with ExitStack() as stack:
        if kubeconfig := request.config.getoption("--kubeconfig"):
            admin = Kube(kubeconfig, "limits-tests")
            agents = RealAgents(admin, Path(kubeconfig), folder)
            stack.callback(agents.close)
            path = agents.kubeconfig(RIGHTS)
            agent = Kube(str(path), "limits-tests")
            review = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
            told = agent.call("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", None, review)
            court = Court(admin, agent, json.loads(told)["status"]["userInfo"]["username"])
            court.simulated = False
        else:
            pytest.importorskip("cel_expr_python", reason="the evaluator of policies has no wheels for Python 3.10")
            role = {"kind": "ClusterRole", "metadata": {"name": "cloudoptim-agent"}, "rules": RIGHTS}
            cluster = stack.enter_context(Cluster(nodes=0, rbac=[role]))
            admin = Kube(str(cluster.write_kubeconfig(folder / "admin", token="admin")), "limits-tests")
            agent = Kube(str(cluster.write_kubeconfig(folder / "agent")), "limits-tests")
            court = Court(admin, agent, "system:serviceaccount:kube-system:cloudoptim-agent")
        yield stack.enter_context(court.open())


# -- nodes ----------------------------------------------------------------------------------------

SPEC = "of a node's spec the agent may change unschedulable and nothing else"
LABELS = "the agent may not change these labels: "


@pytest.mark.parametrize(
    ("body", "refusal"),
    [
        ({"spec": {"unschedulable": True}}, None),
        ({"spec": {"unschedulable": None}}, None),
        ({"metadata": {"labels": {"team": "b", "example.com/pool": "x", "notk8s.io/x": "y"}}}, None),
        ({"metadata": {"labels": {"team": None}}}, None),
        ({"metadata": {"labels": {"kubernetes.io/hostname": "x"}}}, f"{LABELS}kubernetes.io/hostname"),
        ({"metadata": {"labels": {"topology.kubernetes.io/zone": "x"}}}, f"{LABELS}topology.kubernetes.io/zone"),
        ({"metadata": {"labels": {ROLE: ""}}}, f"{LABELS}{ROLE}"),
        ({"metadata": {"labels": {"karpenter.sh/do-not-disrupt": "x"}}}, f"{LABELS}karpenter.sh/do-not-disrupt"),
        ({"metadata": {"labels": {"eks.amazonaws.com/nodegroup": "x"}}}, f"{LABELS}eks.amazonaws.com/nodegroup"),
        ({"metadata": {"labels": {"cloud.google.com/gke-spot": "x"}}}, f"{LABELS}cloud.google.com/gke-spot"),
        ({"metadata": {"labels": {"kubernetes.azure.com/mode": "x"}}}, f"{LABELS}kubernetes.azure.com/mode"),
        ({"metadata": {"labels": {"x.k8s.io/y": "x"}}}, f"{LABELS}x.k8s.io/y"),
        ({"metadata": {"labels": {PROTECTED: "true"}}}, f"{LABELS}{PROTECTED}"),
        ({"spec": {"taints": [{"key": "a", "effect": "NoExecute"}]}}, SPEC),
        ({"spec": {"unschedulable": True, "podCIDR": "10.0.0.0/24", "podCIDRs": ["10.0.0.0/24"]}}, SPEC),
        ({"spec": {"providerID": "aws:///x/i-1"}}, SPEC),
        ({"metadata": {"annotations": {"a": "b"}}}, "the agent may not change annotations"),
        ({"metadata": {"finalizers": ["example.com/stuck"]}}, "the agent may not change finalizers or owners"),
        (
            {"metadata": {"ownerReferences": [{"apiVersion": "v1", "kind": "Node", "name": "x", "uid": "y"}]}},
            "the agent may not change finalizers or owners",
        ),
    ],
)
def test_of_a_node_only_its_cordon_and_labels_of_no_system(court: Court, body: Object, refusal: str | None) -> None:
    assert court.patch("plain", body) == refusal


@pytest.mark.parametrize("body", [{"spec": {"unschedulable": True}}, {"metadata": {"labels": {"team": "b"}}}])
def test_protected_nodes_and_the_control_plane_are_left_alone(court: Court, body: Object) -> None:
    assert court.patch("kept", body) == f"the node is labelled {PROTECTED}=true"
    assert court.patch("master", body) == "the node is of the control plane"


def test_protection_is_not_taken_off_with_the_change_it_forbids(court: Court) -> None:
    body = {"metadata": {"labels": {PROTECTED: None}}, "spec": {"unschedulable": True}}
    assert court.patch("kept", body) == f"the node is labelled {PROTECTED}=true"


def test_other_ways_of_writing_are_no_way_around(court: Court) -> None:
    path = f"/api/v1/nodes/{court.name}-plain"
    node = json.loads(court.agent.get(path))
    marked = {**node, "metadata": {**node["metadata"], "annotations": {"a": "b"}}}
    answer = court.agent.exchange("PUT", path, {"dryRun": "All"}, marked, JSON)
    assert said(answer) == "the agent may not change annotations"
    operations = [{"op": "add", "path": "/spec/taints", "value": [{"key": "a", "effect": "NoSchedule"}]}]
    assert court.patch("plain", operations, "application/json-patch+json") == SPEC
    strategic = {"spec": {"taints": [{"key": "a", "effect": "NoSchedule"}]}}
    assert court.patch("plain", strategic, "application/strategic-merge-patch+json") == SPEC


# -- pods -----------------------------------------------------------------------------------------


def test_pods_may_go_where_nothing_protects_them(court: Court) -> None:
    assert court.evict(court.shop, "plain") is None
    assert court.delete(court.shop, "plain") is None
    assert court.label_pod(court.shop, "plain", {"metadata": {"labels": {"app": None, "team": "b"}}}) is None


def test_protected_pods_stay(court: Court) -> None:
    refusal = f"the pod is labelled {PROTECTED}=true"
    assert court.evict(court.shop, "kept") == refusal
    assert court.delete(court.shop, "kept") == refusal
    assert court.label_pod(court.shop, "kept", {"metadata": {"labels": {PROTECTED: None}}}) == refusal


def test_pods_of_protected_namespaces_stay_whatever_they_say(court: Court) -> None:
    refusal = f"the namespace is labelled {PROTECTED}=true"
    for attempt in (court.evict, court.delete):
        assert attempt(court.vault, "plain") == refusal
    assert court.label_pod(court.vault, "plain", {"metadata": {"labels": {"team": "b"}}}) == refusal


def test_kube_system_is_protected_unless_its_label_says_otherwise(court: Court) -> None:
    refusal = f"{court.system} is protected; the label {PROTECTED}=false on it would allow this"
    assert court.evict(court.system, "plain") == refusal
    assert court.delete(court.system, "plain") == refusal
    path = f"/api/v1/namespaces/{court.system}"
    court.admin.call("PATCH", path, None, {"metadata": {"labels": {PROTECTED: "false"}}}, MERGE_PATCH)
    try:
        court.until(lambda: court.evict(court.system, "plain") is None)
        assert court.evict(court.system, "kept") == f"the pod is labelled {PROTECTED}=true"
    finally:
        court.admin.call("PATCH", path, None, {"metadata": {"labels": {PROTECTED: None}}}, MERGE_PATCH)
        court.until(lambda: court.evict(court.system, "plain") == refusal)


@pytest.mark.parametrize(
    ("body", "refusal"),
    [
        ({"metadata": {"labels": {PROTECTED: "true"}}}, f"{LABELS}{PROTECTED}"),
        ({"metadata": {"labels": {"batch.kubernetes.io/x": "y"}}}, f"{LABELS}batch.kubernetes.io/x"),
        ({"metadata": {"annotations": {"a": "b"}}}, "of a pod the agent may change labels and nothing else"),
        ({"metadata": {"finalizers": ["example.com/x"]}}, "of a pod the agent may change labels and nothing else"),
        ({"spec": {"activeDeadlineSeconds": 1}}, "of a pod the agent may change labels and nothing else"),
    ],
)
def test_of_a_pod_only_labels_of_no_system(court: Court, body: Object, refusal: str) -> None:
    assert court.label_pod(court.shop, "plain", body) == refusal


def test_no_image_is_exchanged(court: Court) -> None:
    operations = [{"op": "replace", "path": "/spec/containers/0/image", "value": "evil:1"}]
    refusal = court.label_pod(court.shop, "plain", operations, "application/json-patch+json")
    assert refusal == "of a pod the agent may change labels and nothing else"


def test_a_read_only_agent_writes_nothing_at_all(court: Court) -> None:
    refusal = "the agent is read-only"
    with court.read_only():
        assert court.patch("plain", {"metadata": {"labels": {"team": "b"}}}) == refusal
        assert court.evict(court.shop, "plain") == refusal
        assert court.delete(court.shop, "plain") == refusal
        assert court.label_pod(court.shop, "plain", {"metadata": {"labels": {"team": "b"}}}) == refusal
        court.agent.get(f"/api/v1/nodes/{court.name}-plain")


# -- everybody else -------------------------------------------------------------------------------


def test_nobody_else_is_held(court: Court) -> None:
    body = {"metadata": {"annotations": {"a": "b"}, "labels": {"kubernetes.io/x": "y"}}}
    for node in ("plain", "kept", "master"):
        court.admin.call("PATCH", f"/api/v1/nodes/{court.name}-{node}", {"dryRun": "All"}, body, MERGE_PATCH)
    for namespace in (court.system, court.vault):
        court.admin.call("DELETE", f"/api/v1/namespaces/{namespace}/pods/kept", None, {"dryRun": ["All"]})


def test_the_policies_type_check(court: Court) -> None:
    """The API server's own check of the expressions against the schemas; the simulator has none."""
    for policy in court.policies():
        if policy["kind"] == "ValidatingAdmissionPolicy" and not court.simulated:
            path = f"{COLLECTIONS[policy['kind']]}/{policy['metadata']['name']}"
            status: Object = {}

            def checked(path: str = path, status: Object = status) -> bool:
                status.update(json.loads(court.admin.get(path)).get("status") or {})
                return "typeChecking" in status

            court.until(checked)
            assert not status["typeChecking"].get("expressionWarnings")
