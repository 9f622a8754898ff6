"""The eviction subresource: which pods may go, and what a refusal says."""

from __future__ import annotations

from collections.abc import Callable

from tests.sim.kube import budgets
from tests.sim.kube.admission import Admit, admit_all
from tests.sim.kube.deletes import DeleteOptions, check_preconditions, delete, delete_options
from tests.sim.kube.kinds import timestamp
from tests.sim.kube.resources import BUDGETS, Object
from tests.sim.kube.selectors import matches_selector
from tests.sim.kube.status import ApiError, Cause, bad_request, details, forbidden, success, too_many_requests
from tests.sim.kube.store import Store, Stored
from tests.sim.kube.writes import Target, admit_into_namespace, change, check_envelope, existing

_MAX_DISRUPTED_PODS = 2000
_TRIES = 20
"""Writes of a budget's status that others were faster than, until the server gives up."""
_SEVERAL_BUDGETS = "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support."
_CONDITION = {
    "type": "DisruptionTarget",
    "status": "True",
    "reason": "EvictionByEvictionAPI",
    "message": "Eviction API: evicting",
}


def evict(
    store: Store,
    target: Target,
    body: Object,
    query: dict[str, str],
    admit: Admit = admit_all,
    meanwhile: Callable[[], None] = lambda: None,
) -> Object:
    """Evict the pod; the Status to answer with 201.

    As on a real server a budget is read, judged and then written: what others do ``meanwhile`` shows.

    Raises:
        ApiError: the refusal, a 404 of the budget that was deleted meanwhile included.
    """
    check_envelope("Eviction", target, body, "policy")
    admit_into_namespace(store, target)
    if (body.get("metadata") or {}).get("name") != target.name:
        raise bad_request("name in URL does not match name in Eviction object")
    options = delete_options(body.get("deleteOptions") or {}, query, "Eviction")
    with store.lock:
        metadata = {"name": target.name, "namespace": target.namespace, **(body.get("metadata") or {})}
        admit("CREATE", {**body, "metadata": metadata}, None)  # Before it is known whether there is such a pod.
        pod = existing(store, target)
        guarded = None if _ignores_budgets(pod.object) else _only_budget(store, pod)
        if guarded is None:
            _delete(store, target, options)
            return success(201)
    if _unhealthy_may_go(guarded.object, pod.object):
        _delete_unhealthy(store, target, pod, options, guarded.name)
        return success(201)
    for _ in range(_TRIES):
        spent = _judged(guarded, pod.name)
        meanwhile()
        with store.lock:
            latest = existing(store, Target(BUDGETS, pod.namespace, guarded.name))
            if latest.revision == guarded.revision:
                if not options.dry_run:
                    store.put(BUDGETS, {**latest.object, "status": spent})
                break
            guarded = latest
    else:
        why = f'couldn\'t update PodDisruptionBudget "{guarded.name}" due to conflicts'
        raise ApiError(504, "Timeout", f"Timeout: {why}", details(retry=10))
    _delete(store, target, options)
    return success(201)


def _ignores_budgets(pod: Object) -> bool:
    """Terminal, pending and terminating pods are no loss to an application."""
    terminating = "deletionTimestamp" in pod["metadata"]
    return terminating or pod["status"].get("phase") in ("Succeeded", "Failed", "Pending")


def _only_budget(store: Store, pod: Stored) -> Stored | None:
    labels = pod.object["metadata"].get("labels") or {}
    found = [
        budget
        for budget in store.all(BUDGETS, pod.namespace)
        if matches_selector(budget.object["spec"].get("selector"), labels)
    ]
    if len(found) > 1:
        raise ApiError(500, "", _SEVERAL_BUDGETS)
    return found[0] if found else None


