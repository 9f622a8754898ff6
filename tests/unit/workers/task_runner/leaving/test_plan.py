"""What a drain does with each pod: rules 5 to 9, decided before anything is touched."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import msgspec
import pytest

from shared.kube.objects import Owner
from shared.kube.pods import Pod
from shared.schemas.parameters import DrainNode
from tests.unit.conftest import NOON
from tests.unit.workers.task_runner.conftest import pod
from workers.task_runner.leaving.plan import (
    Controller,
    Fate,
    Judgement,
    Plan,
    controller_key,
    do_not_disrupt,
    judge,
    parse_duration,
    plan,
)

MIRROR = {"kubernetes.io/config.mirror": "c0ffee"}
EVERYTHING = [{"operator": "Exists"}]
KARPENTER = "karpenter.sh/do-not-disrupt"
AUTOSCALER = "cluster-autoscaler.kubernetes.io/safe-to-evict"
CLUSTER_API = {"cluster.x-k8s.io/drain": "skip"}
SCRATCH = [{"name": "scratch", "emptyDir": {}}]


CORDON = "node.kubernetes.io/unschedulable"


def owned(owner: dict[str, Any]) -> Pod:
    """A pod with a ReplicaSet for its controller unless ``owner`` controls it."""
    made = pod()
    ours = msgspec.convert(owner, Owner)
    others = [] if ours.controller else made.metadata.owner_references or []
    meta = msgspec.structs.replace(made.metadata, owner_references=[*others, ours])
    return msgspec.structs.replace(made, metadata=meta)


def judged(one: Pod, exists: bool = True, own_uid: str | None = None, **parameters: Any) -> Judgement:
    wanted = DrainNode.model_validate({"node_name": "node-1", **parameters})
    return judge(one, wanted, own_uid, living(one, exists), NOON)


def living(one: Pod, exists: bool = True) -> dict[Controller, bool]:
    """What looking its controller up says."""
    key = controller_key(one)
    return {key: exists} if key else {}


# -- what becomes of a pod ------------------------------------------------------------------------

CASES: dict[str, tuple[Judgement, Fate, str]] = {
    "an ordinary pod": (judged(pod()), Fate.EVICT, ""),
    "5: a static pod": (
        judged(pod(annotations=MIRROR)), Fate.SKIP, "static pod, run by the kubelet from a file"),
    "5: a static pod, by its owner": (
        judged(pod(owner="Node")), Fate.SKIP, "static pod, run by the kubelet from a file"),
    "5: a static pod, also with force": (
        judged(pod(owner="Node"), force=True), Fate.SKIP, "static pod, run by the kubelet from a file"),
    "5: in kube-system": (
        judged(pod(namespace="kube-system")), Fate.SKIP, "namespace kube-system is in skip_namespaces"),
    "5: in kube-public": (
        judged(pod(namespace="kube-public")), Fate.SKIP, "namespace kube-public is in skip_namespaces"),
    "5: in a namespace the task skips": (
        judged(pod(), skip_namespaces=["shop"]), Fate.SKIP, "namespace shop is in skip_namespaces"),
    "5: in kube-system, which the task does not skip": (
        judged(pod(namespace="kube-system"), skip_namespaces=[]), Fate.EVICT, ""),
    "5: bare, in a namespace that is skipped": (
        judged(pod(namespace="kube-system", owner=None)), Fate.SKIP, "namespace kube-system is in skip_namespaces"),
    "5: of a DaemonSet": (
        judged(pod(owner="DaemonSet")), Fate.SKIP, "DaemonSet the-owner would start it again at once"),
    "5: of a DaemonSet, also with force": (
        judged(pod(owner="DaemonSet"), force=True), Fate.SKIP, "DaemonSet the-owner would start it again at once"),
    "5: of a DaemonSet that is gone": (
        judged(pod(owner="DaemonSet"), exists=False), Fate.REFUSE, "its DaemonSet the-owner is gone; force evicts it"),
    "5: of a DaemonSet that is gone, with force": (
        judged(pod(owner="DaemonSet"), exists=False, force=True), Fate.EVICT, ""),
    "6: with an emptyDir": (judged(pod(volumes=SCRATCH)), Fate.EVICT, ""),
    "6: with an emptyDir that must not be lost": (
        judged(pod(volumes=SCRATCH), delete_emptydir_data=False), Fate.REFUSE,
        "its emptyDir data would be lost and delete_emptydir_data is false"),
    "6: with an emptyDir that must not be lost, also with force": (
        judged(pod(volumes=SCRATCH), delete_emptydir_data=False, force=True), Fate.REFUSE,
        "its emptyDir data would be lost and delete_emptydir_data is false"),
    "6: with other volumes": (
        judged(pod(volumes=[{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}]),
               delete_emptydir_data=False), Fate.EVICT, ""),
    "6: bare": (
        judged(pod(owner=None)), Fate.REFUSE, "no controller would replace it; force evicts it"),
    "6: bare, with force": (judged(pod(owner=None), force=True), Fate.EVICT, ""),
    "7: tolerates everything": (
        judged(pod(tolerations=EVERYTHING)), Fate.SKIP, "tolerates every taint, so it would come straight back"),
    "7: tolerates every NoSchedule": (
        judged(pod(tolerations=[{"operator": "Exists", "effect": "NoSchedule"}])), Fate.SKIP,
        "tolerates every taint, so it would come straight back"),
    "7: tolerates the cordon": (
        judged(pod(tolerations=[{"key": "node.kubernetes.io/unschedulable", "operator": "Exists"}])), Fate.SKIP,
        "tolerates the cordon, so it would come straight back"),
    "7: tolerates the cordon's taint where it would evict": (
        judged(pod(tolerations=[{"key": "node.kubernetes.io/unschedulable", "effect": "NoExecute"}])), Fate.EVICT, ""),
    "7: tolerates every NoExecute": (
        judged(pod(tolerations=[{"operator": "Exists", "effect": "NoExecute"}])), Fate.EVICT, ""),
    "7: tolerates one taint": (
        judged(pod(tolerations=[{"key": "gpu", "operator": "Exists"}])), Fate.EVICT, ""),
    "7: this agent": (judged(pod(), own_uid="uid-web-0"), Fate.LAST, "this agent goes last"),
    "7: this agent, under the default skip": (
        judged(pod(namespace="kube-system"), own_uid="uid-web-0"), Fate.SKIP,
        "namespace kube-system is in skip_namespaces; it is this agent"),
    "7: another agent": (judged(pod(), own_uid="uid-other"), Fate.EVICT, ""),
    "8: do not disrupt": (
        judged(pod(annotations={KARPENTER: "true"})), Fate.REFUSE, f"{KARPENTER} is true; force overrides"),
    "8: do not disrupt, with force": (judged(pod(annotations={KARPENTER: "true"}), force=True), Fate.EVICT, ""),
    "8: not safe to evict": (
        judged(pod(annotations={AUTOSCALER: "false"})), Fate.REFUSE, f"{AUTOSCALER} is false; force overrides"),
    "8: safe to evict": (judged(pod(annotations={AUTOSCALER: "true"})), Fate.EVICT, ""),
    "8: Cluster API's label": (
        judged(pod(labels=CLUSTER_API)), Fate.SKIP, "its label cluster.x-k8s.io/drain is skip"),
    "30: also where nothing would replace it": (
        judged(pod(labels=CLUSTER_API, owner=None)), Fate.SKIP, "its label cluster.x-k8s.io/drain is skip"),
    "30: wait for its end": (
        judged(pod(labels={"cluster.x-k8s.io/drain": "wait-completed"})),
        Fate.AWAIT,
        "its label cluster.x-k8s.io/drain is wait-completed",
    ),
    "27: an owner named Node of another group": (
        judged(owned({"apiVersion": "example.com/v1", "kind": "Node", "name": "a", "uid": "1", "controller": True})),
        Fate.EVICT,
        "",
    ),
    "27: a node that does not control it": (
        judged(owned({"apiVersion": "v1", "kind": "Node", "name": "a", "uid": "1"}), force=True), Fate.EVICT, ""),
    "7: bare, and tolerates the cordon": (
        judged(pod(owner=None, tolerations=EVERYTHING)),
        Fate.REFUSE,
        "no controller would replace it; force evicts it",
    ),
    "7: bare, and tolerates the cordon, with force": (
        judged(pod(owner=None, tolerations=EVERYTHING), force=True), Fate.EVICT, ""),
    "7: of a DaemonSet that is gone, which tolerates the cordon, with force": (
        judged(pod(owner="DaemonSet", tolerations=EVERYTHING), exists=False, force=True), Fate.EVICT, ""),
    "7: of a ReplicaSet that is gone, which tolerates the cordon": (
        judged(pod(tolerations=EVERYTHING), exists=False),
        Fate.REFUSE,
        "its ReplicaSet the-owner is gone; force evicts it",
    ),
    "7: tolerates another value than the cordon's": (
        judged(pod(tolerations=[{"key": CORDON, "operator": "Equal", "value": "x", "effect": "NoSchedule"}])),
        Fate.EVICT,
        "",
    ),
    "7: tolerates the cordon's empty value": (
        judged(pod(tolerations=[{"key": CORDON, "operator": "Equal"}])),
        Fate.SKIP,
        "tolerates the cordon, so it would come straight back",
    ),
    "7: tolerates the cordon's other effect only": (
        judged(pod(tolerations=[{"key": CORDON, "operator": "Exists", "effect": "NoExecute"}])), Fate.EVICT, ""),
    "8: a duration that Go does not hold": (
        judged(pod(annotations={KARPENTER: "80000000h"})),
        Fate.EVICT,
        f"its {KARPENTER} is '80000000h', no duration that Go holds, and forbids nothing",
    ),
    "terminating": (
        judged(pod(deleted="2026-03-01T12:00:30Z")), Fate.EVICT, "terminates already"),
    "terminating and bare": (
        judged(pod(owner=None, deleted="2026-03-01T12:00:30Z")), Fate.EVICT, "terminates already"),
    "terminating and not to be disrupted": (
        judged(pod(annotations={KARPENTER: "true"}, deleted="2026-03-01T12:00:30Z")), Fate.EVICT, "terminates already"),
}  # fmt: skip


@pytest.mark.parametrize(("found", "fate", "why"), CASES.values(), ids=CASES)
def test_a_pods_fate(found: Judgement, fate: Fate, why: str) -> None:
    assert (found.fate, found.why) == (fate, why)


# -- rule 8: durations ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("30s", 30),
        ("5m", 300),
        ("1h", 3600),
        ("1h30m", 5400),
        ("1h2m3s", 3723),
        ("1.5h", 5400),
        ("500ms", 0.5),
        ("1m500ms", 60.5),
        ("0s", 0),
        ("0", 0),
        ("-5m", -300),
        (".5h", 1800),
        ("2us3µs", 5e-6),
        ("2562047h", 2562047 * 3600),
    ],
)
def test_durations_are_those_of_go(text: str, seconds: float) -> None:
    assert parse_duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "true",
        "false",
        "30",
        "s",
        "1d",
        "1h 30m",
        "+-5m",
        "1h30",
        "2562048h",
        "1" * 400 + "h",
        "PT1H",
        "five minutes",
    ],
)
def test_other_texts_are_none(text: str) -> None:
    assert parse_duration(text) is None


@pytest.mark.parametrize(
    ("value", "started", "forbids"),
    [
        ("true", None, True),
        ("false", None, False),
        ("30m", "2026-03-01T11:31:00Z", True),
        ("30m", "2026-03-01T11:30:00Z", False),
        ("30m", "2026-03-01T11:00:00Z", False),
        ("30m", None, True),
        ("nonsense", None, False),
    ],
)
def test_karpenter_may_forbid_disruption_for_a_while_since_the_start(
    value: str, started: str | None, forbids: bool
) -> None:
    reason = do_not_disrupt(pod(annotations={KARPENTER: value}, started=started), NOON)
    assert (reason is not None) is forbids


def test_the_reason_names_the_annotation() -> None:
    reason = do_not_disrupt(pod(annotations={KARPENTER: "30m"}, started="2026-03-01T11:50:00Z"), NOON)
    assert reason == f"{KARPENTER} is 30m since its start"
    assert do_not_disrupt(pod(), NOON) is None


# -- rule 9: tiers, and the plan as a whole -------------------------------------------------------


def planned(*pods: Pod, exists: bool = True) -> Plan:
    looked_up = {key: exists for one in pods for key in living(one)}
    return plan(pods, DrainNode(node_name="node-1"), "uid-me", looked_up, NOON)


def names(pods: list[Pod]) -> list[str]:
    return [one.metadata.name for one in pods]


def test_ordinary_pods_go_before_critical_ones_and_node_critical_last() -> None:
    made = planned(
        pod("node", priorityClassName="system-node-critical"),
        pod("cluster", priorityClassName="system-cluster-critical"),
        pod("ordinary"),
        pod("important", priorityClassName="my-important"),
    )
    assert [names(tier) for tier in made.tiers] == [["ordinary", "important"], ["cluster"], ["node"]]
    assert names(made.to_leave) == ["ordinary", "important", "cluster", "node"]


def test_tiers_without_pods_are_left_out() -> None:
    assert [names(tier) for tier in planned(pod("a", priorityClassName="system-node-critical")).tiers] == [["a"]]
    assert planned().tiers == []


def test_a_terminating_critical_pod_is_awaited_in_its_tier() -> None:
    going = pod("going", priorityClassName="system-node-critical", deleted="2026-03-01T12:00:30Z")
    assert [names(tier) for tier in planned(going, pod("ordinary")).tiers] == [["ordinary"], ["going"]]


@pytest.mark.parametrize("phase", ["Succeeded", "Failed"])
def test_5_pods_that_ended_do_not_count(phase: str) -> None:
    made = planned(pod(phase=phase), pod("bare", owner=None, phase=phase))
    assert (made.judgements, made.tiers) == ([], [])


def test_the_plan_knows_the_fate_of_every_pod() -> None:
    made = planned(pod("a"), pod("b", owner=None), pod("c", namespace="kube-system"), pod("me", uid="uid-me"))
    assert {fate: names([judgement.pod for judgement in made.of(fate)]) for fate in Fate} == {
        Fate.EVICT: ["a"],
        Fate.AWAIT: [],
        Fate.REFUSE: ["b"],
        Fate.SKIP: ["c"],
        Fate.LAST: ["me"],
    }
    assert names(made.to_evict) == ["a"]


def test_only_those_controllers_are_looked_up_whose_life_matters() -> None:
    assert controller_key(pod("a")) is None
    assert controller_key(pod("a", owner="DaemonSet")) == ("shop", "DaemonSet", "the-owner", "owner")
    assert controller_key(pod("a", tolerations=EVERYTHING)) == ("shop", "ReplicaSet", "the-owner", "owner")
    assert controller_key(pod("a", owner=None, tolerations=EVERYTHING)) is None
    assert controller_key(pod("a", owner="Job", tolerations=EVERYTHING)) is None


# -- what the cluster's owner protects ------------------------------------------------------------


def guarded(*pods: Pod, protected: str = "shop/web-0", own_uid: str | None = None, **parameters: Any) -> Plan:
    wanted = DrainNode.model_validate({"node_name": "node-1", **parameters})
    return plan(pods, wanted, own_uid, {}, NOON, lambda pod: "kept" if pod.name == protected else None)


@pytest.mark.parametrize(
    "parameters",
    [{}, {"force": True}, {"skip_namespaces": []}, {"disable_eviction": True}, {"force": True, "skip_namespaces": []}],
)
def test_what_the_owner_protects_refuses_the_drain_whatever_the_task_says(parameters: dict[str, Any]) -> None:
    found = guarded(pod(), pod("web-1"), **parameters)
    assert [(each.pod.name, each.why) for each in found.of(Fate.REFUSE)] == [("shop/web-0", "kept")]
    assert [each.name for each in found.to_evict] == ["shop/web-1"]


def test_a_protected_pod_that_terminates_is_not_hurried() -> None:
    assert guarded(pod(deleted="2026-03-01T12:00:00Z")).of(Fate.REFUSE)


def test_protection_keeps_the_agents_own_pod_too() -> None:
    assert guarded(pod(uid="own"), own_uid="own").of(Fate.REFUSE)


def test_protected_pods_that_stay_anyway_refuse_nothing() -> None:
    staying = pod(owner="DaemonSet"), pod(annotations=MIRROR), pod(tolerations=EVERYTHING)
    for one in staying:
        assert not guarded(one).of(Fate.REFUSE)
    assert not guarded(pod(), skip_namespaces=["shop"]).of(Fate.REFUSE)
