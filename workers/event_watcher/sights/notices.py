"""What clouds and their tools put on a node before they take it away: taints, conditions and events. A table. Pure.

Where each word comes from:

- aws-node-termination-handler: pkg/node/node.go (taints), pkg/observability/k8s-events.go (events)
- Karpenter: pkg/controllers/interruption/events of karpenter-provider-aws; PreemptionScheduled of
  karpenter-provider-azure
- AKS: https://learn.microsoft.com/azure/aks/node-problem-detector and node-auto-drain; the draining taint of
  cloud-provider-azure
- GKE: https://github.com/GoogleCloudPlatform/k8s-node-termination-handler and the maintenance handler of GPU nodes
- https://kubernetes.io/docs/reference/labels-annotations-taints/#node-kubernetes-io-out-of-service

OCI announces nothing on a node: its permanent taint oke-is-preemptible is how a node was bought, not that it goes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from email.utils import parsedate_to_datetime

from shared.basics.timing import iso
from shared.schemas.events import ClusterEvent, Details, Severity
from workers.event_watcher.objects import Node
from workers.event_watcher.sights.sight import MESSAGE, Sight, key_of, moment, name_of


@dataclass(frozen=True)
class Notice:
    """What is announced, and how soon it usually follows."""

    what: str
    severity: Severity = "warning"
    usual: float | None = None
    """Seconds from the notice to the end, where the cloud promises it."""


_SPOT = Notice("spot-interruption", usual=120.0)
"""https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/spot-instance-termination-notices.html: two minutes."""
_REBALANCE = Notice("rebalance-recommendation", "info")
_MAINTENANCE = Notice("scheduled-maintenance")
_SCALE_IN = Notice("scale-in", "info")
_PREEMPT = Notice("preempt", usual=30.0)
"""https://learn.microsoft.com/azure/virtual-machines/linux/scheduled-events: at least 30 seconds."""
_TERMINATION = Notice("termination")
_OUT_OF_SERVICE = Notice("out-of-service")

_TAINTS: dict[str, Notice] = {
    "aws-node-termination-handler/spot-itn": _SPOT,
    "aws-node-termination-handler/scheduled-maintenance": _MAINTENANCE,
    "aws-node-termination-handler/asg-lifecycle-termination": _SCALE_IN,
    "aws-node-termination-handler/rebalance-recommendation": _REBALANCE,
    "cloud.google.com/impending-node-termination": _TERMINATION,
    "cloudprovider.azure.microsoft.com/draining": _PREEMPT,
    "node.kubernetes.io/out-of-service": _OUT_OF_SERVICE,
}

_AZURE: dict[str, Notice] = {
    "Preempt": _PREEMPT,
    "Terminate": Notice("terminate"),
    "Redeploy": Notice("redeploy"),
    "Reboot": Notice("reboot"),
    "Freeze": Notice("freeze", "info"),
}
"""Azure's scheduled events. A message begins with ``Preempt Scheduled: Sat, 01 Aug 2026 05:41:02 GMT``."""

_CONDITIONS: dict[str, Notice] = {
    **{f"{word}Scheduled": notice for word, notice in _AZURE.items()},
    "PreemptionScheduled": _PREEMPT,
    "VMEventScheduled": Notice("vm-event"),
}

_EVENTS: dict[str, Notice] = {
    # Karpenter
    "SpotInterrupted": _SPOT,
    "SpotRebalanceRecommendation": _REBALANCE,
    "InstanceStopping": Notice("instance-stopping"),
    "InstanceTerminating": Notice("instance-terminating"),
    "InstanceUnhealthy": Notice("instance-unhealthy"),
    # aws-node-termination-handler
    "SpotInterruption": _SPOT,
    "RebalanceRecommendation": _REBALANCE,
    "ScheduledEvent": _MAINTENANCE,
    "ASGLifecycle": _SCALE_IN,
    # node-problem-detector on AKS
    **{f"{word}Scheduled": notice for word, notice in _AZURE.items()},
}

_GOOGLE_SPOT = ("cloud.google.com/gke-spot", "cloud.google.com/gke-preemptible")
_GOOGLE_SPOT_SECONDS = 30.0
"""https://cloud.google.com/compute/docs/instances/preemptible#preemption_process; other machines have an hour."""

