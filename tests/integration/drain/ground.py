"""Where tasks are tried: two nodes and a namespace of a cluster, real or simulated, through its API alone."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import yaml

from shared.basics.errors import AgentError
from shared.kube.connection import Kube
from shared.kube.errors import NotFound
from tests.hollow.nodes import hollow_nodes
from tests.integration.drain import objects
from tests.integration.drain.objects import MARK, RUN, Object
from tests.sim.agent import ROOT
from tests.sim.kube.access import grants_from
from tests.sim.kube.cluster import Cluster
from tests.sim.kube.status import ApiError

COLLECTIONS = {
    "Pod": "/api/v1/namespaces/{}/pods",
    "PersistentVolumeClaim": "/api/v1/namespaces/{}/persistentvolumeclaims",
    "ReplicaSet": "/apis/apps/v1/namespaces/{}/replicasets",
    "StatefulSet": "/apis/apps/v1/namespaces/{}/statefulsets",
    "DaemonSet": "/apis/apps/v1/namespaces/{}/daemonsets",
    "Job": "/apis/batch/v1/namespaces/{}/jobs",
    "PodDisruptionBudget": "/apis/policy/v1/namespaces/{}/poddisruptionbudgets",
    "VolumeAttachment": "/apis/storage.k8s.io/v1/volumeattachments",
    "Namespace": "/api/v1/namespaces",
    "Node": "/api/v1/nodes",
    "ValidatingAdmissionPolicy": "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies",
    "ValidatingAdmissionPolicyBinding": "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings",
    "ServiceAccount": "/api/v1/namespaces/{}/serviceaccounts",
    "ClusterRole": "/apis/rbac.authorization.k8s.io/v1/clusterroles",
    "ClusterRoleBinding": "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
}

EVERYTHING = ("forced-delete", "kubernetes-events", "pod-labels", "volume-wait")
"""The bundle's components that grant something."""


def granted(components: Iterable[str]) -> list[Object]:
    """The rules of the agent's ClusterRole with these components of the bundle."""
    documents = yaml.safe_load_all((ROOT / "k8s" / "base" / "rbac.yaml").read_text())
    rules: list[Object] = next(d["rules"] for d in documents if d["kind"] == "ClusterRole")
    for name in components:
        patches = yaml.safe_load((ROOT / "k8s" / "components" / name / "rules.yaml").read_text())
        rules += [patch["value"] for patch in patches]
    return rules


class Agents(Protocol):
    """Makes the agent's account."""

    def kubeconfig(self, rules: list[Object]) -> Path:
        """A kubeconfig of an account that may do what ``rules`` grant and nothing more."""


