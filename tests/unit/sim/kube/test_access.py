"""Who may do what, in the words of a real API server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.sim.kube.access import Ask, grants_from
from tests.sim.kube.cluster import Cluster
from tests.sim.kube.resources import Object
from tests.unit.sim.kube.conftest import Caller

AGENT = "system:serviceaccount:kube-system:cloudoptim-agent"
ROLE: Object = {
    "kind": "ClusterRole",
    "metadata": {"name": "agent"},
    "rules": [
        {"apiGroups": [""], "resources": ["nodes"], "verbs": ["get", "list", "watch", "patch"]},
        {"apiGroups": [""], "resources": ["pods/eviction"], "verbs": ["create"]},
        {"apiGroups": ["policy"], "resources": ["poddisruptionbudgets"], "verbs": ["get"], "resourceNames": ["web"]},
    ],
}
BINDING: Object = {
    "kind": "ClusterRoleBinding",
    "metadata": {"name": "agent"},
    "roleRef": {"kind": "ClusterRole", "name": "agent"},
    "subjects": [{"kind": "ServiceAccount", "name": "cloudoptim-agent", "namespace": "kube-system"}],
}


@pytest.fixture
def guarded() -> Iterator[Cluster]:
    with Cluster(nodes=1, rbac=[ROLE, BINDING], controllers=False) as running:
        yield running


@pytest.mark.parametrize(
    ("method", "path", "subject", "what"),
    [
        ("GET", "/api/v1/pods", "pods", 'list resource "pods" in API group "" at the cluster scope'),
        ("GET", "/api/v1/namespaces/x/pods/p", 'pods "p"', 'get resource "pods" in API group "" in the namespace "x"'),
        ("DELETE", "/api/v1/nodes/n", 'nodes "n"', 'delete resource "nodes" in API group "" at the cluster scope'),
        ("PATCH", "/api/v1/nodes/n/status", 'nodes "n"',
         'patch resource "nodes/status" in API group "" at the cluster scope'),
        ("GET", "/apis/apps/v1/deployments?watch=1", "deployments.apps",
         'watch resource "deployments" in API group "apps" at the cluster scope'),
    ],
)  # fmt: skip
def test_the_agent_is_refused_what_it_was_not_granted(
    guarded: Cluster, method: str, path: str, subject: str, what: str
) -> None:
    answer = Caller(guarded)(method, path, token=guarded.agent_token)
    assert (answer.status, answer.body["reason"]) == (403, "Forbidden")
    assert answer.body["message"] == f'{subject} is forbidden: User "{AGENT}" cannot {what}'


def test_paths_that_are_no_resource_are_refused_too(guarded: Cluster) -> None:
    answer = Caller(guarded)("GET", "/metrics", token=guarded.agent_token)
    assert (answer.status, answer.body["message"]) == (403, f'forbidden: User "{AGENT}" cannot get path "/metrics"')


def test_the_agent_may_what_it_was_granted(guarded: Cluster) -> None:
    ask = Caller(guarded)
    assert ask("GET", "/api/v1/nodes", token=guarded.agent_token).status == 200
    assert ask("POST", "/api/v1/namespaces/x/pods/p/eviction", {}, token=guarded.agent_token).status == 404
    assert ask("GET", "/version", token=guarded.agent_token).status == 200


def test_a_rotated_token_is_unauthorized(guarded: Cluster) -> None:
    old = guarded.agent_token
    new = guarded.rotate_token()
    answer = Caller(guarded)("GET", "/api/v1/nodes", token=old)
    assert answer.status == 401
    assert answer.body == {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": "Unauthorized",
        "reason": "Unauthorized",
        "code": 401,
    }
    assert Caller(guarded)("GET", "/api/v1/nodes", token=new).status == 200


def test_without_a_token_one_is_anonymous(guarded: Cluster) -> None:
    answer = Caller(guarded)("GET", "/api/v1/nodes")
    assert answer.body["message"].startswith('nodes is forbidden: User "system:anonymous" cannot list')


def test_access_reviews_answer_from_the_rules(guarded: Cluster) -> None:
    def allowed(**attributes: str) -> Object:
        path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
        body = {"spec": {"resourceAttributes": attributes}}
        answer = Caller(guarded)("POST", path, body, token=guarded.agent_token)
        assert answer.status == 201
        return answer.body["status"]  # type: ignore[no-any-return]

    granted = allowed(verb="create", resource="pods", subresource="eviction", namespace="x")
    assert granted["allowed"] is True
    assert granted["reason"].startswith('RBAC: allowed by ClusterRoleBinding "agent" of ClusterRole "agent"')
    assert allowed(verb="create", resource="pods", namespace="x") == {"allowed": False}


def test_a_role_without_a_binding_to_the_agent_grants_nothing() -> None:
    other = {**BINDING, "subjects": [{"kind": "ServiceAccount", "name": "x", "namespace": "kube-system"}]}
    assert grants_from([ROLE, other]) == []
    assert len(grants_from([ROLE])) == 1


def test_roles_that_grant_nothing_are_not_the_same_as_no_roles() -> None:
    with Cluster(nodes=0, rbac=[{**BINDING, "subjects": []}], controllers=False) as running:
        assert Caller(running)("GET", "/api/v1/nodes", token=running.agent_token).status == 403
    with Cluster(nodes=0, tokens={"secret": AGENT}, controllers=False) as running:
        assert running.agent_token == "secret"
        assert Caller(running)("GET", "/api/v1/nodes", token="secret").status == 200
        assert Caller(running)("GET", "/api/v1/nodes", token="other").status == 401


def test_a_role_binding_counts_in_its_namespace_only() -> None:
    binding = {**BINDING, "kind": "RoleBinding", "metadata": {"name": "agent", "namespace": "a"}}
    [grant] = grants_from([ROLE, binding])
    ask = Ask("create", group="", resource="pods", subresource="eviction", namespace="a")
    assert grant.covers(ask)
    assert not grant.covers(Ask("create", group="", resource="pods", subresource="eviction", namespace="b"))


def test_roles_come_from_files(tmp_path: Path) -> None:
    (tmp_path / "rbac.yaml").write_text(yaml.safe_dump_all([ROLE, BINDING]))
    with Cluster(nodes=0, rbac=[tmp_path], controllers=False) as running:
        assert Caller(running)("GET", "/api/v1/nodes", token=running.agent_token).status == 200


def test_the_audit_remembers_who_asked_what(guarded: Cluster) -> None:
    ask = Caller(guarded)
    ask("GET", "/api/v1/namespaces/x/pods?watch=1", token=guarded.agent_token)
    ask.evict("shop", "p")
    [first] = guarded.audit.select(user=AGENT)
    assert (first.verb, first.resource, first.namespace, first.code) == ("watch", "pods", "x", 403)
    [second] = guarded.audit.select(subresource="eviction")
    assert (second.user, second.name, second.code) == ("system:anonymous", "p", 403)