_ACTION_TIME = "aws-node-termination-handler/action-time"
"""Label: when the handler put its mark on the node, in seconds since 1970."""

_STATED = re.compile(r"(\w+) Scheduled: (\w{3}, +\d{1,2} \w{3} \d{4} \d{2}:\d{2}:\d{2} GMT)")

_REMOVALS: dict[str, str] = {
    "ToBeDeletedByClusterAutoscaler": "the cluster autoscaler removes it",
    "karpenter.sh/disrupted": "Karpenter removes it",
    "karpenter.sh/disruption": "Karpenter removes it",
}
"""Taints of nodes that somebody takes out on purpose, without a notice of the cloud's."""


def from_node(node: Node, now: datetime) -> Iterator[Sight]:
    """The notices that ``node`` carries."""
    for taint in node.spec.taints or ():
        if notice := _TAINTS.get(taint.key):
            said = f"taint {taint.key}" + (f"={taint.value}" if taint.value else "")
            added = moment(taint.time_added) or _labelled(node, taint.key)
            yield _sight(node, notice, taint.key, said, added, now, taint.value)
    for condition in node.status.conditions or ():
        notice = _CONDITIONS.get(condition.type)
        if notice is not None and condition.status == "True":
            said = condition.message or f"condition {condition.type}"
            since = moment(condition.last_transition_time)
            yield _sight(
                node, notice, condition.reason or condition.type, said, since, now, iso(since) if since else ""
            )


def of_event(reason: str) -> Notice | None:
    """The notice that an Event about a node is, whose reason is this."""
    return _EVENTS.get(reason)


def removal(node: Node) -> str | None:
    """Why ``node`` goes, if somebody said so: that it is not ready then is no trouble."""
    if node.metadata.deletion_timestamp is not None:
        return "it is being deleted"
    for taint in node.spec.taints or ():
        if taint.key in _REMOVALS:
            return _REMOVALS[taint.key]
        if taint.key in _TAINTS:
            return f"{_TAINTS[taint.key].what} was announced"
    return None


def identify(node: str, notice: Notice, message: str, since: datetime, which: str = "") -> tuple[str, Notice, Details]:
    """Id and details of a notice that ``node`` (its key) got at ``since``, and what it is about by its message.

    What states a time is the same wherever it is said: in two conditions and an event. ``which`` tells apart
    those that do not.
    """
    notice, deadline = _stated(notice, message)
    details: Details = {"notice": notice.what}
    if deadline is not None:
        which, details["deadline_is"] = iso(deadline), "stated"
    elif notice.usual is not None:
        deadline, details["deadline_is"] = since + timedelta(seconds=notice.usual), "usual"
    if deadline is not None:
        details["deadline"] = iso(deadline)
    return name_of("notice", node, notice.what, which), notice, details


def _stated(notice: Notice, message: str) -> tuple[Notice, datetime | None]:
    said = _STATED.search(message)
    if said is None or said[1] not in _AZURE:
        return notice, None
    try:
        return _AZURE[said[1]], parsedate_to_datetime(said[2])
    except ValueError:  # "31 Feb"
        return _AZURE[said[1]], None


def _sight(
    node: Node, notice: Notice, reason: str, said: str, since: datetime | None, now: datetime, which: str
) -> Sight:
    if notice is _TERMINATION and any((node.metadata.labels or {}).get(label) == "true" for label in _GOOGLE_SPOT):
        notice = Notice(notice.what, notice.severity, _GOOGLE_SPOT_SECONDS)
    when = since or now
    event_id, notice, details = identify(key_of(node.metadata), notice, said, when, which)
    event = ClusterEvent(
        event_id=event_id,
        event_type="node_disruption_notice",
        severity=notice.severity,
        reason=reason,
        message=said[:MESSAGE],
        kind="Node",
        namespace=None,
        name=node.metadata.name,
        uid=node.metadata.uid or None,
        node_name=node.metadata.name,
        owner=None,
        count=1,
        first_seen=when,
        last_seen=when,
        details=details,
    )
    return Sight(event, undated=since is None)


def _labelled(node: Node, taint: str) -> datetime | None:
    seconds = (node.metadata.labels or {}).get(_ACTION_TIME, "")
    if not taint.startswith("aws-node-termination-handler/") or not seconds.isdigit() or len(seconds) > 10:
        return None
    return datetime.fromtimestamp(int(seconds), tz=timezone.utc)