class Ground:
    """One test's place in the cluster."""

    def __init__(self, kube: Kube, agents: Agents, victim: str, haven: str, cluster: Cluster | None) -> None:
        self.kube = kube
        """The API as the administrator sees it."""
        self.victim, self.haven = victim, haven
        """The node that is drained, and the one where its pods may go."""
        self.namespace = f"drain-{uuid.uuid4().hex[:8]}"
        self._agents = agents
        self._cluster = cluster
        self._elsewhere: list[tuple[str, str]] = []

    @property
    def cluster(self) -> Cluster:
        """The simulator, for what only it can do."""
        assert self._cluster is not None, "mark the test with pytest.mark.simulator"
        return self._cluster

    def kubeconfig(self, *components: str, without: Callable[[Object], bool] = lambda rule: False) -> Path:
        """The agent's kubeconfig with the bundle's base, some components, and ``without`` some rules."""
        return self._agents.kubeconfig([rule for rule in granted(components) if not without(rule)])

    def kubeconfig_of(self, *rules: Object) -> Path:
        """The agent's kubeconfig where it is granted just these rules."""
        return self._agents.kubeconfig([*rules])

    # -- the API, in short ------------------------------------------------------------------------

    def get(self, path: str) -> Any:
        return json.loads(self.kube.get(path))

    def apply(self, obj: Object, namespace: str | None = None) -> Object:
        path = COLLECTIONS[obj["kind"]].format(namespace or self.namespace)
        made: Object = json.loads(self.kube.call("POST", path, None, obj))
        if "{}" not in COLLECTIONS[obj["kind"]]:
            self._elsewhere.append((obj["kind"], obj["metadata"]["name"]))
        return made

    def remove(self, kind: str, name: str, namespace: str | None = None, **options: Any) -> None:
        path = COLLECTIONS[kind].format(namespace or self.namespace)
        try:
            self.kube.call("DELETE", f"{path}/{name}", None, options or None)
        except NotFound:
            pass  # Then it is as wanted.

    def patch(self, path: str, patch: Object) -> Object:
        body: Object = json.loads(self.kube.call("PATCH", path, None, patch, "application/merge-patch+json"))
        return body

    # -- what a test sets up ----------------------------------------------------------------------

    def add_namespace(self, name: str) -> str:
        """Another namespace, in which pods can be made."""
        self.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
        self.wait_for(lambda: self.found(f"/api/v1/namespaces/{name}/serviceaccounts/default"))
        return name

    def add_node(self, name: str) -> str:
        """A node that has just registered: without a kubelet, a provider's identity, or pods."""
        taints = [{"key": MARK, "value": RUN, "effect": "NoSchedule"}]
        metadata = {"name": name, "labels": {MARK: f"{RUN}-young"}}
        self.apply({"apiVersion": "v1", "kind": "Node", "metadata": metadata, "spec": {"taints": taints}})
        return name

    def replicas(self, name: str, count: int = 1, kind: str = "ReplicaSet", **options: Any) -> list[Object]:
        """A ReplicaSet or StatefulSet whose pods are all on the victim; they, once they run."""
        was = self.node(self.haven)["spec"].get("unschedulable", False)
        self.cordon(self.haven)
        try:
            self.apply(objects.workload(kind, name, count, objects.template(name, **options)))
            self.wait_for(lambda: self._run(name, count, options))
        finally:
            if not was:
                self.uncordon(self.haven)
        return self.pods(app=name)

    def daemons(self, name: str, **options: Any) -> Object:
        """A DaemonSet; its pod on the victim."""
        self.apply(objects.workload("DaemonSet", name, None, objects.template(name, **options)))
        self.wait_for(lambda: self._run(name, 2, options))
        return next(pod for pod in self.pods(app=name) if pod["spec"]["nodeName"] == self.victim)

    def bare(
        self,
        name: str,
        node: str | None = None,
        namespace: str | None = None,
        owner: Object | None = None,
        wait: bool = True,
        **options: Any,
    ) -> Object:
        """A pod without a controller (or with one that does not know of it), on the victim."""
        pod = {"apiVersion": "v1", "kind": "Pod", **objects.template(options.pop("app", name), **options)}
        pod["metadata"] |= {"name": name, **({"ownerReferences": [owner]} if owner else {})}
        pod["spec"]["nodeName"] = node or self.victim
        self.apply(pod, namespace)
        if wait:
            self.wait_for(lambda: _as_wanted(self.pod(name, namespace), options))
        made = self.pod(name, namespace)
        assert made is not None
        return made

    def budget(self, name: str, app: str, **spec: Any) -> None:
        """A disruption budget, once the controller knows it."""
        self.apply(objects.budget(name, app, **spec))
        path = f"/apis/policy/v1/namespaces/{self.namespace}/poddisruptionbudgets/{name}"
        self.wait_for(lambda: self.get(path).get("status", {}).get("expectedPods", 0) > 0)

    def cordon(self, node: str) -> None:
        self.patch(f"/api/v1/nodes/{node}", {"spec": {"unschedulable": True}})

    def uncordon(self, node: str) -> None:
        self.patch(f"/api/v1/nodes/{node}", {"spec": {"unschedulable": None}})

    def deny_evictions(self, message: str) -> None:
        """An admission policy of the cluster that denies the evictions of this namespace."""
        if self._cluster is not None:
            self._cluster.deny_by_policy(self.namespace, message, subresource="eviction")
            return
        for policy in objects.policy(self.namespace, self.namespace, message):
            self.apply(policy)
        pod = self.bare("probe", node=self.haven)
        options = {"deleteOptions": {"dryRun": ["All"]}}
        body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "probe"}, **options}
        path = f"{self.pod_path(pod['metadata']['name'])}/eviction"
        self.wait_for(lambda: self.kube.exchange("POST", path, None, body).status >= 400)

    def allow_evictions(self) -> None:
        """Take that back."""
        if self._cluster is not None:
            self._cluster.clear_faults()
            return
        self.remove("ValidatingAdmissionPolicyBinding", self.namespace)

    @contextmanager
    def denied_node_updates(self, message: str) -> Iterator[None]:
        """An admission policy that lets the agent change nothing of the victim."""
        name = f"{self.namespace}-nodes"
        policy, binding = objects.node_policy(name, self.victim, message)
        if self._cluster is not None:
            said = f"ValidatingAdmissionPolicy '{name}' with binding '{name}' denied request: {message}"
            about = {"name": self.victim, "kind": "nodes", "causes": [{"message": said}]}
            denial = ApiError(422, "Invalid", f'nodes "{self.victim}" is forbidden: {said}', about).body()
            fault = self._cluster.fail(verb="patch", resource="nodes", status=422, body=denial, times=None)
            yield
            self._cluster.api.faults.remove(fault)
            return
        self.apply(policy)
        self.apply(binding)
        try:
            probe = {"metadata": {"annotations": {"drain-tests/probe": "denied"}}}
            path = f"/api/v1/nodes/{self.victim}"
            agent = Kube(str(self.kubeconfig(*EVERYTHING)), "drain-tests")
            kind = "application/merge-patch+json"
            self.wait_for(lambda: agent.exchange("PATCH", path, {"dryRun": "All"}, probe, kind).status >= 400)
            yield
        finally:
            self.remove("ValidatingAdmissionPolicyBinding", name)

    def release(self, name: str) -> None:
        """Take the finalizers off a pod."""
        try:
            self.patch(self.pod_path(name), {"metadata": {"finalizers": None}})
        except NotFound:
            pass  # It was the last thing that kept it.

    # -- what a test looks at ---------------------------------------------------------------------

    def node(self, name: str | None = None) -> Object:
        found: Object = self.get(f"/api/v1/nodes/{name or self.victim}")
        return found

    @property
    def is_cordoned(self) -> bool:
        return bool(self.node()["spec"].get("unschedulable"))

    def pod_path(self, name: str, namespace: str | None = None) -> str:
        return f"{COLLECTIONS['Pod'].format(namespace or self.namespace)}/{name}"

    def pod(self, name: str, namespace: str | None = None) -> Object | None:
        found: Object | None = self.found(self.pod_path(name, namespace))
        return found

    def lives(self, name: str, namespace: str | None = None) -> bool:
        """Whether the pod is there and has not ended: a kubelet says the end some moments before the object goes."""
        pod = self.pod(name, namespace)
        return pod is not None and not _is_over(pod)

    def pods(self, app: str | None = None, node: str | None = None) -> list[Object]:
        """The pods that have not ended."""
        items = self.get(COLLECTIONS["Pod"].format(self.namespace))["items"]
        return [
            pod
            for pod in items
            if app in (None, pod["metadata"]["labels"].get("app"))
            and node in (None, pod["spec"].get("nodeName"))
            and not _is_over(pod)
        ]

    def staying(self, *pods: Object) -> list[str]:
        """The names of ``pods`` and of strangers on the victim, as an account lists who stays: a real cluster may have
        DaemonSets that tolerate everything."""
        ours = [self.namespace, *(name for kind, name in self._elsewhere if kind == "Namespace")]
        listed = self.get(f"/api/v1/pods?fieldSelector=spec.nodeName%3D{self.victim}")["items"]
        strangers = [pod for pod in listed if pod["metadata"]["namespace"] not in ours]
        return sorted(f"{p['metadata']['namespace']}/{p['metadata']['name']}" for p in [*pods, *strangers])

    def found(self, path: str) -> Any:
        try:
            return self.get(path)
        except NotFound:
            return None

    def wait_for(self, condition: Callable[[], Any], timeout: float = 60.0) -> Any:
        """What ``condition()`` says once it is true."""
        deadline = time.monotonic() + timeout
        while not (found := condition()):
            assert time.monotonic() < deadline, "it did not happen in time"
            time.sleep(0.02)
        return found

    def _run(self, app: str, count: int, options: Object) -> bool:
        pods = self.pods(app=app)
        return len(pods) == count and all(_as_wanted(pod, options) for pod in pods)

    # -- before and after -------------------------------------------------------------------------

    @contextmanager
    def prepared(self) -> Iterator[Ground]:
        for node in (self.victim, self.haven):
            self.uncordon(node)
        self.add_namespace(self.namespace)
        try:
            yield self
        finally:
            if self._cluster is None:
                self._clean()

    def _clean(self) -> None:
        """Leave nothing behind on a cluster that lives on."""
        namespaces = [name for kind, name in self._elsewhere if kind == "Namespace"]
        for namespace in namespaces:
            for kind in ("ReplicaSet", "StatefulSet", "DaemonSet", "PodDisruptionBudget", "Pod"):
                self.kube.call("DELETE", COLLECTIONS[kind].format(namespace), None, {"gracePeriodSeconds": 0})
            for pod in self.get(COLLECTIONS["Pod"].format(namespace))["items"]:
                if pod["metadata"].get("finalizers"):
                    self.patch(self.pod_path(pod["metadata"]["name"], namespace), {"metadata": {"finalizers": None}})
        for kind, name in reversed(self._elsewhere):
            self.remove(kind, name)
        for namespace in namespaces:
            path = COLLECTIONS["Pod"].format(namespace)
            self.wait_for(lambda: not self.get(path)["items"])  # noqa: B023 - called at once
        for node in (self.victim, self.haven):
            self.uncordon(node)


