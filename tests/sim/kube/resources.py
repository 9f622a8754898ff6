"""The kinds of objects the simulator serves, and how each is addressed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

Object = dict[str, Any]

VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")


@dataclass(frozen=True)
class Resource:
    """One row of API discovery."""

    group: str
    version: str
    plural: str
    kind: str
    namespaced: bool = True
    short: tuple[str, ...] = ()
    verbs: tuple[str, ...] = VERBS
    status: bool = True
    """Whether it has a ``/status`` subresource."""
    all: bool = False
    """Whether ``kubectl get all`` shows it."""

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def qualified(self) -> str:
        """``deployments.apps``, as messages name it."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def qualified_kind(self) -> str:
        """``Deployment.apps``, as validation messages name it."""
        return f"{self.kind}.{self.group}" if self.group else self.kind

    def key(self, namespace: str | None, name: str) -> str:
        """Where etcd would keep it: keys sort, so lists come out, in the real order."""
        return f"{namespace}/{name}" if self.namespaced else name


NODES = Resource("", "v1", "nodes", "Node", namespaced=False, short=("no",))
PODS = Resource("", "v1", "pods", "Pod", short=("po",), all=True)
EVENTS = Resource("", "v1", "events", "Event", short=("ev",), status=False)
NAMESPACES = Resource("", "v1", "namespaces", "Namespace", namespaced=False, short=("ns",))
REPLICATION_CONTROLLERS = Resource("", "v1", "replicationcontrollers", "ReplicationController", short=("rc",), all=True)
DEPLOYMENTS = Resource("apps", "v1", "deployments", "Deployment", short=("deploy",), all=True)
REPLICA_SETS = Resource("apps", "v1", "replicasets", "ReplicaSet", short=("rs",), all=True)
STATEFUL_SETS = Resource("apps", "v1", "statefulsets", "StatefulSet", short=("sts",), all=True)
DAEMON_SETS = Resource("apps", "v1", "daemonsets", "DaemonSet", short=("ds",), all=True)
JOBS = Resource("batch", "v1", "jobs", "Job", all=True)
BUDGETS = Resource("policy", "v1", "poddisruptionbudgets", "PodDisruptionBudget", short=("pdb",))
VOLUME_ATTACHMENTS = Resource("storage.k8s.io", "v1", "volumeattachments", "VolumeAttachment", namespaced=False)
VOLUME_CLAIMS = Resource("", "v1", "persistentvolumeclaims", "PersistentVolumeClaim", short=("pvc",))
NETWORK_POLICIES = Resource(
    "networking.k8s.io", "v1", "networkpolicies", "NetworkPolicy", short=("netpol",), status=False
)
CONFIG_MAPS = Resource("", "v1", "configmaps", "ConfigMap", short=("cm",), status=False)
SECRETS = Resource("", "v1", "secrets", "Secret", status=False)
SERVICE_ACCOUNTS = Resource("", "v1", "serviceaccounts", "ServiceAccount", short=("sa",), status=False)
LEASES = Resource("coordination.k8s.io", "v1", "leases", "Lease", status=False)
_RBAC = "rbac.authorization.k8s.io"
CLUSTER_ROLES = Resource(_RBAC, "v1", "clusterroles", "ClusterRole", namespaced=False, status=False)
BINDINGS = Resource(_RBAC, "v1", "clusterrolebindings", "ClusterRoleBinding", namespaced=False, status=False)
PRIORITIES = Resource(
    "scheduling.k8s.io", "v1", "priorityclasses", "PriorityClass", namespaced=False, short=("pc",), status=False
)
POLICIES = Resource(
    "admissionregistration.k8s.io", "v1", "validatingadmissionpolicies", "ValidatingAdmissionPolicy", namespaced=False
)
POLICY_BINDINGS = Resource(
    "admissionregistration.k8s.io", "v1", "validatingadmissionpolicybindings", "ValidatingAdmissionPolicyBinding",
    namespaced=False, status=False,
)  # fmt: skip
METRICS = tuple(
    Resource("metrics.k8s.io", version, plural, kind, namespaced, verbs=("get", "list"), status=False)
    for version in ("v1", "v1beta1")
    for plural, kind, namespaced in (("nodes", "NodeMetrics", False), ("pods", "PodMetrics", True))
)
SELF_REVIEWS = Resource(
    "authorization.k8s.io", "v1", "selfsubjectaccessreviews", "SelfSubjectAccessReview",
    namespaced=False, verbs=("create",), status=False,
)  # fmt: skip
REVIEWS = Resource(
    "authorization.k8s.io", "v1", "subjectaccessreviews", "SubjectAccessReview",
    namespaced=False, verbs=("create",), status=False,
)  # fmt: skip

STORED = (
    NODES, PODS, EVENTS, NAMESPACES, REPLICATION_CONTROLLERS, DEPLOYMENTS, REPLICA_SETS, STATEFUL_SETS,
    DAEMON_SETS, JOBS, BUDGETS, VOLUME_ATTACHMENTS, VOLUME_CLAIMS,
    NETWORK_POLICIES, CONFIG_MAPS, SECRETS, SERVICE_ACCOUNTS, LEASES, CLUSTER_ROLES, BINDINGS, PRIORITIES,
    POLICIES, POLICY_BINDINGS,
)  # fmt: skip
RESOURCES = (*STORED, *METRICS, SELF_REVIEWS, REVIEWS)

_BY_PATH = {(r.group, r.version, r.plural): r for r in RESOURCES}


def find(group: str, version: str, plural: str) -> Resource | None:
    return _BY_PATH.get((group, version, plural))
