"""Creating, patching, replacing and deleting, with the refusals of a real API server."""

from __future__ import annotations

from typing import Any

import pytest

from tests.sim.kube.cluster import Cluster
from tests.unit.sim.kube.conftest import Caller

NODE = "/api/v1/nodes/node-1"
PODS = "/api/v1/namespaces/shop/pods"
MERGE = "application/merge-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
JSON = "application/json-patch+json"


def test_strategic_merge_keys_conditions_but_replaces_taints(ask: Caller) -> None:
    ask("PATCH", NODE, {"spec": {"taints": [{"key": "a", "effect": "NoSchedule"}]}}, STRATEGIC)
    body = ask("PATCH", NODE, {"spec": {"taints": [{"key": "b", "effect": "NoExecute"}]}}, STRATEGIC).body
    assert [taint["key"] for taint in body["spec"]["taints"]] == ["b"]
    conditions = [{"type": "Ready", "status": "False"}, {"type": "DiskPressure", "$patch": "delete"}]
    body = ask("PATCH", f"{NODE}/status", {"status": {"conditions": conditions}}, STRATEGIC).body
    found = {condition["type"]: condition["status"] for condition in body["status"]["conditions"]}
    assert found == {"MemoryPressure": "False", "PIDPressure": "False", "Ready": "False"}


def test_null_removes_and_empty_fields_are_omitted(ask: Caller) -> None:
    assert ask("PATCH", NODE, {"spec": {"unschedulable": True}}, MERGE).body["spec"]["unschedulable"] is True
    assert "unschedulable" not in ask("PATCH", NODE, {"spec": {"unschedulable": None}}, MERGE).body["spec"]
    assert "unschedulable" not in ask("PATCH", NODE, {"spec": {"unschedulable": False}}, STRATEGIC).body["spec"]


def test_a_patch_that_changes_nothing_keeps_the_version(ask: Caller) -> None:
    first = ask("PATCH", NODE, {"metadata": {"labels": {"a": "b"}}}, MERGE).body["metadata"]["resourceVersion"]
    again = ask("PATCH", NODE, {"metadata": {"labels": {"a": "b"}}}, MERGE).body["metadata"]["resourceVersion"]
    assert first == again


def test_json_patch(ask: Caller) -> None:
    add = [{"op": "add", "path": "/metadata/labels/example.com~1a", "value": "1"}]
    assert ask("PATCH", NODE, add, JSON).body["metadata"]["labels"]["example.com/a"] == "1"
    refused = ask("PATCH", NODE, [{"op": "remove", "path": "/metadata/labels/none"}], JSON)
    assert (refused.status, refused.body["details"]) == (422, {})
    assert refused.body["message"] == "the server rejected our request due to an error in our request"


def test_spec_and_status_are_written_apart(ask: Caller) -> None:
    body = ask("PATCH", NODE, {"status": {"phase": "x"}}, MERGE).body
    assert "phase" not in body["status"]
    body = ask("PATCH", f"{NODE}/status", {"spec": {"unschedulable": True}, "status": {"phase": "x"}}, MERGE).body
    assert (body["status"]["phase"], "unschedulable" in body["spec"]) == ("x", False)


def test_bad_labels_are_invalid(ask: Caller) -> None:
    refused = ask("PATCH", NODE, {"metadata": {"labels": {"ok": "bad value!"}}}, MERGE)
    rule = (
        "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start "
        "and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for "
        "validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
    )
    assert (refused.status, refused.body["reason"]) == (422, "Invalid")
    assert refused.body["message"] == f'Node "node-1" is invalid: metadata.labels: Invalid value: "bad value!": {rule}'
    assert refused.body["details"]["causes"][0]["field"] == "metadata.labels"
    refused = ask("PATCH", NODE, {"metadata": {"labels": {"a/b/c": "v"}}}, MERGE)
    assert "a valid label key must consist of alphanumeric characters" in refused.body["message"]


def test_wrong_types_are_refused(ask: Caller) -> None:
    refused = ask("PATCH", NODE, {"metadata": {"labels": {"x": 5}}}, STRATEGIC)
    expected = (
        ' "" is invalid: patch: Invalid value: "map[metadata:map[labels:map[x:5]]]": cannot convert int64 to string'
    )
    assert (refused.status, refused.body["message"]) == (422, expected)
    refused = ask("PATCH", NODE, {"metadata": {"labels": {"x": 5}}}, MERGE)
    assert refused.body["message"].endswith(
        "json: cannot unmarshal number into Go struct field ObjectMeta.metadata.labels of type string"
    )