def _is_over(pod: Object) -> bool:
    return pod["status"].get("phase") in ("Succeeded", "Failed")


def _as_wanted(pod: Object | None, options: Object) -> bool:
    """Whether a pod is as far as its options let it come."""
    if pod is None or not pod["spec"].get("nodeName"):
        return False
    if options.get("pending"):
        return True
    conditions = {c["type"]: c["status"] for c in pod["status"].get("conditions") or ()}
    ready = conditions.get("Ready") == "True"
    return pod["status"].get("phase") == "Running" and ready is options.get("ready", True)


# -- the two kinds of clusters ----------------------------------------------------------------------


class SimulatedAgents:
    """The simulator has one account for the agent, whose grants can be exchanged."""

    def __init__(self, cluster: Cluster, folder: Path) -> None:
        self._cluster = cluster
        self._folder = folder

    def kubeconfig(self, rules: list[Object]) -> Path:
        role = {"kind": "ClusterRole", "metadata": {"name": "cloudoptim-agent"}, "rules": rules}
        self._cluster.access.grants = grants_from([role])
        return self._cluster.write_kubeconfig(self._folder / "agent.kubeconfig")


@contextmanager
def simulated(folder: Path) -> Iterator[Ground]:
    """A new simulator with the two nodes."""
    rbac = [ROOT / "k8s" / "base" / "rbac.yaml"]
    with Cluster(nodes=0, rbac=rbac, start_seconds=0.02, termination_seconds=0.05) as cluster:
        for name in ("node-1", "node-2"):
            cluster.add_node(name, labels={MARK: RUN}, taints=[_TAINT])
        kube = Kube(str(cluster.write_kubeconfig(folder / "admin.kubeconfig", token="admin")), "drain-tests")
        with Ground(kube, SimulatedAgents(cluster, folder), "node-1", "node-2", cluster).prepared() as ground:
            yield ground


