"""Pods: what tasks need to know of one, and what they do to it (evictions have a module of their own)."""

from __future__ import annotations

from datetime import datetime
from sys import intern
from typing import Any
from urllib.parse import quote

from shared.kube.connection import MERGE_PATCH, Kube
from shared.kube.objects import Condition, Meta, Owner, Struct, controller_of, meant
from shared.kube.reads import Resource

PATH = "/api/v1/pods"

MIRROR = "kubernetes.io/config.mirror"
"""Annotation of a static pod's image in the API: the kubelet runs it from a file, deleting it is futile."""


KEPT_LABELS = frozenset(
    {
        "batch.kubernetes.io/controller-uid",
        "cloudoptim.io/protected",
        "cluster.x-k8s.io/drain",
        "pod-template-hash",
        "statefulset.kubernetes.io/pod-name",
    }
)
"""Labels by which anything is decided about a pod."""

KEPT_ANNOTATIONS = frozenset({MIRROR, "cluster-autoscaler.kubernetes.io/safe-to-evict", "karpenter.sh/do-not-disrupt"})
"""Annotations likewise. What others write there may be kilobytes."""


class Toleration(Struct, frozen=True):
    key: str = ""
    operator: str = ""
    value: str = ""
    effect: str = ""


class Volume(Struct, frozen=True):
    name: str = ""
    empty_dir: dict[str, Any] | None = None
    persistent_volume_claim: dict[str, Any] | None = None
    ephemeral: dict[str, Any] | None = None

    @property
    def holds_data(self) -> bool:
        """Whether it is anything that a drain asks about."""
        return (self.empty_dir, self.persistent_volume_claim, self.ephemeral) != (None, None, None)


class PodSpec(Struct, frozen=True):
    node_name: str = ""
    volumes: list[Volume] | None = None
    tolerations: list[Toleration] | None = None
    priority_class_name: str = ""
    termination_grace_period_seconds: int | None = None


class PodStatus(Struct, frozen=True):
    phase: str = ""
    reason: str = ""
    message: str = ""
    start_time: datetime | None = None
    conditions: list[Condition] | None = None


class Pod(Struct, frozen=True):
    """A pod, as far as a task looks at it."""

    metadata: Meta
    kind: str = ""
    """Empty for an item of a list."""
    spec: PodSpec = PodSpec()
    status: PodStatus = PodStatus()

    @property
    def name(self) -> str:
        """``namespace/name``, as people write it."""
        return f"{self.metadata.namespace}/{self.metadata.name}"

    @property
    def uid(self) -> str:
        return self.metadata.uid

    @property
    def controller(self) -> Owner | None:
        return controller_of(self.metadata)

    @property
    def is_static(self) -> bool:
        """Whether a kubelet runs it from a file: by its mirror annotation, or because a node controls it (rule 27)."""
        owner = self.controller
        of_node = owner is not None and (owner.api_version, owner.kind) == ("v1", "Node")
        return of_node or self.annotation(MIRROR) is not None

    @property
    def ended(self) -> bool:
        """Succeeded or Failed: nothing runs any more."""
        return self.status.phase in ("Succeeded", "Failed")

    @property
    def terminating(self) -> bool:
        return self.metadata.deletion_timestamp is not None

    @property
    def is_ready(self) -> bool:
        return any(c.type == "Ready" and c.status == "True" for c in self.status.conditions or ())

    def annotation(self, key: str) -> str | None:
        return (self.metadata.annotations or {}).get(key)

    def label(self, key: str) -> str | None:
        return (self.metadata.labels or {}).get(key)


_READY = [Condition("Ready", "True")]


def compact(pod: Pod) -> Pod:
    """``pod`` without what nothing is decided by, and with its strings shared: hundreds of drains hold thousands."""
    meta, spec, status = pod.metadata, pod.spec, pod.status
    owner = controller_of(meta)
    shared = None
    if owner is not None:
        shared = [Owner(intern(owner.kind), intern(owner.name), intern(owner.uid), True, intern(owner.api_version))]
    return Pod(
        Meta(
            meta.name,
            intern(meta.namespace),
            meta.uid,
            meta.resource_version,
            meta.creation_timestamp,
            meta.deletion_timestamp,
            meta.deletion_grace_period_seconds,
            _kept(meta.labels, KEPT_LABELS),
            _kept(meta.annotations, KEPT_ANNOTATIONS),
            shared,
            meta.finalizers,
        ),
        "",
        PodSpec(
            intern(spec.node_name),
            [one for one in spec.volumes or () if one.holds_data] or None,
            [one for one in spec.tolerations or () if one.effect != "NoExecute"] or None,
            intern(spec.priority_class_name),
            spec.termination_grace_period_seconds,
        ),
        PodStatus(intern(status.phase), "", "", status.start_time, _READY if pod.is_ready else None),
    )


def _kept(found: dict[str, str] | None, keys: frozenset[str]) -> dict[str, str] | None:
    return {key: found[key] for key in keys & found.keys()} or None if found else None


class Pods(Resource[Pod]):
    """Reads and writes of pods, those of one ``namespace`` or all."""

    def __init__(self, kube: Kube, namespace: str | None = None) -> None:
        super().__init__(kube, f"/api/v1/namespaces/{quote(namespace)}/pods" if namespace else PATH, Pod)

    def find(self, namespace: str, name: str) -> Pod:
        """The pod as the API server has it now. Raises NotFound, Unclear."""
        path = pod_path(namespace, name)
        return meant(self.decoded(self._kube.get(path), f"GET {path}"), "Pod", name)

    def set_labels(self, namespace: str, name: str, labels: dict[str, str | None], uid: str) -> Pod:
        """Set labels, or remove those that are null, of the pod ``uid`` only. Raises NotFound, Conflict."""
        patch = {"metadata": {"labels": labels, "uid": uid}}
        path = pod_path(namespace, name)
        answer = self._kube.call("PATCH", path, None, patch, MERGE_PATCH)
        return meant(self.decoded(answer, f"PATCH {path}"), "Pod", name)


def pod_path(namespace: str, name: str) -> str:
    """The pod's path in the API."""
    return f"/api/v1/namespaces/{quote(namespace, safe='')}/pods/{quote(name, safe='')}"


def on_node(node: str) -> dict[str, str]:
    """The query for the pods bound to ``node``."""
    return {"fieldSelector": f"spec.nodeName={node}"}
