"""Evictions, case by case as eviction.go decides them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.sim.kube.cluster import Cluster
from tests.sim.kube.resources import BUDGETS, PODS, Object
from tests.sim.kube.writes import change
from tests.unit.sim.kube.conftest import Answer, Caller

SELECTOR = {"app": "web"}
BLOCKED = "Cannot evict pod as it would violate the pod's disruption budget."


def web(cluster: Cluster, count: int = 1, **options: bool) -> list[str]:
    names = [f"web-{number}" for number in range(count)]
    for name in names:
        cluster.add_pod("shop", name, node="node-1", app="web", **options)
    return names


def cause(answer: Answer) -> Object:
    assert (answer.status, answer.body["message"]) == (429, BLOCKED)
    [found] = answer.body["details"]["causes"]
    assert found["reason"] == "DisruptionBudget"
    return found  # type: ignore[no-any-return]


def set_phase(cluster: Cluster, name: str, phase: str) -> None:
    stored = cluster.store.get(PODS, "shop", name)
    assert stored is not None
    change(cluster.store, stored, lambda pod: {**pod, "status": {**pod["status"], "phase": phase}})


def test_an_eviction_marks_and_deletes(ask: Caller, still: Cluster) -> None:
    web(still)
    answer = ask.evict("shop", "web-0", gracePeriodSeconds=12)
    assert answer.status == 201
    assert answer.body == {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}
    pod = still.pod("shop", "web-0")
    assert pod is not None
    assert pod["metadata"]["deletionGracePeriodSeconds"] == 12
    [condition] = [c for c in pod["status"]["conditions"] if c["type"] == "DisruptionTarget"]
    assert (condition["reason"], condition["message"]) == ("EvictionByEvictionAPI", "Eviction API: evicting")
    assert ask.evict("shop", "web-0").status == 201


def test_missing_pods_and_other_uids(ask: Caller, still: Cluster) -> None:
    web(still)
    assert ask.evict("shop", "nope").body["details"] == {"name": "nope", "kind": "pods"}
    refused = ask.evict("shop", "web-0", preconditions={"uid": "other"})
    assert (refused.status, refused.body["reason"]) == (409, "Conflict")
    assert "the UID in the precondition (other) does not match the UID in record" in refused.body["message"]


@pytest.mark.parametrize("phase", ["Pending", "Succeeded", "Failed"])
def test_pending_and_terminal_pods_bypass_budgets(ask: Caller, still: Cluster, phase: str) -> None:
    web(still)
    still.add_budget("shop", "web", SELECTOR, min_available=1)
    set_phase(still, "web-0", phase)
    assert ask.evict("shop", "web-0").status == 201


def test_a_spent_budget_says_what_it_needs(ask: Caller, still: Cluster) -> None:
    web(still, 2)
    still.add_budget("shop", "web", SELECTOR, min_available=2)
    answer = ask.evict("shop", "web-0")
    assert cause(answer)["message"] == "The disruption budget web needs 2 healthy pods and has 2 currently"
    assert "Retry-After" not in answer.headers
    assert "retryAfterSeconds" not in answer.body["details"]


def test_a_stale_budget_asks_to_wait(ask: Caller, still: Cluster) -> None:
    web(still)
    still.add_budget("shop", "web", SELECTOR, min_available=0, stale=True)
    answer = ask.evict("shop", "web-0")
    assert cause(answer)["message"] == "The disruption budget web is still being processed by the server."
    assert answer.headers["Retry-After"] == "10"


def test_two_budgets_are_an_error(ask: Caller, still: Cluster) -> None:
    web(still)
    still.add_budget("shop", "one", SELECTOR, min_available=0)
    still.add_budget("shop", "two", SELECTOR, min_available=0)
    answer = ask.evict("shop", "web-0")
    message = "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support."
    assert (answer.status, answer.body["message"]) == (500, message)
    assert "reason" not in answer.body
    assert "details" not in answer.body


def test_unready_pods_go_when_the_policy_or_the_rest_allows(ask: Caller, still: Cluster) -> None:
    web(still, 2, never_ready=True)
    still.add_budget("shop", "web", SELECTOR, min_available=1)
    assert "needs 1 healthy pods and has 0 currently" in cause(ask.evict("shop", "web-0"))["message"]
    still.add_pod("shop", "healthy", node="node-1", app="web")
    still.add_budget("shop", "web", SELECTOR, min_available=1)  # its status again
    assert ask.evict("shop", "web-0").status == 201
    still.add_pod("other", "web-0", node="node-1", app="web", never_ready=True)
    still.add_budget("other", "web", SELECTOR, min_available=1, unhealthy_policy="AlwaysAllow")
    assert ask.evict("other", "web-0").status == 201


def test_the_eviction_spends_the_budget_itself(ask: Caller, still: Cluster) -> None:
    web(still, 3)
    still.add_budget("shop", "web", SELECTOR, min_available=2)
    assert ask.evict("shop", "web-0", dryRun=["All"]).status == 201
    assert ask.evict("shop", "web-0").status == 201
    budget = still.budget("shop", "web")
    assert budget is not None
    assert budget["status"]["disruptionsAllowed"] == 0
    assert list(budget["status"]["disruptedPods"]) == ["web-0"]
    assert budget["status"]["conditions"][0]["reason"] == "InsufficientPods"
    assert cause(ask.evict("shop", "web-1"))


def test_concurrent_evictions_never_overshoot(ask: Caller, still: Cluster) -> None:
    still.add_deployment("shop", "web", 20, node="node-1")
    still.add_budget("shop", "web", SELECTOR, max_unavailable=3)
    names = [pod["metadata"]["name"] for pod in still.pods(namespace="shop")]
    with ThreadPoolExecutor(8) as pool:
        codes = list(pool.map(lambda name: ask.evict("shop", name).status, names))
    assert sorted(codes) == [201] * 3 + [429] * 17


def test_a_terminating_namespace_takes_no_evictions(ask: Caller, still: Cluster) -> None:
    web(still)
    still.terminate_namespace("shop", hold=True)
    answer = ask.evict("shop", "web-0")
    assert answer.status == 403
    assert answer.body["details"]["causes"] == [
        {
            "reason": "NamespaceTerminating",
            "message": "namespace shop is being terminated",
            "field": "metadata.namespace",
        }
    ]


def test_an_admission_webhook_denies(call: Caller, cluster: Cluster) -> None:
    cluster.add_pod("shop", "p", node="node-1")
    cluster.deny_evictions("guard.example.com", "not today", times=1)
    answer = call.evict("shop", "p")
    assert (answer.status, answer.body["message"]) == (
        403,
        'admission webhook "guard.example.com" denied the request: not today',
    )
    assert call.evict("shop", "p").status == 201


def test_old_eviction_kinds_are_taken(ask: Caller, still: Cluster) -> None:
    web(still)
    body = {"apiVersion": "policy/v1beta1", "kind": "Eviction", "metadata": {"name": "web-0"}}
    assert ask("POST", "/api/v1/namespaces/shop/pods/web-0/eviction", body).status == 201
    wrong = ask("POST", "/api/v1/namespaces/shop/pods/web-0/eviction", {**body, "metadata": {"name": "x"}})
    assert (wrong.status, wrong.body["message"]) == (400, "name in URL does not match name in Eviction object")


def test_budgets_that_make_no_sense_forbid(ask: Caller, still: Cluster) -> None:
    web(still, 2)
    still.add_budget("shop", "web", SELECTOR, min_available=1)
    budget = still.store.get(BUDGETS, "shop", "web")
    assert budget is not None

    def status(**fields: object) -> str:
        change(still.store, budget, lambda latest: {**latest, "status": {**latest["status"], **fields}})
        answer = ask.evict("shop", "web-0")
        assert (answer.status, answer.body["reason"]) == (403, "Forbidden")
        return str(answer.body["message"])

    head = 'poddisruptionbudget.policy "web" is forbidden: '
    assert status(disruptionsAllowed=-1) == f"{head}pdb disruptions allowed is negative"
    crowd = {f"p{number}": "2026-01-01T00:00:00Z" for number in range(2001)}
    why = "DisruptedPods map too big - too many evictions not confirmed by PDB controller"
    assert status(disruptionsAllowed=1, disruptedPods=crowd) == head + why


def test_a_budget_that_is_deleted_under_an_eviction_is_not_found(call: Caller, cluster: Cluster) -> None:
    """A real server says so of the budget, in the answer to a request about a pod."""
    web(cluster, 2)
    cluster.add_budget("shop", "guard", SELECTOR, min_available=1)
    path = "/apis/policy/v1/namespaces/shop/poddisruptionbudgets/guard"
    cluster.meanwhile(lambda: call("DELETE", path))
    answer = call.evict("shop", "web-0")
    assert (answer.status, answer.body["message"]) == (404, 'poddisruptionbudgets.policy "guard" not found')
    assert answer.body["details"] == {"name": "guard", "group": "policy", "kind": "poddisruptionbudgets"}
    pod = cluster.pod("shop", "web-0")
    assert pod is not None
    assert "deletionTimestamp" not in pod["metadata"]
    assert call.evict("shop", "web-0").status == 201


def test_a_budget_that_changes_under_an_eviction_is_judged_again(call: Caller, cluster: Cluster) -> None:
    web(cluster, 2)
    cluster.add_budget("shop", "guard", SELECTOR, min_available=1)
    cluster.meanwhile(lambda: call.evict("shop", "web-1"))
    answer = call.evict("shop", "web-0")
    assert cause(answer)["message"].startswith("The disruption budget guard ")
