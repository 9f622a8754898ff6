"""Tasks, pods as a drain sees them, and the surroundings an operation works in."""

from __future__ import annotations

import threading
from collections.abc import Coroutine, Iterator, Mapping
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import pytest

from shared.basics.timing import Clock, Deadline
from shared.kube.connection import Kube
from shared.kube.pods import Pod
from shared.queue.memory import MemoryQueue
from shared.schemas.tasks import Task
from tests.sim.kube.cluster import Cluster
from tests.unit.conftest import FastClock, kube_of, settings_of
from workers.task_runner.guards.owner import Owner
from workers.task_runner.work.account import Account
from workers.task_runner.work.announce import Announcer
from workers.task_runner.work.calls import Calls
from workers.task_runner.work.context import Context, Interrupt, Surroundings
from workers.task_runner.work.evictor import Evictor
from workers.task_runner.work.story import Story
from workers.task_runner.work.view import View

NODE = {"node_name": "node-1"}


def payload(task_type: Any = "cordon_node", parameters: Any = NODE, **fields: Any) -> dict[str, Any]:
    """A task as Central sends it: an hour of time, and made an hour from now, so that no pod is newer than it."""
    now = datetime.now(timezone.utc)
    content = {
        "task_id": "task-1",
        "cluster_id": "demo",
        "task_type": task_type,
        "parameters": parameters,
        "priority": 5,
        "deadline": (now + timedelta(hours=1)).isoformat(),
        "created_at": (now + timedelta(hours=1)).isoformat(),
    }
    return {**content, **fields}


def task(task_type: str = "cordon_node", parameters: Mapping[str, Any] = NODE, **fields: Any) -> Task:
    return Task.model_validate(payload(task_type, parameters, **fields))


def pod(
    name: str = "web-0",
    namespace: str = "shop",
    *,
    owner: str | None = "ReplicaSet",
    uid: str | None = None,
    phase: str = "Running",
    version: str = "10",
    annotations: Mapping[str, str] | None = None,
    labels: Mapping[str, str] | None = None,
    deleted: str | None = None,
    finalizers: list[str] | None = None,
    ready: bool = True,
    started: str | None = None,
    **spec: Any,
) -> Pod:
    """A pod on node-1; ``spec`` in Kubernetes' own words."""
    group = {"Node": "v1", "Job": "batch/v1"}.get(owner or "", "apps/v1")
    reference = {"apiVersion": group, "kind": owner, "name": "the-owner", "uid": "owner", "controller": True}
    references = [reference] if owner else None
    metadata = {
        "name": name,
        "namespace": namespace,
        "uid": uid or f"uid-{name}",
        "resourceVersion": version,
        "annotations": annotations,
        "labels": labels,
        "deletionTimestamp": deleted,
        "finalizers": finalizers,
        "ownerReferences": references,
    }
    conditions = [{"type": "Ready", "status": "True" if ready else "False"}]
    content = {
        "metadata": metadata,
        "spec": {"nodeName": "node-1", **spec},
        "status": {"phase": phase, "conditions": conditions, "startTime": started},
    }
    return msgspec.convert(content, Pod)


T = TypeVar("T")


def told(context: Context, work: Coroutine[Any, Any, T]) -> T:
    """Run ``work`` as a story of its own, on this thread; its value, or what it raises."""
    results: list[T] = []
    woken = threading.Event()

    async def tell() -> None:
        results.append(await work)

    story = context.story
    story.begin(tell(), lambda _: woken.set())
    while (moment := story.tell()) is not None:
        woken.wait(max(0.0, min(0.5, moment - context.clock.monotonic())))
        woken.clear()
    return results[0]


class Work:
    """What an operation is called with, against a cluster; keeps what it wrote and remembered."""

    def __init__(self, cluster: Cluster, kube: Kube, run_dir: Path, clock: Clock) -> None:
        self.cluster = cluster
        self.kube = kube
        self._run_dir = run_dir
        self._clock = clock
        self._surroundings: list[Surroundings] = []
        self.notes: dict[str, Any] = {}

    def context(self, seconds: float = 120.0, env: Mapping[str, str] | None = None, **fields: Any) -> Context:
        """The surroundings of a task with so many seconds (by the fast clock) until its deadline."""
        settings = settings_of(self._run_dir, **(env or {}))
        wanted = settings.tasks.kubernetes_events
        self.account = Account(self._clock)
        queue = MemoryQueue()
        shared = Surroundings(
            settings=settings,
            kube=self.kube,
            queue=queue,
            clock=self._clock,
            calls=Calls(),
            records=Calls(),
            evictor=Evictor(self.kube, rate=1000, burst=1000),
            view=View(self.kube, self._clock),
            announcer=Announcer(self.kube, self._clock, wanted, "agent-0"),
            owner=Owner(settings.tasks.limits, self.kube, queue, self._clock),
        )
        self._surroundings.append(shared)
        story = Story()
        return Context(
            shared=shared,
            task=task(**fields),
            deadline=Deadline.after(seconds, self._clock),
            account=self.account,
            story=story,
            interrupt=Interrupt(story),
            notes=dict(self.notes),
            record=self.notes.update,
        )

    def close(self) -> None:
        for shared in self._surroundings:
            shared.close()

    @property
    def logs(self) -> str:
        return self.account.text()

    def is_cordoned(self, node: str = "node-1") -> bool:
        return bool((self.cluster.node(node) or {})["spec"].get("unschedulable"))

    def writes(self) -> list[tuple[str, str]]:
        """What was changed so far through the API, as (verb, resource/name)."""
        return [
            (entry.verb, f"{entry.resource}/{entry.subresource or entry.name}")
            for entry in self.cluster.audit
            if entry.verb in ("create", "update", "patch", "delete")
        ]


@pytest.fixture
def work(cluster: Cluster, tmp_path: Path, run_dir: Path) -> Iterator[Work]:
    """Work by a clock that runs thirty times as fast, so that a budget's five seconds are a moment."""
    work = Work(cluster, kube_of(cluster.url, tmp_path, connections=32), run_dir, FastClock())
    yield work
    work.close()