class RealAgents:
    """A service account for each set of rules, kept until the end."""

    def __init__(self, kube: Kube, admin: Path, folder: Path) -> None:
        self._kube = kube
        self._admin = admin
        self._folder = folder
        self._made: dict[str, Path] = {}
        self._namespace = f"drain-agents-{uuid.uuid4().hex[:6]}"
        self._post("Namespace", {"metadata": {"name": self._namespace}})

    def kubeconfig(self, rules: list[Object]) -> Path:
        key = json.dumps(rules)
        if key not in self._made:
            self._made[key] = self._make(rules)
        return self._made[key]

    def _make(self, rules: list[Object]) -> Path:
        name = f"{self._namespace}-{len(self._made)}"
        api_group = "rbac.authorization.k8s.io"
        self._post("ServiceAccount", {"metadata": {"name": name}})
        self._post("ClusterRole", {"metadata": {"name": name}, "rules": rules})
        role = {"apiGroup": api_group, "kind": "ClusterRole", "name": name}
        subject = {"kind": "ServiceAccount", "name": name, "namespace": self._namespace}
        self._post("ClusterRoleBinding", {"metadata": {"name": name}, "roleRef": role, "subjects": [subject]})
        account = f"{COLLECTIONS['ServiceAccount'].format(self._namespace)}/{name}/token"
        token = json.loads(self._kube.call("POST", account, None, {"spec": {}}))["status"]["token"]
        config = yaml.safe_load(self._admin.read_text())
        config["users"] = [{"name": user["name"], "user": {"token": token}} for user in config["users"]]
        path = self._folder / f"{name}.kubeconfig"
        path.write_text(yaml.safe_dump(config))
        self._await_grant(Kube(str(path), "drain-tests"))
        return path

    def _await_grant(self, kube: Kube) -> None:
        """The API server learns of a binding by watch."""
        while True:
            try:
                kube.get("/apis/apps/v1/deployments", {"limit": 1})  # what no test takes away
                return
            except AgentError:
                time.sleep(0.05)

    def _post(self, kind: str, obj: Object) -> None:
        self._kube.call("POST", COLLECTIONS[kind].format(self._namespace), None, obj)

    def close(self) -> None:
        for number in range(len(self._made)):
            for kind in ("ClusterRoleBinding", "ClusterRole"):
                self._kube.call("DELETE", f"{COLLECTIONS[kind]}/{self._namespace}-{number}")
        self._kube.call("DELETE", f"{COLLECTIONS['Namespace']}/{self._namespace}")


class RealCluster:
    """A cluster that was there before, and two hollow nodes of our own in it while the tests run."""

    def __init__(self, admin: Path, folder: Path) -> None:
        self.kube = Kube(str(admin), "drain-tests", connections=16)
        self.nodes = [f"{MARK}-{RUN}-{number}" for number in (1, 2)]
        self.agents = RealAgents(self.kube, admin, folder)

    @contextmanager
    def prepared(self) -> Iterator[RealCluster]:
        with hollow_nodes(self.kube, self.nodes, {MARK: RUN}, [_TAINT]):
            try:
                yield self
            finally:
                self.agents.close()

    @contextmanager
    def ground(self) -> Iterator[Ground]:
        victim, haven = self.nodes
        with Ground(self.kube, self.agents, victim, haven, None).prepared() as ground:
            yield ground


_TAINT = {"key": MARK, "value": RUN, "effect": "NoSchedule"}
"""Keeps all pods but ours off the nodes, and those that tolerate everything."""
