"""One task in one world: what was answered, and whether that is so.

python -m tests.truth.play --sequences 200000      # the long form; make truth
python -m tests.truth.play --seed 4711             # one of them again, told
"""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

from shared.queue.memory import MemoryQueue
from shared.schemas.parameters import (
    PARAMETERS,
    DrainNode,
    LabelNode,
    LabelPod,
    NodeParameters,
    Parameters,
    PodParameters,
)
from shared.schemas.tasks import Task, TaskResult
from tests.sim.kube.resources import NODES
from tests.truth.world import HAVEN, NAMESPACE, NODE, World, WorldKube, seeded
from tests.unit.conftest import FakeClock, settings_of
from workers.task_runner.execution import Execution
from workers.task_runner.guards.owner import Owner
from workers.task_runner.operations.replacement import digest
from workers.task_runner.records.backlog import Entry
from workers.task_runner.records.journal import Claim
from workers.task_runner.work.announce import Announcer
from workers.task_runner.work.calls import Call, Calls, Rank
from workers.task_runner.work.context import Surroundings
from workers.task_runner.work.evictor import Evictor, Request
from workers.task_runner.work.room import Room
from workers.task_runner.work.view import Interest, View

_PASSES = 3000
"""After so many a story that does not end is a fault of its own."""


@dataclass(frozen=True)
class Played:
    """What came of one task."""

    task_type: str
    status: str
    untrue: str
    """Why a success is not so; empty where it is, and where there was none."""
    result: TaskResult


class _InlineCalls(Calls):
    def begin(self, function: Callable[[], Any], rank: Rank, answered: Callable[[], None]) -> Call[Any]:
        call: Call[Any] = Call(function, rank, answered)
        call.run()
        return call


class _InlineEvictor(Evictor):
    def ask(self, request: Request) -> None:
        self._run(request)


class _BlindView(View):
    """A watch that never brings anything: only lists and reads tell."""

    @contextmanager
    def room(self, interest: Interest, wake: Callable[[], None]) -> Iterator[Room]:
        room = Room(wake)
        room.begins("0")
        yield room

    def silent_for(self) -> float:
        return 3600.0


def play(seed: int, settings: Any, trouble: float = 0.3) -> Played:
    """A task of a random type in a world of its own, both made of ``seed``."""
    with seeded(seed) as rng:
        clock = FakeClock()
        world = World(rng, clock, trouble)
        task_type = rng.choice([*PARAMETERS, "drain_node", "drain_node", "delete_pod"])
        parameters = _parameters(task_type, world)
        before = {digest(pod["metadata"]["uid"]) for name in (NODE, HAVEN) for pod in world.running_on(name)}
        kube, queue = WorldKube(world), MemoryQueue()
        surroundings = Surroundings(
            settings=settings,
            kube=kube,
            queue=queue,
            clock=clock,
            calls=_InlineCalls(),
            records=_InlineCalls(),
            evictor=_InlineEvictor(kube, 1e6, 1000, clock),
            view=_BlindView(kube, clock),
            announcer=Announcer(kube, clock, False, "truth"),
            owner=Owner(settings.tasks.limits, kube, queue, clock),
        )
        now = clock.now()
        task = Task(
            task_id="t",
            cluster_id="demo",
            task_type=task_type,
            parameters=parameters,
            priority=5,
            deadline=now + timedelta(seconds=rng.choice([20, 120, 600])),
            created_at=now,
        )
        model = PARAMETERS[task_type].model_validate(parameters)
        result = _told(task, model, surroundings, world)
        untrue = _untrue(model, world, before) if result.status == "success" else ""
        queue.store.close()
        return Played(task_type, result.status, untrue, result)


def _parameters(task_type: str, world: World) -> dict[str, Any]:
    rng = world.rng
    if "node" in task_type:
        node = world.node(NODE)
        found: dict[str, Any] = {"node_name": NODE}
        if rng.random() < 0.3:
            found["node_uid"] = rng.choice([node["metadata"]["uid"], "another"])
        if rng.random() < 0.3:
            own = node["spec"].get("providerID") or "aws:///zone/i-1"
            found["provider_id"] = rng.choice([own, own.upper(), "aws:///zone/another"])
        if task_type == "drain_node":
            found["uncordon_on_failure"] = rng.random() < 0.3
            found["disable_eviction"] = rng.random() < 0.2
    else:
        pod = rng.choice(world.pods)
        found = {"namespace": NAMESPACE, "pod_name": pod["metadata"]["name"]}
        if rng.random() < 0.3:
            found["pod_uid"] = rng.choice([pod["metadata"]["uid"], "another"])
    if "label" in task_type:
        found["labels"] = {"example.com/team": "a"}
    return found


