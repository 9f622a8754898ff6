"""What a hostile Central says: every task on every target, and all that might be taken for one."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta, timezone
from typing import Any

from shared.schemas.parameters import PARAMETERS

Json = dict[str, Any]

SYSTEM_LABELS: Sequence[dict[str, str | None]] = (
    {"kubernetes.io/hostname": "elsewhere"},
    {"node-role.kubernetes.io/control-plane": ""},
    {"topology.kubernetes.io/zone": "nowhere"},
    {"node.kubernetes.io/instance-type": "free"},
    {"karpenter.sh/capacity-type": "spot"},
    {"karpenter.sh/nodepool": None},
    {"eks.amazonaws.com/nodegroup": "mine"},
    {"cloud.google.com/gke-nodepool": "mine"},
    {"kubernetes.azure.com/mode": "user"},
    {"batch.kubernetes.io/job-name": None},
    {"cloudoptim.io/protected": None},
    {"cloudoptim.io/protected": "true"},
    {"team": "hostile"},
    {"app": None},
)
"""Label keys that schedulers, autoscalers and the owner's own limits go by; and two that are nobody's."""

TRICKS = (
    "../namespaces/kube-system/secrets",
    "node-1/status",
    "node-1%2fstatus",
    "node-1?dryRun=All",
    "node-1#",
    "*",
    ".",
    "..",
    "NODE-1",
    "node-1\n",
    "node-1\u0000",
    "nоde-1",  # noqa: RUF001 - a Cyrillic o
    "n" * 254,
    "",
)
"""Names by which a path might be left."""

ODD_IDS = (
    "../x",
    "a/b",
    "a?b#c",
    "%2e%2e",
    " ",
    "é⏲",
    "'; DROP TABLE state; --",
    "x" * 256,
    "x" * 257,
    "..",
    "\u202e",
    None,
    7,
)


class Words:
    """All of it, without end and never twice the same; the same for the same ``seed``."""

    def __init__(self, nodes: Sequence[str], pods: Sequence[tuple[str, str]], seed: int = 1) -> None:
        self._nodes, self._pods = nodes, pods
        self._chance = random.Random(seed)
        self._said: list[Json] = []

    def first(self) -> Iterator[Json]:
        """Every type on every target, with every switch that widens it, all at once."""
        for task_type in PARAMETERS:
            for target in self._targets(task_type):
                for switches in self._switches(task_type):
                    yield self._task(task_type, {**target, **switches})

    def more(self) -> Json:
        """One of everything that a task can be, or nearly."""
        kind = self._chance.random()
        if kind < 0.15 and self._said:
            return self._twisted(self._chance.choice(self._said))
        task_type = self._chance.choice([*PARAMETERS])
        target = dict(self._chance.choice(self._targets(task_type)))
        if kind < 0.3:
            key = self._chance.choice([*target])
            target[key] = self._chance.choice(TRICKS)
        task = self._task(task_type, {**target, **self._chance.choice(self._switches(task_type))})
        if kind < 0.4:
            task["task_id"] = self._chance.choice(ODD_IDS)
        if kind > 0.97:
            return {"type": "cancel", "task_id": self._chance.choice(self._said)["task_id"]}
        return task

    def frame(self, tasks: Sequence[Json]) -> str:
        """Some of them as a frame of the stream, in one of its forms."""
        if len(tasks) == 1 and self._chance.random() < 0.5:
            return json.dumps({"type": "task", "task": tasks[0]} if "type" not in tasks[0] else tasks[0])
        return json.dumps(tasks)

    def _twisted(self, task: Json) -> Json:
        """A replay: as it was, or with the id of one thing and the body of another."""
        other = self._chance.choice(self._said)
        return task if self._chance.random() < 0.5 else {**task, "parameters": other["parameters"]}

    def _targets(self, task_type: str) -> list[Json]:
        if "node_name" in PARAMETERS[task_type].model_fields:
            return [{"node_name": name} for name in self._nodes]
        return [{"namespace": namespace, "pod_name": name} for namespace, name in self._pods]

    def _switches(self, task_type: str) -> list[Json]:
        if task_type == "drain_node":
            wide = {"force": True, "skip_namespaces": [], "grace_period": 0, "allow_zero_grace": True}
            return [
                {},
                {"force": True},
                wide,
                {**wide, "disable_eviction": True},
                {**wide, "uncordon_on_failure": True},
            ]
        if task_type in ("label_node", "label_pod"):
            return [{"labels": labels, "force": force} for labels in SYSTEM_LABELS for force in (False, True)]
        if task_type in ("delete_pod", "reschedule_pod"):
            return [{}, {"grace_period": 0, "allow_zero_grace": True}]
        return [{}]

    def _task(self, task_type: str, parameters: Json) -> Json:
        now = datetime.now(timezone.utc)
        task = {
            "task_id": f"hostile-{len(self._said)}",
            "cluster_id": "demo",
            "task_type": task_type,
            "parameters": parameters,
            "priority": self._chance.randint(1, 10),
            "deadline": (now + timedelta(seconds=self._chance.choice([2, 5, 20]))).isoformat(),
            "created_at": (now + timedelta(hours=1)).isoformat(),
        }
        self._said.append(task)
        return task
