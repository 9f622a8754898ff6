"""Parameters of each task type.

An unknown parameter is refused, and one of the wrong type: a typo in ``dry_run`` must not drain a node.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

Name = Annotated[str, StringConstraints(min_length=1, max_length=253, pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$")]
"""A DNS subdomain, as the names of nodes, pods and namespaces are."""

Identity = Annotated[str, StringConstraints(min_length=1, max_length=1024)]
"""A UID or provider id. Never empty: whoever means "none" leaves it out."""

Labels = Annotated[dict[str, str | None], Field(min_length=1)]
"""Label keys to values; null removes the label."""

GracePeriod = Annotated[int, Field(ge=0, le=86_400)]
"""Seconds between SIGTERM and SIGKILL."""


class Parameters(BaseModel):
    """Base of all parameters. Nothing is converted: ``"no"`` or 1 is no boolean, ``true`` no number of seconds."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class NodeParameters(Parameters):
    """A task about one node."""

    node_name: Name
    """The node."""
    node_uid: Identity | None = None
    """When given, the node of that name must have this UID; another one was the wrong target."""
    provider_id: Identity | None = None
    """When given, must equal the node's ``spec.providerID`` but for the case of letters, likewise."""


class CordonNode(NodeParameters):
    """Mark a node unschedulable."""


class UncordonNode(NodeParameters):
    """Mark a node schedulable."""


class LabelNode(NodeParameters):
    """Set and remove labels of a node."""

    labels: Labels
    """Label keys to values; null removes the label."""
    force: bool = False
    """Also touch labels under ``kubernetes.io/`` and ``k8s.io/``."""


class Grace(Parameters):
    """How long evicted pods get to stop."""

    grace_period: GracePeriod | None = None
    """Sent as given. Left out: 90 seconds, or the pod's own grace where that is longer."""
    allow_zero_grace: bool = False
    """A grace of 0 removes the pod before its containers ended and can break at-most-one; say it twice."""

    @model_validator(mode="after")
    def _zero_grace_is_said_twice(self) -> Grace:
        if self.grace_period == 0 and not self.allow_zero_grace:
            raise ValueError("grace_period 0 can run two copies of a pod at once; add allow_zero_grace: true")
        return self


class DrainNode(NodeParameters, Grace):
    """Cordon a node and evict its pods."""

    skip_namespaces: list[Name] = ["kube-system", "kube-public"]
    """Pods in these stay."""
    eviction_interval_seconds: Annotated[float, Field(ge=0, le=3600)] = 0.0
    """Least time between two evictions; 0 lets budgets set the pace."""
    force: bool = False
    """Also evict bare pods, do-not-disrupt pods and pods of a DaemonSet that is gone. Still evicts."""
    delete_emptydir_data: bool = True
    """False refuses a node with pods whose emptyDir would be lost."""
    dry_run: bool = False
    """Report the plan and touch nothing."""
    disable_eviction: bool = False
    """DELETE instead of evict: goes past disruption budgets. Needs the forced-delete RBAC component."""
    wait_for_volume_detach: bool = False
    """Wait up to 60 s for volumes to detach. Needs the volume-wait RBAC component."""
    uncordon_on_failure: bool = False
    """Uncordon again if the drain fails and it was the drain that cordoned."""


class PodParameters(Parameters):
    """A task about one pod."""

    namespace: Name
    """The pod's."""
    pod_name: Name
    """The pod."""
    pod_uid: Identity | None = None
    """When given, only the pod with this UID is touched."""


class LabelPod(PodParameters):
    """Set and remove labels of a pod. Needs the pod-labels RBAC component."""

    labels: Labels
    """Label keys to values; null removes the label."""
    force: bool = False
    """Also touch labels under ``kubernetes.io/`` and ``k8s.io/``."""


class DeletePod(PodParameters, Grace):
    """Evict one pod."""


class ReschedulePod(PodParameters, Grace):
    """Evict one pod and wait until its controller's replacement is Ready on another node."""


PARAMETERS: dict[str, type[Parameters]] = {
    "drain_node": DrainNode,
    "cordon_node": CordonNode,
    "uncordon_node": UncordonNode,
    "label_node": LabelNode,
    "label_pod": LabelPod,
    "delete_pod": DeletePod,
    "reschedule_pod": ReschedulePod,
}
"""Every task type."""