def _told(task: Task, parameters: Parameters, surroundings: Surroundings, world: World) -> TaskResult:
    """The task's story from its beginning to its result."""
    results: list[TaskResult] = []
    entry = Entry((True, 5, 0.0, 0), Claim(task), parameters, "target")

    def note(claim: Claim, notes: dict[str, Any]) -> None:
        claim.notes.update(notes)

    execution = Execution(entry, surroundings, note, results.append, lambda task: None)
    woken: list[bool] = []

    async def tell() -> None:
        await execution.run()

    entry.story.begin(tell(), lambda _: woken.append(True))
    for _ in range(_PASSES):
        woken.clear()
        moment = entry.story.tell()
        if moment is None:
            return results[0]
        if not woken:
            world.pass_time(min(moment, world.clock.monotonic() + 5.0))
    raise AssertionError(f"{task.task_type} does not come to an end")


def _untrue(parameters: Parameters, world: World, before: set[str]) -> str:
    """Why what the task promised is not so; empty where it is."""
    if isinstance(parameters, NodeParameters):
        return _untrue_of_node(parameters, world)
    pods = cast(PodParameters, parameters)
    uid = pods.pod_uid or world.first_uid(pods.pod_name)
    there = next((one for one in world.every_pod() if one["metadata"]["uid"] == uid), None)
    if isinstance(parameters, LabelPod):
        if pods.pod_uid is None:  # By its name, whichever pod has it.
            there = world.pod(pods.pod_name)
        labels = (there or {"metadata": {}})["metadata"].get("labels", {})
        return "" if labels.get("example.com/team") == "a" else "the pod has not the label"
    if there is not None and there["status"].get("phase") not in ("Succeeded", "Failed"):
        return "the pod is there"
    if type(parameters).__name__ == "ReschedulePod" and not any(
        digest(one["metadata"]["uid"]) not in before for one in world.running_on(HAVEN)
    ):
        return "nothing replaced the pod elsewhere"
    return ""


def _untrue_of_node(parameters: NodeParameters, world: World) -> str:
    stored = world.store.get(NODES, None, NODE)
    node = stored.object if stored is not None else None
    is_meant = node is not None and _is_meant(parameters, node, world)
    if isinstance(parameters, DrainNode):
        if node is None or not is_meant:
            return ""  # It is gone, and that is all a drain wants.
        if not node["spec"].get("unschedulable"):
            return "the node is schedulable"
        left = [pod["metadata"]["name"] for pod in world.running_on(NODE)]
        return f"pods are left: {left}" if left else ""
    if node is None or not is_meant:
        return "the node is not there"
    if isinstance(parameters, LabelNode):
        labelled = (node["metadata"].get("labels") or {}).get("example.com/team") == "a"
        return "" if labelled else "the node has not the label"
    cordoned = bool(node["spec"].get("unschedulable"))
    wanted = type(parameters).__name__ == "CordonNode"
    return "" if cordoned is wanted else f"unschedulable is {cordoned}"


def _is_meant(parameters: NodeParameters, node: Any, world: World) -> bool:
    """Whether ``node`` is the one the task means; by its name alone, the one that was there at the beginning."""
    if parameters.node_uid is not None:
        return bool(node["metadata"]["uid"] == parameters.node_uid)
    if parameters.provider_id is not None:
        own = node["spec"].get("providerID")
        return own is None or own.lower() == parameters.provider_id.lower()
    own = node["spec"].get("providerID")
    same_machine = bool(own) and own == world.first_machine
    return node["metadata"]["uid"] == world.first_node_uid or same_machine or not isinstance(parameters, DrainNode)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.truth.play", description=__doc__)
    parser.add_argument("--sequences", type=int, default=200_000)
    parser.add_argument("--seed", type=int, help="play this one, and tell it")
    arguments = parser.parse_args()
    logging.disable(logging.CRITICAL)
    with tempfile.TemporaryDirectory() as folder:
        settings = settings_of(Path(folder))
        if arguments.seed is not None:
            played = play(arguments.seed, settings)
            print(f"{played.task_type}: {played.status}, {played.result.error}; untrue: {played.untrue or 'no'}")
            print(played.result.logs)
            return
        counts: Counter[str] = Counter()
        untrue: list[tuple[int, str]] = []
        began = time.monotonic()
        for seed in range(arguments.sequences):
            played = play(seed, settings)
            counts[f"{played.task_type} {played.status}"] += 1
            if played.untrue:
                untrue.append((seed, f"{played.task_type}: {played.untrue}"))
    for name, count in sorted(counts.items()):
        print(f"{name:28} {count:8}")
    print(f"{arguments.sequences} sequences in {time.monotonic() - began:.0f} s")
    print(f"successes that were not so: {len(untrue)}")
    for seed, why in untrue[:20]:
        print(f"  seed {seed}: {why}")
    sys.exit(bool(untrue))


if __name__ == "__main__":
    main()
