"""The kubelet of one hollow node: follows its pods and does what is due."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable

from shared.basics.errors import AgentError
from shared.kube.connection import Hangup, Kube
from tests.hollow.timers import Timers
from tests.sim.kube import tending
from tests.sim.kube.pods import running_status
from tests.sim.kube.resources import Object
from tests.sim.kube.tending import Due

STRATEGIC = "application/strategic-merge-patch+json"
START_SECONDS, END_SECONDS = 0.02, 0.05
"""What starting and ending take where a pod does not say."""


class HollowKubelet:
    """From ``start`` to ``stop``. Its errors are those of others being faster, and are passed over."""

    def __init__(self, kube: Kube, node: str, timers: Timers) -> None:
        self._kube, self._node, self._timers = kube, node, timers
        self._planned: dict[str, Due] = {}
        self._hangup = Hangup()
        self._thread = threading.Thread(target=self._follow, name=f"hollow-{node}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._hangup.use()
        self._thread.join()

    def _follow(self) -> None:
        query = {"fieldSelector": f"spec.nodeName={self._node}"}
        while not self._hangup.used:
            try:
                listed = json.loads(self._kube.get("/api/v1/pods", query))
                for pod in listed["items"]:
                    self._see("ADDED", pod)
                watch = {**query, "watch": "1", "resourceVersion": listed["metadata"]["resourceVersion"]}
                for lines in self._kube.lines("/api/v1/pods", {**watch, "timeoutSeconds": 240}, 300, self._hangup):
                    for line in lines:
                        event = json.loads(line)
                        if event["type"] == "ERROR":
                            break
                        self._see(event["type"], event["object"])
            except AgentError:
                time.sleep(0.5)

    def _see(self, kind: str, pod: Object) -> None:
        uid = pod["metadata"]["uid"]
        if kind == "DELETED":
            self._planned.pop(uid, None)
            return
        due = tending.due(pod, START_SECONDS, END_SECONDS)
        if due is None or self._planned.get(uid) == due:
            return
        self._planned[uid] = due
        action: Callable[[Object], None] = {"start": self._start, "end": self._end, "mirror": self._mirror}[due.action]

        def act() -> None:
            if self._planned.get(uid) == due and not self._hangup.used:  # Else a shorter grace took over.
                action(pod)

        self._timers.after(due.seconds, act)

    def _start(self, pod: Object) -> None:
        self._report(pod, running_status(pod, ready=tending.becomes_ready(pod)))

    def _end(self, pod: Object) -> None:
        if status := tending.ended(pod):
            self._report(pod, status)
        self._remove(pod)

    def _mirror(self, pod: Object) -> None:
        self._remove(pod)
        self._ask("POST", _path(pod).rpartition("/")[0], tending.mirrored_again(pod))

    def _report(self, pod: Object, status: Object) -> None:
        """With the UID, as a kubelet does it: another pod of the name is not meant."""
        patch = {"metadata": {"uid": pod["metadata"]["uid"]}, "status": status}
        self._ask("PATCH", f"{_path(pod)}/status", patch, STRATEGIC)

    def _remove(self, pod: Object) -> None:
        options = {"gracePeriodSeconds": 0, "preconditions": {"uid": pod["metadata"]["uid"]}}
        self._ask("DELETE", _path(pod), options)

    def _ask(self, method: str, path: str, body: Object, kind: str = "application/json") -> None:
        try:
            self._kube.call(method, path, None, body, kind)
        except AgentError:
            pass  # The pod, or its namespace, went in the meantime.


def _path(pod: Object) -> str:
    return f"/api/v1/namespaces/{pod['metadata']['namespace']}/pods/{pod['metadata']['name']}"
