"""A small cluster in this process: the simulator's API without sockets, by a clock that jumps to the next event."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlencode

from shared.kube.connection import JSON, Answer, Hangup, Kube
from shared.kube.errors import KubeUnavailable, Unauthorized
from tests.sim.kube import objects
from tests.sim.kube.access import EVERYTHING, Access
from tests.sim.kube.resources import BUDGETS, NAMESPACES, NODES, PODS, Object
from tests.sim.kube.server import Api
from tests.sim.kube.store import Store
from tests.sim.kube.usage import Usage
from tests.sim.kube.wire import Request
from tests.truth.answers import READS, WRITES
from tests.unit.conftest import FakeClock

NODE, HAVEN, NAMESPACE, OWNER = "node-1", "node-2", "shop", "uid-of-the-set"

_ENDING_SECONDS = 3.0
"""From a deletionTimestamp to the pod's end."""

_STARTING_SECONDS = 2.0
"""From a pod's end to its Ready replacement."""

_TROUBLED = 12
"""Requests among which something may go wrong; after that the task is left alone, so that most come to an end."""


class World:
    """Nodes, pods, a budget; a controller that replaces pods; and mishaps by chance."""

    def __init__(self, rng: random.Random, clock: FakeClock, trouble: float) -> None:
        self.rng = rng
        self.clock = clock
        self._trouble = trouble
        self._asked = 0
        self.store = Store(1000)
        self.api = Api(self.store, Access({}, [EVERYTHING]), Usage(self.store))
        self._ends: dict[str, float] = {}
        self._starts: list[tuple[float, str]] = []
        self._number = 0
        for name in (NAMESPACE, "kube-system"):
            self.store.put(NAMESPACES, {"metadata": objects.identity(name), "status": {"phase": "Active"}})
        for name in (NODE, HAVEN):
            self.store.put(NODES, objects.node(name))
        if rng.random() < 0.2:
            self.node(NODE)["spec"].pop("providerID", None)
            self.put_node(NODE, self.node(NODE))
        self.first_node_uid = self.uid_of_node()
        self.first_machine = self.node(NODE)["spec"].get("providerID")
        self.pods = [self.add_pod(NODE) for _ in range(rng.randint(1, 3))]
        self.add_pod(HAVEN)
        if rng.random() < 0.4:
            self._add_budget(rng.choice([0, 1]))

    # -- its state ------------------------------------------------------------------------------------

    def node(self, name: str) -> Object:
        stored = self.store.get(NODES, None, name)
        return json.loads(json.dumps(stored.object)) if stored else {}

    def put_node(self, name: str, node: Object) -> None:
        self.store.put(NODES, node)

    def uid_of_node(self) -> str:
        return str(self.node(NODE).get("metadata", {}).get("uid", ""))

    def pod(self, name: str) -> Object:
        stored = self.store.get(PODS, NAMESPACE, name)
        return stored.object if stored else {}

    def add_pod(self, node: str, name: str = "") -> Object:
        """A running pod of the one controller there is."""
        self._number += 1
        name = name or f"web-{self._number}"
        owner = {"apiVersion": "example.com/v1", "kind": "Set", "name": "web", "uid": OWNER, "controller": True}
        metadata = objects.identity(name, NAMESPACE, labels={"app": "web"}, ownerReferences=[owner])
        metadata["creationTimestamp"] = "2020-01-01T00:00:00Z"
        status = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
        spec = {"nodeName": node, "containers": [{"name": "c", "image": "pause"}], "terminationGracePeriodSeconds": 30}
        return self.store.put(PODS, {"metadata": metadata, "spec": spec, "status": status}).object

    def first_uid(self, name: str) -> str:
        """UID of the pod that had this name at the beginning."""
        return next(str(pod["metadata"]["uid"]) for pod in self.pods if pod["metadata"]["name"] == name)

    def every_pod(self) -> list[Object]:
        return [stored.object for stored in self.store.all(PODS, NAMESPACE)]

    def running_on(self, node: str) -> list[Object]:
        """Pods of the namespace on ``node`` that have not ended."""
        return [
            stored.object
            for stored in self.store.all(PODS, NAMESPACE)
            if stored.object["spec"].get("nodeName") == node
            and stored.object["status"].get("phase") not in ("Succeeded", "Failed")
        ]

    def _add_budget(self, allowed: int) -> None:
        spec = {"minAvailable": 1, "selector": {"matchLabels": {"app": "web"}}}
        status = {"disruptionsAllowed": allowed, "currentHealthy": 3, "desiredHealthy": 1, "expectedPods": 3}
        metadata = {**objects.identity("guard", NAMESPACE), "generation": 1}
        self.store.put(BUDGETS, {"metadata": metadata, "spec": spec, "status": {**status, "observedGeneration": 1}})

    # -- time -----------------------------------------------------------------------------------------

    def pass_time(self, until: float) -> None:
        """Let time pass: what terminates ends, what ended is replaced, budgets recover."""
        self.clock.advance(max(0.0, until - self.clock.monotonic()) + 1e-6)
        now = self.clock.monotonic()
        for stored in self.store.all(PODS, NAMESPACE):
            if "deletionTimestamp" in stored.object["metadata"]:
                end = self._ends.setdefault(stored.object["metadata"]["uid"], now + _ENDING_SECONDS)
                if now >= end:
                    self.store.remove(stored)
                    self._starts.append((now + _STARTING_SECONDS, stored.object["metadata"]["name"]))
        for moment, name in [start for start in self._starts if start[0] <= now]:
            self._starts.remove((moment, name))
            free = [one for one in (HAVEN, NODE) if self.node(one) and not self.node(one)["spec"].get("unschedulable")]
            if free:
                self.add_pod(self.rng.choice(free))
        budget = self.store.get(BUDGETS, NAMESPACE, "guard")
        if budget is not None and budget.object["status"]["disruptionsAllowed"] == 0 and self.rng.random() < 0.3:
            self.store.put(BUDGETS, {**budget.object, "status": {**budget.object["status"], "disruptionsAllowed": 1}})

    # -- mishaps --------------------------------------------------------------------------------------

    def answer(self, method: str, path: str, query: Mapping[str, Any], body: Any, kind: str) -> Answer:
        """The answer to a request; or another one, where there is trouble."""
        self._asked += 1
        if self._asked > _TROUBLED or self.rng.random() >= self._trouble:
            return self._really(method, path, query, body, kind)
        what = self.rng.random()
        if what < 0.55:
            odd = self.rng.choice(READS if method == "GET" else WRITES)(self.rng, method, path)
            if odd.status == 401:
                raise Unauthorized("401")
            return odd
        if what < 0.7:
            self._really(method, path, query, body, kind)
            if self.rng.random() < 0.5:
                raise KubeUnavailable("the answer was lost")
            return Answer(502, {}, b"<html>bad gateway")
        if what < 0.8 and path.endswith("/eviction"):
            options = {**body.get("deleteOptions", {}), "dryRun": ["All"]}
            return self._really(method, path, query, {**body, "deleteOptions": options}, kind)
        self._happens()
        return self._really(method, path, query, body, kind)

    def _happens(self) -> None:
        """Somebody else does something."""
        pods = self.running_on(NODE)
        what = self.rng.randrange(6)
        if what == 0 and pods:
            pod = self.rng.choice(pods)
            self.store.put(PODS, {**pod, "status": {**pod["status"], "phase": "Succeeded"}})
        elif what == 1 and pods:  # It is deleted, and another one of its name is there.
            pod = self.rng.choice(pods)
            stored = self.store.get(PODS, NAMESPACE, pod["metadata"]["name"])
            assert stored is not None
            self.store.remove(stored)
            self.add_pod(NODE, pod["metadata"]["name"])
        elif what == 2 and (budget := self.store.get(BUDGETS, NAMESPACE, "guard")):
            self.store.remove(budget)
        elif what == 3 and (node := self.node(NODE)):
            node["spec"].pop("unschedulable", None)
            self.put_node(NODE, node)
        elif what == 4 and not self.node(NODE).get("spec", {}).get("unschedulable"):
            self.add_pod(NODE)
        elif what == 5 and (stored := self.store.get(NODES, None, NODE)):
            self.store.remove(stored)
            for pod in pods:
                there = self.store.get(PODS, NAMESPACE, pod["metadata"]["name"])
                if there is not None:
                    self.store.remove(there)
            if self.rng.random() < 0.5:
                made = objects.node(NODE)
                if self.rng.random() < 0.5:  # Another machine; else the kubelet of this one registered it anew.
                    made["spec"]["providerID"] = "aws:///zone/i-2"
                elif machine := stored.object["spec"].get("providerID"):
                    made["spec"]["providerID"] = machine
                self.store.put(NODES, made)
                self.add_pod(NODE)

    def _really(self, method: str, path: str, query: Mapping[str, Any], body: Any, kind: str) -> Answer:
        content = b"" if body is None else json.dumps(body).encode()
        asked = {key: str(value) for key, value in query.items()}
        response = self.api.handle(Request(method, path, asked, {"content-type": kind}, content))
        return Answer(response.status, response.headers, response.body)


class WorldKube(Kube):
    """A connection to the world."""

    def __init__(self, world: World) -> None:
        super().__init__(None, "truth", clock=world.clock)
        self._world = world

    def exchange(
        self,
        method: str,
        path: str,
        query: Mapping[str, Any] | None = None,
        body: Any = None,
        content_type: str = JSON,
    ) -> Answer:
        return self._remembered(method, path, self._world.answer(method, path, query or {}, body, content_type))

    def lines(
        self, path: str, query: Mapping[str, Any], silence: float, hangup: Hangup | None = None
    ) -> Iterator[list[bytes]]:
        raise KubeUnavailable(f"no watches here: {path}?{urlencode(query)}")


@contextmanager
def seeded(seed: int) -> Iterator[random.Random]:
    """Chance that can be had again; the simulator draws from the module's."""
    state = random.getstate()
    random.seed(seed)
    try:
        yield random.Random(seed)
    finally:
        random.setstate(state)
