"""A hollow cluster for tests: an API server, its controllers and kubelets, and ways to make things happen."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from tests.sim.kube import discovery, kinds, mishaps, objects, pods, workloads
from tests.sim.kube.access import ADMIN, AGENT, EVERYTHING, Access, Ask, grants_from, load_documents
from tests.sim.kube.admission import denied_by_policy
from tests.sim.kube.audit import Audit
from tests.sim.kube.clockwork import Clockwork
from tests.sim.kube.control import Control
from tests.sim.kube.controllers import Workloads
from tests.sim.kube.credentials import kubeconfig, serving_context
from tests.sim.kube.disruption import Disruption
from tests.sim.kube.faults import Fault
from tests.sim.kube.garbage import GarbageCollector
from tests.sim.kube.kubelet import Kubelets
from tests.sim.kube.namespaces import HOLD, Namespaces, default_account
from tests.sim.kube.nodes import NodeLifecycle, set_condition, taint
from tests.sim.kube.recorder import Recorder
from tests.sim.kube.resources import (
    BUDGETS,
    DAEMON_SETS,
    DEPLOYMENTS,
    EVENTS,
    NAMESPACES,
    NODES,
    PODS,
    REPLICA_SETS,
    STATEFUL_SETS,
    VOLUME_ATTACHMENTS,
    Object,
    Resource,
)
from tests.sim.kube.scheduler import Scheduler, runs_daemon
from tests.sim.kube.server import Api
from tests.sim.kube.settling import settled
from tests.sim.kube.status import ApiError, success
from tests.sim.kube.store import Store, Stored
from tests.sim.kube.usage import Usage
from tests.sim.kube.wire import HttpServer
from tests.sim.kube.writes import change, free_name

_NAMESPACES = ("default", "kube-node-lease", "kube-public", "kube-system")


class Cluster:
    """``with Cluster(nodes=3) as cluster:`` serves at ``cluster.url`` until the block ends."""

    def __init__(
        self,
        nodes: int = 3,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        tls: Path | None = None,
        tokens: Mapping[str, str] | None = None,
        rbac: Iterable[str | Path | Object] = (),
        controllers: bool = True,
        start_seconds: float = 0.2,
        termination_seconds: float = 0.3,
        bookmark_interval: float = 60.0,
        history: int = 10_000,
        minor: int = discovery.NEWEST,
    ) -> None:
        """``minor`` is the version it answers as, 30 at the oldest.

        ``tokens`` maps bearer tokens to users; ``rbac`` holds the roles of the agent, without which it may all.

        With neither, everyone is the administrator. With either, the token ``admin`` is.
        """
        self.store = Store(history)
        roles = load_documents(rbac)
        self.access = Access(dict(tokens or {}), grants_from(roles) if roles else [EVERYTHING])
        self.agent_token = next((token for token, user in self.access.tokens.items() if user == AGENT), None)
        if tokens or roles:
            self.access.tokens.setdefault("admin", ADMIN)
            if self.agent_token is None:
                self.rotate_token()
        self.usage = Usage(self.store)
        self.api = Api(self.store, self.access, self.usage, bookmark_interval)
        self.api.minor = minor
        self.clockwork = Clockwork(self.store)
        self.recorder = Recorder(self.store, self.clockwork)
        self.scheduler = Scheduler(self.store, self.clockwork, self.recorder)
        self.kubelets = Kubelets(self.store, self.clockwork, start_seconds, termination_seconds)
        self.workloads = Workloads(self.store, self.clockwork)
        self.disruption = Disruption(self.store, self.clockwork, self.workloads.scale_of)
        self.lifecycle = NodeLifecycle(self.store, self.clockwork, self.kubelets, self.recorder)
        if controllers:
            self.clockwork.controllers += [self.workloads, self.scheduler, self.kubelets, self.disruption]
            self.clockwork.controllers += [self.lifecycle, Namespaces(self.store), GarbageCollector(self.store)]
        self._authority = tls / "ca.crt" if tls else None
        self._http = HttpServer(self.api.handle, host, port, tls=serving_context(tls) if tls else None)
        self.api.control = Control(self)
        for name in _NAMESPACES:
            self.add_namespace(name)
        for number in range(1, nodes + 1):
            self.add_node(f"node-{number}")

    def __enter__(self) -> Cluster:
        self.clockwork.start()
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        self.clockwork.stop()

    # The API server as a process

    @property
    def url(self) -> str:
        return self._http.url

    @property
    def audit(self) -> Audit:
        return self.api.audit

    def start(self) -> None:
        self._http.start()
        self.api.address = f"{self._http.host}:{self._http.port}"

    def stop(self) -> None:
        """Stop serving and cut all connections; the cluster itself lives on."""
        self._http.stop()
        self.drop_watches()

    def restart(self, seconds: float = 0.0, forget: bool = False) -> None:
        """Down for ``seconds``, up on the same port; ``forget`` also compacts the history."""
        self.stop()
        if forget:
            self.compact()
        time.sleep(seconds)
        self.start()

    def drop_connections(self) -> None:
        self._http.cut_connections()
        self.drop_watches()

    def drop_watches(self) -> None:
        """Cut every open watch in mid-stream."""
        for subscription in self.store.subscriptions():
            subscription.queue.put(None)

    def freeze_watches(self) -> None:
        """Open watches stay open but silent, as over half-open TCP; new ones work."""
        for subscription in self.store.subscriptions():
            subscription.frozen = True

    def compact(self) -> None:
        self.store.compact()

    def write_kubeconfig(self, path: str | Path, token: str | None = None) -> Path:
        """A kubeconfig for ``token``, by default the agent's."""
        Path(path).write_text(kubeconfig(self.url, token or self.agent_token, self._authority))
        return Path(path)

    def rotate_token(self) -> str:
        """A new token for the agent; the old one is refused from now on."""
        if self.agent_token is not None:
            self.access.tokens.pop(self.agent_token, None)
        self.agent_token = f"agent-{secrets.token_hex(8)}"
        self.access.tokens[self.agent_token] = AGENT
        return self.agent_token

    # Faults

    def fail(self, **fault: Any) -> Fault:
        """Answer matching requests as told: see ``faults.Fault`` for the fields."""
        return self.api.faults.add(**fault)

    def throttle(self, times: int | None = 1, retry_after: int = 1, **match: Any) -> Fault:
        """The API server protects itself: 429, in plain text."""
        headers = {"Retry-After": str(retry_after), "X-Content-Type-Options": "nosniff"}
        body = "Too many requests, please try again later.\n"
        return self.fail(status=429, body=body, headers=headers, times=times, **match)

    def deny(self, webhook: str, message: str, code: int = 403, times: int | None = None, **match: Any) -> Fault:
        """An admission webhook says no. The code is the webhook's own; without one the server uses 400."""
        reason = {403: "Forbidden", 429: "TooManyRequests"}.get(code, "")
        refusal = ApiError(code, reason, f'admission webhook "{webhook}" denied the request: {message}')
        return self.fail(status=code, body=refusal.body(), times=times, **match)

    def deny_evictions(
        self, webhook: str, message: str, code: int = 403, times: int | None = None, **match: Any
    ) -> Fault:
        return self.deny(webhook, message, code, times, subresource="eviction", **match)

    def deny_by_policy(self, policy: str, message: str, times: int | None = None, **match: Any) -> Fault:
        """A ValidatingAdmissionPolicy, bound under its own name, says no."""

        def denial(ask: Ask) -> Object:
            return denied_by_policy(ask.group, ask.resource, ask.name, policy, policy, message).body()

        return self.fail(status=422, body=denial, times=times, **match)

    def make_dry(self, times: int | None = 1, **match: Any) -> Fault:
        """A mutating webhook turns evictions into dry runs: 201, and nothing happens."""
        return self.fail(status=201, body=success(201), times=times, subresource="eviction", **match)

    def meanwhile(self, action: Callable[[], object]) -> None:
        """Do ``action`` once, when an eviction has judged its budget and has not written to it yet."""
        self.api.between.append(action)

    def clear_faults(self) -> None:
        self.api.faults.clear()

    def set_metrics(
        self,
        state: str = "ready",
        missing: Iterable[str] = (),
        versions: tuple[str, ...] = ("v1beta1",),
        lacking: str = "",
    ) -> None:
        """metrics.k8s.io is ``ready``, ``down`` or ``absent``, and serves these ``versions``.

        It knows nothing of the ``missing`` nodes, and of no node or pod the ``lacking`` resource.
        """
        self.usage.state, self.usage.missing = state, set(missing)
        self.usage.versions, self.usage.lacking = versions, lacking

    # What there is

    def add_namespace(self, name: str) -> Object:
        found = self.store.get(NAMESPACES, None, name)
        if found is not None:
            return found.object
        metadata = objects.identity(name, labels={"kubernetes.io/metadata.name": name})
        status = {"phase": "Active"}
        made = self._put(NAMESPACES, {"metadata": metadata, "spec": {"finalizers": ["kubernetes"]}, "status": status})
        default_account(self.store, name)
        return made

    def add_node(self, name: str, **options: Any) -> Object:
        """A Ready node with a hollow kubelet; options as ``objects.node`` takes them."""
        self.kubelets.serve(name)
        return self._put(NODES, objects.node(name, minor=self.api.minor, **options))

    def add_deployment(
        self, namespace: str, name: str, replicas: int = 1, node: str | Iterable[str] | None = None, **options: Any
    ) -> Object:
        """A Deployment whose pods run already, on ``node`` (or spread over several) if given.

        Here and below, ``options`` are those of ``pods.pod_template``.
        """
        with self.store.lock:
            self.add_namespace(namespace)
            template = pods.pod_template(name, **options)
            deployment = self._put(DEPLOYMENTS, workloads.deployment(namespace, name, replicas, template))
            owner = self._put(REPLICA_SETS, workloads.replica_set(deployment))
            self._run(REPLICA_SETS, owner, [None] * replicas, node)
            return deployment

    def add_statefulset(
        self, namespace: str, name: str, replicas: int = 1, node: str | Iterable[str] | None = None, **options: Any
    ) -> Object:
        with self.store.lock:
            self.add_namespace(namespace)
            template = pods.pod_template(name, **options)
            owner = self._put(STATEFUL_SETS, workloads.stateful_set(namespace, name, replicas, template))
            self._run(STATEFUL_SETS, owner, [f"{name}-{ordinal}" for ordinal in range(replicas)], node)
            return owner

    def add_daemonset(self, namespace: str, name: str, **options: Any) -> Object:
        with self.store.lock:
            self.add_namespace(namespace)
            owner = self._put(DAEMON_SETS, workloads.daemon_set(namespace, name, pods.pod_template(name, **options)))
            for node in self.nodes():
                if runs_daemon(node, pods.daemon_template(owner["spec"]["template"])):
                    self._run(DAEMON_SETS, owner, [None], node["metadata"]["name"])
            return owner

    def add_pod(self, namespace: str, name: str, node: str | None = None, **options: Any) -> Object:
        """A bare pod. On a ``node`` it runs at once; without one the scheduler decides."""
        owner = options.pop("owner", None)
        with self.store.lock:
            self.add_namespace(namespace)
            pod = pods.pod(pods.pod_template(options.pop("app", name), **options), namespace, name, owner, node)
            if node is not None:
                pod["status"] = pods.running_status(pod, ready=not options.get("never_ready"))
            return self._put(PODS, pod)

    def add_mirror_pod(self, namespace: str, name: str, node: str) -> Object:
        """A static pod's mirror: owned by its node, no controller brings it back."""
        found = self.node(node)
        assert found is not None
        owner = {**objects.owner_reference(found, "Node", "v1"), "blockOwnerDeletion": False}
        return self.add_pod(namespace, name, node, owner=owner, annotations={"kubernetes.io/config.mirror": "c0ffee"})

    def add_budget(
        self,
        namespace: str,
        name: str,
        selector: Mapping[str, Any],
        min_available: int | str | None = None,
        max_unavailable: int | str | None = None,
        unhealthy_policy: str | None = None,
        stale: bool = False,
    ) -> Object:
        """A budget with its status already right; ``stale`` leaves that to the disruption controller."""
        with self.store.lock:
            self.add_namespace(namespace)
            spec = (selector, min_available, max_unavailable, unhealthy_policy)
            budget = workloads.budget(namespace, name, *spec)
            if not stale:
                self.workloads.learn(self.store.all(REPLICA_SETS, namespace) + self.store.all(STATEFUL_SETS, namespace))
                budget["status"] = self.disruption.status(budget)
            return self._put(BUDGETS, budget)

    def attach_volume(self, node: str, volume: str) -> Object:
        spec = {"attacher": "ebs.csi.aws.com", "nodeName": node, "source": {"persistentVolumeName": volume}}
        metadata = objects.identity(f"csi-{volume}-{node}")
        return self._put(VOLUME_ATTACHMENTS, {"metadata": metadata, "spec": spec, "status": {"attached": True}})

    def detach_volume(self, node: str, volume: str) -> None:
        self._remove(VOLUME_ATTACHMENTS, None, f"csi-{volume}-{node}")

    def node(self, name: str) -> Object | None:
        return self._object(NODES, None, name)

    def nodes(self) -> list[Object]:
        return [stored.object for stored in self.store.all(NODES)]

    def pod(self, namespace: str, name: str) -> Object | None:
        return self._object(PODS, namespace, name)

    def budget(self, namespace: str, name: str) -> Object | None:
        return self._object(BUDGETS, namespace, name)

    def pods(self, node: str | None = None, namespace: str | None = None) -> list[Object]:
        found = self.store.all(PODS, namespace)
        return [stored.object for stored in found if node in (None, stored.object["spec"].get("nodeName"))]

    def events(self, **fields: str) -> list[Object]:
        """Events with these fields, such as ``reason``."""
        found = [stored.object for stored in self.store.all(EVENTS)]
        return [event for event in found if all(event.get(key) == value for key, value in fields.items())]

    def wait_for(self, condition: Callable[[], object], timeout: float = 60.0) -> None:
        """Wait until ``condition()`` is true; TimeoutError if it never is."""
        deadline = time.monotonic() + timeout
        while not condition():
            if time.monotonic() > deadline:
                raise TimeoutError(f"not within {timeout} s")
            time.sleep(0.005)

    def wait_settled(self, timeout: float = 60.0) -> None:
        """Wait until pods run, terminating ones are gone, and budgets and replicas are as they should be."""
        self.wait_for(lambda: settled(self.store, self.clockwork, self.disruption), timeout)

    # What happens

    def node_not_ready(self, name: str, status: str = "Unknown") -> None:
        """The node is lost (``Unknown``) or its kubelet reports trouble (``False``)."""
        self.lifecycle.lose(self._stored(NODES, None, name), status)

    def taint_node(self, name: str, key: str, value: str = "", effect: str = "NoSchedule") -> None:
        taint(self.store, self._stored(NODES, None, name), key, value, effect)

    def set_node_condition(self, name: str, kind: str, message: str, status: str = "True") -> None:
        set_condition(self.store, self._stored(NODES, None, name), kind, status, kind, message)

    def node_ready(self, name: str) -> None:
        self.lifecycle.find(self._stored(NODES, None, name))

    def delete_node(self, name: str) -> None:
        self._remove(NODES, None, name)

    def terminate_namespace(self, name: str, hold: bool = False) -> None:
        """Begin a namespace's deletion; with ``hold`` its pods are left alone."""

        def marked(latest: Object) -> Object:
            metadata = {**latest["metadata"], "deletionTimestamp": kinds.timestamp()}
            if hold:
                metadata["annotations"] = {HOLD: "true"}
            return {**latest, "metadata": metadata, "status": {"phase": "Terminating"}}

        change(self.store, self._stored(NAMESPACES, None, name), marked)

    def oom_kill(self, namespace: str, name: str, container: str = "app", system: bool = False) -> None:
        """Kill a container (init and sidecar containers too) for want of memory; ``system`` tells of it on the node."""
        pod = self._stored(PODS, namespace, name)
        mishaps.oom_kill(self.store, pod, container)
        if system:
            mishaps.system_oom(self.recorder, self._stored(NODES, None, pod.object["spec"]["nodeName"]), container)

    def kubelet_evict(self, namespace: str, name: str, resource: str = "memory") -> None:
        mishaps.kubelet_evict(self.store, self.recorder, self._stored(PODS, namespace, name), resource)

    def fail_scheduling(self, namespace: str, name: str, message: str | None = None) -> None:
        """Report (again) that the scheduler cannot place this pod; makes one asking too much if there is none."""
        if self.pod(namespace, name) is None:
            self.add_pod(namespace, name, cpu="1000")
        if message is not None:
            self.scheduler.report(self._stored(PODS, namespace, name), message)

    def release(self, namespace: str, name: str) -> None:
        """Drop a stuck pod's finalizers, which ends it if it is over."""
        with self.store.lock:
            pod = self._stored(PODS, namespace, name)
            metadata = {key: value for key, value in pod.object["metadata"].items() if key != "finalizers"}
            changed = self.store.put(PODS, {**pod.object, "metadata": metadata})
            if metadata.get("deletionGracePeriodSeconds") == 0:
                self.store.remove(changed)

    def in_background(self, action: Callable[[], None]) -> None:
        threading.Thread(target=action, daemon=True).start()

    # Inside

    def _put(self, resource: Resource, obj: Object) -> Object:
        return self.store.put(resource, obj).object

    def _object(self, resource: Resource, namespace: str | None, name: str) -> Object | None:
        stored = self.store.get(resource, namespace, name)
        return stored.object if stored else None

    def _stored(self, resource: Resource, namespace: str | None, name: str) -> Stored:
        stored = self.store.get(resource, namespace, name)
        if stored is None:
            raise KeyError(f"no such {resource.kind}: {name}")
        return stored

    def _remove(self, resource: Resource, namespace: str | None, name: str) -> None:
        with self.store.lock:
            self.store.remove(self._stored(resource, namespace, name))

    def _run(
        self, kind: Resource, owner: Object, names: Iterable[str | None], node: str | Iterable[str] | None
    ) -> None:
        """Pods of ``owner`` that run already; without a node to go to they are left to the scheduler."""
        template, namespace = owner["spec"]["template"], owner["metadata"]["namespace"]
        template = pods.daemon_template(template) if kind is DAEMON_SETS else template
        reference = objects.owner_reference(owner, kind.kind, kind.api_version)
        never_ready = template["metadata"]["annotations"].get(f"{pods.SIM}/never-ready") == "true"
        places = [node] if isinstance(node, str) else list(node or ())
        for number, name in enumerate(names):
            name = name or free_name(self.store, PODS, namespace, f"{owner['metadata']['name']}-")
            pod = pods.pod(template, namespace, name, reference)
            place = places[number % len(places)] if places else self.scheduler.choose(pod)
            if place is not None:
                pod["spec"] = {**pod["spec"], "nodeName": place}
                pod["status"] = pods.running_status(pod, ready=not never_ready)
            self._put(PODS, pod)
