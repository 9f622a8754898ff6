"""Guard rails the cluster's owner set, whatever Central asks.

Each law is a module of this package; here is which of them judge what, in the order in which they are named. All
are pure: limits and facts in, the sentence that refuses (or None) out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime

from shared.config.limits import Limits
from shared.kube.nodes import Node
from shared.kube.pods import Pod
from workers.task_runner.guards.control_plane import ControlPlane
from workers.task_runner.guards.cordoned import CordonAsked, MaxCordoned
from workers.task_runner.guards.hourly import Hourly
from workers.task_runner.guards.law import LabelsAsked, Law, NodeAsked, PodAsked, TaskAsked, first
from workers.task_runner.guards.paused import Paused
from workers.task_runner.guards.protected_labels import ProtectedLabels
from workers.task_runner.guards.protected_nodes import ProtectedNodes
from workers.task_runner.guards.protected_pods import ProtectedNamespaces, ProtectedPods
from workers.task_runner.guards.read_only import ReadOnly
from workers.task_runner.guards.task_types import AllowedTypes
from workers.task_runner.guards.windows import MaintenanceWindows

Protection = Callable[[Pod], str | None]
"""The rule by which the owner keeps a pod out of every task's reach; None where there is none."""


def on_task(task_type: str, now: datetime, limits: Limits, dry_run: bool = False) -> str | None:
    """Whether a task may be begun at all. A dry run is no work: only ``on_work`` may refuse what it plans."""
    laws: list[Law[TaskAsked]] = [
        ReadOnly(limits.read_only),
        Paused(limits.are_paused()),
        AllowedTypes(limits.allowed_types),
    ]
    if not dry_run:
        laws.append(MaintenanceWindows(limits.windows))
    return first(laws, TaskAsked(task_type, now))


def on_time(now: datetime, limits: Limits) -> str | None:
    """Whether work may go on at ``now``, whatever it is."""
    return MaintenanceWindows(limits.windows).refusal(TaskAsked("", now))


def on_node(node: Node, limits: Limits) -> str | None:
    """Whether a task may write to ``node``: cordon, drain, uncordon or label it."""
    laws = (ProtectedNodes(), ControlPlane(limits.control_plane_allowed))
    return first(laws, NodeAsked(node.metadata.name, node.metadata.labels or {}))


def on_pod(pod: Pod, namespace_labels: Mapping[str, str], limits: Limits) -> str | None:
    """Whether a task may evict, delete or label ``pod``."""
    meta = pod.metadata
    asked = PodAsked(meta.namespace, meta.name, meta.labels or {}, namespace_labels)
    return first((ProtectedNamespaces(limits.protected_namespaces), ProtectedPods()), asked)


def on_labels(keys: Iterable[str], limits: Limits) -> str | None:
    """Whether a task may change labels of these ``keys``."""
    return ProtectedLabels(limits.protected_labels).refusal(LabelsAsked(keys))


def on_cordon(asked: CordonAsked, limits: Limits) -> str | None:
    """Whether one more node may be cordoned."""
    return MaxCordoned(limits.max_cordoned).refusal(asked)


def hourly_drains(limits: Limits) -> Hourly:
    """The law of how many drains may begin within an hour."""
    return Hourly("MAX_DRAINS_PER_HOUR", "drains", limits.max_drains_per_hour)


def hourly_evictions(limits: Limits) -> Hourly:
    """The law of how many pods may be evicted or deleted within an hour."""
    return Hourly("MAX_EVICTIONS_PER_HOUR", "evictions", limits.max_evictions_per_hour)
