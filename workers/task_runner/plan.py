"""What a drain does with each pod of the node: pure decisions, made before anything is touched."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum

from shared.kube.pods import MIRROR, Pod
from shared.schemas.parameters import DrainNode
from workers.task_runner.guards import Protection

_CRITICAL = ("system-cluster-critical", "system-node-critical")
"""Priority classes in the order their tiers go, after the ordinary pods."""

_KARPENTER = "karpenter.sh/do-not-disrupt"
_AUTOSCALER = "cluster-autoscaler.kubernetes.io/safe-to-evict"
_CLUSTER_API = "cluster.x-k8s.io/drain"

_CORDON_TAINT = "node.kubernetes.io/unschedulable"
"""Key of the taint of a cordoned node."""

_DURATION = re.compile(r"(?:\d+(?:\.\d+)?(?:h|ms|m|s))+")
_DURATION_PART = re.compile(r"(\d+(?:\.\d+)?)(h|ms|m|s)")
_UNIT_SECONDS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}


class Fate(Enum):
    """What becomes of a pod."""

    EVICT = "evict"
    SKIP = "skip"
    """It stays; the drain does not mind."""
    REFUSE = "refuse"
    """It forbids the whole drain."""
    LAST = "last"
    """This agent's own pod: evicted after the result is safe."""


@dataclass(frozen=True)
class Judgement:
    """A pod's fate, why, and in which tier it is evicted."""

    pod: Pod
    fate: Fate
    why: str = ""
    tier: int = 0


@dataclass(frozen=True)
class Plan:
    """The judgements on all pods of a node."""

    judgements: list[Judgement]
    tiers: list[list[Pod]] = field(default_factory=list)

    def of(self, fate: Fate) -> list[Judgement]:
        return [judgement for judgement in self.judgements if judgement.fate is fate]

    @property
    def to_evict(self) -> list[Pod]:
        return [pod for tier in self.tiers for pod in tier]


def plan(
    pods: Iterable[Pod],
    parameters: DrainNode,
    own_uid: str | None,
    daemonset_exists: Callable[[Pod], bool],
    now: datetime,
    protection: Protection = lambda pod: None,
) -> Plan:
    """Judge every pod. ``daemonset_exists`` is asked for pods whose controller is a DaemonSet.

    What the cluster's owner protects refuses the drain, ``force`` or not: once the node is empty by this plan, it goes.
    """
    judgements = [
        _protected(judge(pod, parameters, own_uid, daemonset_exists, now), protection) for pod in pods if not pod.ended
    ]
    tiers = [
        [judgement.pod for judgement in judgements if judgement.fate is Fate.EVICT and judgement.tier == tier]
        for tier in range(len(_CRITICAL) + 1)
    ]
    return Plan(judgements, [tier for tier in tiers if tier])


def judge(
    pod: Pod,
    parameters: DrainNode,
    own_uid: str | None,
    daemonset_exists: Callable[[Pod], bool],
    now: datetime,
) -> Judgement:
    """The fate of one pod that has not ended (rules 5 to 9)."""
    if pod.annotation(MIRROR) is not None or any(o.kind == "Node" for o in pod.metadata.owner_references or ()):
        return Judgement(pod, Fate.SKIP, "static pod, run by the kubelet from a file")
    if pod.metadata.namespace in parameters.skip_namespaces:
        own = "; it is this agent" if own_uid and pod.uid == own_uid else ""
        return Judgement(pod, Fate.SKIP, f"namespace {pod.metadata.namespace} is in skip_namespaces{own}")
    owner = pod.controller
    if owner is not None and owner.kind == "DaemonSet":
        if daemonset_exists(pod):
            return Judgement(pod, Fate.SKIP, f"DaemonSet {owner.name} would start it again at once")
        if not parameters.force:
            return Judgement(pod, Fate.REFUSE, f"its DaemonSet {owner.name} is gone; force evicts it")
    if pod.terminating:
        return Judgement(pod, Fate.EVICT, "terminates already", _tier(pod))
    if own_uid and pod.uid == own_uid:
        return Judgement(pod, Fate.LAST, "this agent goes last")
    if what := _tolerated(pod):
        return Judgement(pod, Fate.SKIP, f"tolerates {what}, so it would come straight back")
    if not parameters.force and (reason := do_not_disrupt(pod, now)):
        return Judgement(pod, Fate.REFUSE, f"{reason}; force overrides")
    if owner is None and not parameters.force:
        return Judgement(pod, Fate.REFUSE, "no controller would replace it; force evicts it")
    if has_emptydir(pod) and not parameters.delete_emptydir_data:
        return Judgement(pod, Fate.REFUSE, "its emptyDir data would be lost and delete_emptydir_data is false")
    return Judgement(pod, Fate.EVICT, "", _tier(pod))


def _protected(judgement: Judgement, protection: Protection) -> Judgement:
    """The judgement, unless the pod would go and its owner's limits keep it."""
    if judgement.fate in (Fate.EVICT, Fate.LAST) and (rule := protection(judgement.pod)):
        return Judgement(judgement.pod, Fate.REFUSE, rule)
    return judgement


def do_not_disrupt(pod: Pod, now: datetime) -> str | None:
    """The annotation or label by which the pod's owner forbids evictions; None when nothing does."""
    karpenter = pod.annotation(_KARPENTER)
    if karpenter == "true":
        return f"{_KARPENTER} is true"
    duration = parse_duration(karpenter) if karpenter is not None else None
    if duration is not None and now < (pod.status.start_time or now) + duration:
        return f"{_KARPENTER} is {karpenter} since its start"
    if pod.annotation(_AUTOSCALER) == "false":
        return f"{_AUTOSCALER} is false"
    if pod.label(_CLUSTER_API) == "skip":
        return f"{_CLUSTER_API} is skip"
    return None


def parse_duration(text: str) -> timedelta | None:
    """A Go duration such as ``1h30m``; None when it is none (then the annotation says nothing)."""
    if not _DURATION.fullmatch(text):
        return None
    return timedelta(seconds=sum(float(n) * _UNIT_SECONDS[unit] for n, unit in _DURATION_PART.findall(text)))


def has_emptydir(pod: Pod) -> bool:
    return any(volume.empty_dir is not None for volume in pod.spec.volumes or ())


def _tolerated(pod: Pod) -> str | None:
    """What the pod tolerates that lets it be bound to a cordoned node; None when nothing does."""
    for toleration in pod.spec.tolerations or ():
        if toleration.effect in ("", "NoSchedule"):
            if toleration.operator == "Exists" and not toleration.key:
                return "every taint"
            if toleration.key == _CORDON_TAINT:
                return "the cordon"
    return None


def _tier(pod: Pod) -> int:
    name = pod.spec.priority_class_name
    return _CRITICAL.index(name) + 1 if name in _CRITICAL else 0