@pytest.mark.parametrize(
    ("method", "path", "body", "kind", "status", "message"),
    [
        ("PATCH", "/api/v1/nodes/nope", {}, MERGE, 404, 'nodes "nope" not found'),
        ("PATCH", NODE, {}, "application/json", 415, "415: Unsupported Media Type"),
        ("PATCH", NODE, {"metadata": {"name": "x"}}, MERGE, 400,
         "the name of the object (x) does not match the name on the URL (node-1)"),
        ("PATCH", NODE, "{bad", STRATEGIC, 400, "invalid character 'b' looking for beginning of object key string"),
        ("POST", "/api/v1/nodes", {"metadata": {"name": "node-1"}}, "application/json", 409,
         'nodes "node-1" already exists'),
        ("POST", "/api/v1/namespaces/none/pods", {"metadata": {"name": "p"}, "spec": {}}, "application/json", 404,
         'namespaces "none" not found'),
    ],
)  # fmt: skip
def test_refusals(ask: Caller, method: str, path: str, body: Any, kind: str, status: int, message: str) -> None:
    answer = ask(method, path, body, kind)
    assert (answer.status, answer.body["message"]) == (status, message)


def test_put_needs_the_latest_version_or_none(ask: Caller) -> None:
    node = ask("GET", NODE).body
    node["metadata"]["labels"]["put"] = "1"
    assert ask("PUT", NODE, node).status == 200
    refused = ask("PUT", NODE, node)
    why = "the object has been modified; please apply your changes to the latest version and try again"
    assert (refused.status, refused.body["message"]) == (
        409,
        f'Operation cannot be fulfilled on nodes "node-1": {why}',
    )
    del node["metadata"]["resourceVersion"]
    assert ask("PUT", NODE, node).status == 200


def test_dry_runs_change_nothing(ask: Caller, still: Cluster) -> None:
    still.add_namespace("shop")
    before = still.store.revision
    assert ask("PATCH", f"{NODE}?dryRun=All", {"spec": {"unschedulable": True}}, MERGE).body["spec"]["unschedulable"]
    pod = {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    assert ask("POST", f"{PODS}?dryRun=All", pod).status == 201
    assert ask("PATCH", f"{NODE}?dryRun=Some", {}, MERGE).status == 422
    assert still.store.revision == before


def test_a_created_pod_gets_defaults(ask: Caller, still: Cluster) -> None:
    still.add_namespace("shop")
    body = ask(
        "POST", PODS, {"metadata": {"generateName": "p-"}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    ).body
    assert body["metadata"]["name"].startswith("p-")
    assert body["spec"]["terminationGracePeriodSeconds"] == 30
    assert body["status"] == {"phase": "Pending", "qosClass": "BestEffort"}


def test_deleting_a_pod_takes_its_grace(ask: Caller, still: Cluster) -> None:
    still.add_pod("shop", "p", node="node-1", grace=20)
    body = ask("DELETE", f"{PODS}/p").body
    assert (body["kind"], body["metadata"]["deletionGracePeriodSeconds"]) == ("Pod", 20)
    assert ask("DELETE", f"{PODS}/p", {"gracePeriodSeconds": 60}).body["metadata"]["deletionGracePeriodSeconds"] == 20
    assert ask("DELETE", f"{PODS}/p", {"gracePeriodSeconds": 5}).body["metadata"]["deletionGracePeriodSeconds"] == 5
    assert ask("DELETE", f"{PODS}/p", {"gracePeriodSeconds": 0}).status == 200
    assert ask("GET", f"{PODS}/p").status == 404


def test_pods_without_a_node_or_over_go_at_once(ask: Caller, still: Cluster) -> None:
    still.add_pod("shop", "unplaced")
    assert ask("DELETE", f"{PODS}/unplaced").body["metadata"]["deletionGracePeriodSeconds"] == 0
    assert still.pod("shop", "unplaced") is None


def test_preconditions(ask: Caller, still: Cluster) -> None:
    uid = still.add_pod("shop", "p", node="node-1")["metadata"]["uid"]
    refused = ask("DELETE", f"{PODS}/p", {"preconditions": {"uid": "other"}})
    why = f"the UID in the precondition (other) does not match the UID in record ({uid})."
    assert refused.status == 409
    assert refused.body["message"] == (
        f'Operation cannot be fulfilled on Pod "p": {why} The object might have been deleted and then recreated'
    )
    assert refused.body["details"] == {"name": "p", "kind": "Pod"}


def test_finalizers_hold_a_pod(ask: Caller, still: Cluster) -> None:
    still.add_pod("shop", "p", node="node-1", stuck=True)
    ask("DELETE", f"{PODS}/p", {"gracePeriodSeconds": 0})
    assert ask("GET", f"{PODS}/p").body["metadata"]["deletionGracePeriodSeconds"] == 0
    ask("PATCH", f"{PODS}/p", {"metadata": {"finalizers": None}}, MERGE)
    assert ask("GET", f"{PODS}/p").status == 404


def test_deleting_another_kind_answers_success(ask: Caller) -> None:
    body = ask("DELETE", NODE).body
    assert (body["status"], body["details"]["kind"], body["details"]["name"]) == ("Success", "nodes", "node-1")
