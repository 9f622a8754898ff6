"""What a drain does with each pod of the node: pure decisions, made before anything is touched.

Rules 5 to 9, 27 and 30 of a drain, in the order in which they are asked (docs/tasks.md has them all).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum

from shared.kube.objects import Owner
from shared.kube.pods import Pod, Toleration
from shared.schemas.parameters import DrainNode
from workers.task_runner.guards import Protection

_CRITICAL = ("system-cluster-critical", "system-node-critical")
"""Priority classes in the order their tiers go, after the ordinary pods."""

_KARPENTER = "karpenter.sh/do-not-disrupt"
_AUTOSCALER = "cluster-autoscaler.kubernetes.io/safe-to-evict"
_CLUSTER_API = "cluster.x-k8s.io/drain"

_CORDON_TAINT = "node.kubernetes.io/unschedulable"
"""Key of the taint of a cordoned node."""

_PART = r"(?:\d+\.?\d*|\.\d+)(?:ns|us|µs|μs|ms|s|m|h)"
_DURATION = re.compile(rf"([+-]?)(0|(?:{_PART})+)")
_DURATION_PART = re.compile(r"(\d+\.?\d*|\.\d+)(ns|us|µs|μs|ms|s|m|h)")
_UNIT_SECONDS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ns": 1e-9}

_GO_SECONDS = 2**63 / 1e9
"""The longest duration Go holds: 292 years of nanoseconds."""


class Fate(Enum):
    """What becomes of a pod."""

    EVICT = "evict"
    AWAIT = "await"
    """It is not asked; the drain waits for its end."""
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
    def to_leave(self) -> list[Pod]:
        """The pods that have to be gone in the end."""
        return [pod for tier in self.tiers for pod in tier]

    @property
    def to_evict(self) -> list[Pod]:
        return [pod for pod in self.to_leave if pod.uid not in self.unasked]

    @property
    def unasked(self) -> set[str]:
        """UIDs of pods that are only waited for."""
        return {judgement.pod.uid for judgement in self.of(Fate.AWAIT)}


Controller = tuple[str, str, str, str]
"""Namespace, kind, name and UID of a pod's controller."""

LOOKED_UP = {"DaemonSet": "daemonsets", "ReplicaSet": "replicasets", "StatefulSet": "statefulsets"}
"""Kinds of ``apps`` by which it matters whether they live, and their resources."""


def controller_key(pod: Pod) -> Controller | None:
    """The controller of ``pod`` whose life decides its fate, and can be looked up; None where there is none such.

    That is a DaemonSet (rule 5), and whoever would put the pod back on a cordoned node (rule 7).
    """
    owner = pod.controller
    if owner is None or not owner.api_version.startswith("apps/") or owner.kind not in LOOKED_UP:
        return None
    if owner.kind != "DaemonSet" and _tolerated(pod) is None:
        return None
    return (pod.metadata.namespace, owner.kind, owner.name, owner.uid)


def plan(
    pods: Iterable[Pod],
    parameters: DrainNode,
    own_uid: str | None,
    living: Mapping[Controller, bool],
    now: datetime,
    protection: Protection = lambda pod: None,
) -> Plan:
    """Judge every pod. ``living`` says of each ``controller_key`` whether there is such a controller.

    What the cluster's owner protects refuses the drain, ``force`` or not: once the node is empty by this plan, it goes.
    """
    judgements = [_protected(judge(pod, parameters, own_uid, living, now), protection) for pod in pods if not pod.ended]
    leaving = (Fate.EVICT, Fate.AWAIT)
    tiers = [
        [judgement.pod for judgement in judgements if judgement.fate in leaving and judgement.tier == tier]
        for tier in range(len(_CRITICAL) + 1)
    ]
    return Plan(judgements, [tier for tier in tiers if tier])