def _unhealthy_may_go(budget: Object, pod: Object) -> bool:
    """An unready pod may go when its policy or its application's health allows."""
    if budgets.is_ready(pod):
        return False
    status = budget["status"]
    desired: int = status.get("desiredHealthy", 0)
    healthy_enough: bool = status.get("currentHealthy", 0) >= desired > 0
    return budget["spec"].get("unhealthyPodEvictionPolicy") == "AlwaysAllow" or healthy_enough


def _judged(budget: Stored, pod: str) -> Object:
    """The status with one disruption less, recording for whom.

    Raises:
        ApiError: the budget allows none.
    """
    status, name = budget.object["status"], budget.name
    if status.get("observedGeneration", 0) < budget.object["metadata"].get("generation", 0):
        raise _still_processed(name)
    allowed = status.get("disruptionsAllowed", 0)
    if allowed < 0:
        raise forbidden("policy", "poddisruptionbudget", name, "pdb disruptions allowed is negative")
    if len(status.get("disruptedPods") or ()) > _MAX_DISRUPTED_PODS:
        why = "DisruptedPods map too big - too many evictions not confirmed by PDB controller"
        raise forbidden("policy", "poddisruptionbudget", name, why)
    if allowed == 0:
        raise _refused(0, _why_not(name, status))
    spent = {**status, "disruptionsAllowed": allowed - 1}
    spent["disruptedPods"] = {**(status.get("disruptedPods") or {}), pod: timestamp()}
    if allowed == 1:
        conditions = status.get("conditions") or ()
        spent["conditions"] = budgets.with_allowed_condition(conditions, 0, status["observedGeneration"])
    return spent


def _why_not(name: str, status: Object) -> str:
    healthy, desired = status.get("currentHealthy", 0), status.get("desiredHealthy", 0)
    conditions = status.get("conditions") or ()
    condition = next((c for c in conditions if c["type"] == "DisruptionAllowed" and c["message"]), None)
    unmet = condition if condition and condition["status"] == "False" else None
    if unmet and unmet["reason"] == "SyncFailed":
        why = f"because it failed sync: {unmet['message']}"
        return f"The disruption budget {name} does not allow evicting pods currently {why}"
    if healthy <= desired:
        return f"The disruption budget {name} needs {desired} healthy pods and has {healthy} currently"
    reason = f" ({unmet['reason']}): {unmet['message']}" if unmet else ""
    return f"The disruption budget {name} does not allow evicting pods currently{reason}"


def _still_processed(name: str) -> ApiError:
    return _refused(10, f"The disruption budget {name} is still being processed by the server.")


def _refused(retry: int, why: str) -> ApiError:
    message = "Cannot evict pod as it would violate the pod's disruption budget."
    return too_many_requests(message, retry, [Cause("DisruptionBudget", why)])


def _delete_unhealthy(store: Store, target: Target, pod: Stored, options: DeleteOptions, budget: str) -> None:
    """The real server replaces a caller's resourceVersion by the one it judged, and blames the budget."""
    try:
        _delete(store, target, DeleteOptions(options.grace, options.uid, None, options.dry_run))
    except ApiError as refusal:
        if refusal.code == 409 and not options.version:
            raise _still_processed(budget) from None
        raise


def _delete(store: Store, target: Target, options: DeleteOptions) -> None:
    with store.lock:
        pod = existing(store, target)
        if refusal := check_preconditions(pod, options):
            raise refusal
        if not options.dry_run:
            change(store, pod, _targeted)
        delete(store, target, DeleteOptions(options.grace, options.uid, None, options.dry_run))


def _targeted(pod: Object) -> Object | None:
    conditions = pod["status"].get("conditions") or []
    if any(c["type"] == "DisruptionTarget" and c["status"] == "True" for c in conditions):
        return None
    others = [c for c in conditions if c["type"] != "DisruptionTarget"]
    added = {**_CONDITION, "lastProbeTime": None, "lastTransitionTime": timestamp()}
    return {**pod, "status": {**pod["status"], "conditions": [*others, added]}}
