"""reschedule_pod: evict one pod and wait until its controller's replacement is Ready on another node."""

from __future__ import annotations

from contextlib import ExitStack

from shared.kube.pods import Pod
from shared.schemas.parameters import ReschedulePod
from workers.task_runner.operations.node import read_node
from workers.task_runner.operations.operation import Absent, Operation, read
from workers.task_runner.operations.pod import claim_pod, evict_pod, find_pod
from workers.task_runner.operations.replacement import Candidates, Origin, origin_of
from workers.task_runner.records.journal import REPLACEMENT
from workers.task_runner.work.context import Context, Stopped, TaskFailed

_ORIGIN = "origin"
"""Note of the journal: where the pod ran and who controls it, for when it is gone after a restart."""

_SETTLING = 10.0
"""Seconds after which new pods on the old node are the replacement, and not a scale-up's that came before it."""

_LOOK = 2.0
"""Seconds between two looks at what nobody tells of: a rollout's ReplicaSets, a silent watch."""

_REMEMBERED = 20_000
"""Replacements of which it is known which task named them."""


class ReschedulesPod(Operation[ReschedulePod]):
    """Evicts the pod, then watches its controller's pods for one that is new, Ready and elsewhere."""

    async def run(self) -> None:
        context = self._context
        recorded = context.notes.get(_ORIGIN)
        origin = Origin(**recorded) if recorded else None
        try:
            pod = await claim_pod(self._parameters, context)
        except Absent:
            if origin is None:
                raise
            context.account.say("the pod went before the agent restarted; looking for its replacement")
        else:
            if origin is None:  # An earlier run's is right: by now the replacement may look like a sibling.
                if pod.ended:
                    raise TaskFailed(f"pod {pod.name} has ended ({pod.status.phase}): there is nothing to reschedule")
                origin = await origin_of(pod, context)
                await context.remember("where the pod ran", **{_ORIGIN: vars(origin)})
            if not pod.ended:
                await evict_pod(pod, self._parameters, context)
            context.account.say(f"pod {pod.name} (uid {pod.uid}) is gone from node {origin.node or 'none'}")
        replacement = await self._await_replacement(origin)
        context.account.say(
            f"replaced by pod {replacement.name} (uid {replacement.uid}),"
            f" {'Ready' if replacement.is_ready else replacement.status.phase} on node {replacement.spec.node_name}"
        )

    async def last_look(self, when: str = "") -> str | None:
        try:
            pod = await find_pod(self._parameters, self._context)
        except Absent:
            return await self._look_for_replacement()
        return f"pod {pod.name} (uid {pod.uid}) is still there"

    async def _look_for_replacement(self) -> str | None:
        """A list, without which nobody can say that there is none."""
        recorded = self._context.notes.get(_ORIGIN)
        if not recorded:
            return ""
        origin = Origin(**recorded)
        with ExitStack() as rooms:
            candidates = Candidates(self._parameters.namespace, origin, self._context, rooms)
            for pod in await candidates.look():
                if _is_free(pod, self._context) and _serves(pod, origin) and await self._take(pod, origin):
                    self._context.account.say(f"replaced by pod {pod.name} on node {pod.spec.node_name}")
                    return None
        return ""  # What the search said last stands.

    async def _await_replacement(self, origin: Origin) -> Pod:
        """The first new pod of the same controller that is Ready on another node.

        Raises:
            TaskFailed: the only new ones are, and stay, on the same node: the replacement came back there.
            Stopped: none in time.
        """
        context = self._context
        settled: float | None = None
        context.progress.phase = "waiting for the replacement"
        with ExitStack() as rooms:
            candidates = Candidates(self._parameters.namespace, origin, context, rooms)
            while True:
                found: list[Pod] = []
                try:
                    found = await candidates.look()
                    free = [pod for pod in found if _is_free(pod, context)]
                    for pod in free:
                        if _serves(pod, origin) and await self._take(pod, origin):
                            return pod
                    now = context.clock.monotonic()
                    if not (origin.node and free and all(pod.spec.node_name == origin.node for pod in free)):
                        settled = None
                    elif settled is None:
                        settled = now + _SETTLING
                    elif now >= settled:
                        raise TaskFailed(await _came_back(free[0], origin, context))
                    await context.until(now + _LOOK)
                except Stopped as stopped:
                    raise type(stopped)(_waiting_for(candidates.known() or found, origin)) from stopped

    async def _take(self, pod: Pod, origin: Origin) -> bool:
        """Name ``pod`` as this task's replacement, once a read shows that it is; False when another task was first."""
        context = self._context
        replacements, task_id = context.shared.replacements, context.task.task_id
        if replacements.setdefault(pod.uid, task_id) != task_id:
            return False
        while len(replacements) > _REMEMBERED:
            replacements.pop(next(iter(replacements)), None)
        await context.remember("the replacement", **{REPLACEMENT: pod.uid})
        meta = pod.metadata
        try:
            seen = await read(context, f"pod {pod.name}", lambda: context.pods.find(meta.namespace, meta.name))
        except Absent:
            return False
        return seen.uid == pod.uid and _serves(seen, origin)


def _serves(pod: Pod, origin: Origin) -> bool:
    """Whether ``pod`` does on another node what the one that went did: it is Ready, or a Job's that is done."""
    if not pod.spec.node_name or pod.spec.node_name == origin.node or pod.terminating:
        return False
    done = origin.owner.startswith("Job/") and pod.status.phase == "Succeeded"
    return done or (pod.is_ready and not pod.ended)


def _is_free(pod: Pod, context: Context) -> bool:
    """Whether ``pod`` lives, or did its job, and no other task named it: several replicas may go at once."""
    task_id = context.task.task_id
    alive = not pod.terminating and pod.status.phase != "Failed"
    return alive and context.shared.replacements.get(pod.uid, task_id) == task_id


async def _came_back(pod: Pod, origin: Origin, context: Context) -> str:
    try:
        node = await read_node(origin.node, context)
        why = "although it is cordoned" if node.spec.unschedulable else "which is not cordoned: cordon it first"
    except Absent:
        why = "which is gone"
    return f"{origin.owner} put its replacement {pod.name} back on node {origin.node}, {why}"


def _waiting_for(candidates: list[Pod], origin: Origin) -> str:
    if not candidates:
        return f"{origin.owner} made no replacement"
    states = [
        f"{pod.name} {pod.status.phase or '?'} on {pod.spec.node_name or 'no node yet'}, not Ready"
        for pod in candidates
    ]
    return f"the replacement of {origin.owner} is not Ready elsewhere: {'; '.join(states)}"