def judge(
    pod: Pod,
    parameters: DrainNode,
    own_uid: str | None,
    living: Mapping[Controller, bool],
    now: datetime,
) -> Judgement:
    """The fate of one pod that has not ended."""
    if pod.is_static:
        return Judgement(pod, Fate.SKIP, "static pod, run by the kubelet from a file")
    if pod.metadata.namespace in parameters.skip_namespaces:
        own = "; it is this agent" if own_uid and pod.uid == own_uid else ""
        return Judgement(pod, Fate.SKIP, f"namespace {pod.metadata.namespace} is in skip_namespaces{own}")
    owner = pod.controller
    lives = owner is not None and living.get(controller_key(pod) or ("", "", "", ""), True)
    if owner is not None and owner.kind == "DaemonSet" and lives:
        return Judgement(pod, Fate.SKIP, f"DaemonSet {owner.name} would start it again at once")
    if pod.terminating:
        return Judgement(pod, Fate.EVICT, "terminates already", _tier(pod))
    if (wish := pod.label(_CLUSTER_API)) in ("skip", "wait-completed"):
        if wish == "skip":
            return Judgement(pod, Fate.SKIP, f"its label {_CLUSTER_API} is skip")
        return Judgement(pod, Fate.AWAIT, f"its label {_CLUSTER_API} is wait-completed", _tier(pod))
    if own_uid and pod.uid == own_uid:
        return Judgement(pod, Fate.LAST, "this agent goes last")
    if lives and (what := _tolerated(pod)):
        return Judgement(pod, Fate.SKIP, f"tolerates {what}, so it would come straight back")
    if not parameters.force and (reason := do_not_disrupt(pod, now)):
        return Judgement(pod, Fate.REFUSE, f"{reason}; force overrides")
    if not lives and not parameters.force:
        return Judgement(pod, Fate.REFUSE, f"{_nobody(owner)}; force evicts it")
    if has_emptydir(pod) and not parameters.delete_emptydir_data:
        return Judgement(pod, Fate.REFUSE, "its emptyDir data would be lost and delete_emptydir_data is false")
    return Judgement(pod, Fate.EVICT, "" if parameters.force else _meaningless(pod), _tier(pod))


def _protected(judgement: Judgement, protection: Protection) -> Judgement:
    """The judgement, unless the pod would go and its owner's limits keep it."""
    if judgement.fate in (Fate.EVICT, Fate.AWAIT, Fate.LAST) and (rule := protection(judgement.pod)):
        return Judgement(judgement.pod, Fate.REFUSE, rule)
    return judgement


def _nobody(owner: Owner | None) -> str:
    return "no controller would replace it" if owner is None else f"its {owner.kind} {owner.name} is gone"


def do_not_disrupt(pod: Pod, now: datetime) -> str | None:
    """The annotation by which the pod's owner forbids evictions; None when nothing does."""
    karpenter = pod.annotation(_KARPENTER)
    if karpenter == "true":
        return f"{_KARPENTER} is true"
    duration = parse_duration(karpenter) if karpenter is not None else None
    if duration is not None and now - (pod.status.start_time or now) < duration:
        return f"{_KARPENTER} is {karpenter} since its start"
    if pod.annotation(_AUTOSCALER) == "false":
        return f"{_AUTOSCALER} is false"
    return None


def _meaningless(pod: Pod) -> str:
    """What is said of an annotation that forbids nothing though it is there."""
    karpenter = pod.annotation(_KARPENTER)
    if karpenter is None or karpenter in ("true", "false") or parse_duration(karpenter) is not None:
        return ""
    return f"its {_KARPENTER} is {karpenter[:60]!r}, no duration that Go holds, and forbids nothing"


def parse_duration(text: str) -> timedelta | None:
    """A Go duration such as ``1h30m``; None when it is none, or longer than Go holds."""
    found = _DURATION.fullmatch(text)
    if found is None:
        return None
    seconds = sum(float(number) * _UNIT_SECONDS[unit] for number, unit in _DURATION_PART.findall(found[2]))
    if not seconds < _GO_SECONDS:
        return None
    return timedelta(seconds=-seconds if found[1] == "-" else seconds)


def has_emptydir(pod: Pod) -> bool:
    return any(volume.empty_dir is not None for volume in pod.spec.volumes or ())


def _tolerated(pod: Pod) -> str | None:
    """What the pod tolerates that lets it be bound to a cordoned node; None when nothing does."""
    for toleration in pod.spec.tolerations or ():
        if _matches_cordon(toleration):
            return "the cordon" if toleration.key else "every taint"
    return None


def _matches_cordon(toleration: Toleration) -> bool:
    """Whether it matches ``node.kubernetes.io/unschedulable:NoSchedule``, a taint without a value.

    As k8s.io/api/core/v1 Toleration.ToleratesTaint; operators that compare numbers match no empty value.
    """
    if toleration.effect not in ("", "NoSchedule") or toleration.key not in ("", _CORDON_TAINT):
        return False
    if toleration.operator == "Exists":
        return True
    return toleration.key != "" and toleration.operator in ("", "Equal") and toleration.value == ""


def _tier(pod: Pod) -> int:
    name = pod.spec.priority_class_name
    return _CRITICAL.index(name) + 1 if name in _CRITICAL else 0
