"""reschedule_pod: evict one pod and wait until its controller's replacement is Ready on another node."""

from __future__ import annotations

import queue
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from shared.basics.timing import Deadline
from shared.kube.errors import NotFound
from shared.kube.pods import MIRROR, Pod, Pods
from shared.schemas.parameters import ReschedulePod
from workers.task_runner.context import Context, Stopped, TaskFailed
from workers.task_runner.follower import Broken, Follower, Listed, Removed, Seen
from workers.task_runner.journal import REPLACEMENT
from workers.task_runner.operations.pod import PodGone, claim_pod, evict_pod

_ORIGIN = "origin"
"""Note of the journal: where the pod ran and who controls it, for when it is gone after a restart."""

_STAY = ("DaemonSet", "Node")
"""Controllers whose pods come back on the same node by design."""

_SELECTIVE_LABELS = (
    "statefulset.kubernetes.io/pod-name",
    "pod-template-hash",
    "batch.kubernetes.io/controller-uid",
)
"""Labels by which a controller's pods can be watched without all others of the namespace."""

_SETTLING = 10.0
"""Seconds after which new pods on the old node are the replacement, and not a scale-up's that came before it."""

_REMEMBERED = 1000
"""Replacements of which it is known which task named them."""


@dataclass(frozen=True)
class Origin:
    """What must be known of the pod after it is gone."""

    node: str
    """Empty where it was not scheduled yet: its replacement may be on any."""
    owner_uid: str
    owner: str
    siblings: list[str]
    """UIDs of its controller's pods before the eviction: none of these is the replacement."""
    query: dict[str, str]
    name: str | None = None
    """The name the replacement will have, where its controller gives the same again."""


def reschedule_pod(parameters: ReschedulePod, context: Context) -> None:
    """Evict the pod, then watch its controller's pods for one that is new, Ready and elsewhere."""
    recorded = context.notes.get(_ORIGIN)
    origin = Origin(**recorded) if recorded else None
    try:
        pod = claim_pod(parameters, context)
    except PodGone:
        if origin is None:
            raise
        context.account.say("the pod went before the agent restarted; looking for its replacement")
    else:
        if origin is None:  # An earlier run's is right: by now the replacement may look like a sibling.
            origin = _origin_of(pod, context)
            record = {_ORIGIN: vars(origin)}
            context.patiently("record where the pod ran", lambda: context.remember(**record))
        evict_pod(pod, parameters, context)
        context.account.say(f"pod {pod.name} (uid {pod.uid}) is gone from node {origin.node or 'none'}")
    replacement = _await_replacement(parameters, origin, context)
    context.account.say(
        f"replaced by pod {replacement.name} (uid {replacement.uid}), Ready on node {replacement.spec.node_name}"
    )


def _origin_of(pod: Pod, context: Context) -> Origin:
    owner = pod.controller
    if owner is None:
        raise TaskFailed(f"pod {pod.name} has no controller: nothing would replace it")
    if owner.kind in _STAY or pod.annotation(MIRROR) is not None:
        raise TaskFailed(f"pod {pod.name} belongs to a {owner.kind}: it would come back on the same node")
    label = next((key for key in _SELECTIVE_LABELS if pod.label(key)), None)
    query = {"labelSelector": f"{label}={pod.label(label)}"} if label else {}
    pods = Pods(context.kube, pod.metadata.namespace)
    listed = context.patiently("list its siblings", lambda: pods.latest(query))
    siblings = [
        other.uid
        for other in listed
        if other.controller and other.controller.uid == owner.uid and not _made_for(other, pod)
    ]
    name = pod.metadata.name if owner.kind == "StatefulSet" else None
    return Origin(pod.spec.node_name, owner.uid, f"{owner.kind}/{owner.name}", siblings, query, name)


def _made_for(other: Pod, pod: Pod) -> bool:
    """Whether ``other`` may be the replacement already: ``pod`` terminated when this task began, and it came later."""
    meta, created = pod.metadata, other.metadata.creation_timestamp
    if meta.deletion_timestamp is None or created is None or other.uid == pod.uid:
        return False
    return created >= meta.deletion_timestamp - timedelta(seconds=meta.deletion_grace_period_seconds or 0)


def _await_replacement(parameters: ReschedulePod, origin: Origin, context: Context) -> Pod:
    """The first new pod of the same controller that is Ready on another node.

    Raises:
        TaskFailed: the only new ones are, and stay, on the same node: the replacement came back there.
        Stopped: none in time.
    """
    candidates: dict[str, Pod] = {}
    settled: Deadline | None = None
    with Follower(Pods(context.kube, parameters.namespace), origin.query) as follower:
        while True:
            try:
                _take(follower.inbox.get(timeout=min(0.5, context.deadline.remaining)), candidates, origin)
            except queue.Empty:
                pass
            alive = [pod for pod in candidates.values() if _is_free(pod, context)]
            for pod in alive:
                if pod.is_ready and pod.spec.node_name != origin.node and _take_as_ours(pod, context):
                    return pod
            if not (origin.node and alive and all(pod.spec.node_name == origin.node for pod in alive)):
                settled = None
            elif settled is None:
                settled = Deadline.after(_SETTLING, context.clock)
            elif settled.expired:
                raise TaskFailed(_came_back(alive[0], origin, context))
            try:
                context.check()
            except Stopped as stopped:
                raise type(stopped)(_waiting_for(candidates, origin)) from stopped


def _is_free(pod: Pod, context: Context) -> bool:
    """Whether ``pod`` lives and, while several replicas go at once, no other task named it as its replacement."""
    task_id = context.task.task_id
    return not (pod.terminating or pod.ended) and context.replacements.get(pod.uid, task_id) == task_id


def _take_as_ours(pod: Pod, context: Context) -> bool:
    """Name ``pod`` as this task's replacement; False when another task was first."""
    replacements, task_id = context.replacements, context.task.task_id
    if replacements.setdefault(pod.uid, task_id) != task_id:
        return False
    while len(replacements) > _REMEMBERED:
        replacements.pop(next(iter(replacements)), None)
    context.patiently("record the replacement", lambda: context.remember(**{REPLACEMENT: pod.uid}))
    return True


def _take(item: Any, candidates: dict[str, Pod], origin: Origin) -> None:
    """Keep ``candidates`` to the new pods of the controller."""
    if isinstance(item, Broken):
        raise TaskFailed(f"cannot watch for the replacement: {item.error}") from item.error
    if isinstance(item, Removed):
        candidates.pop(item.pod.uid, None)
        return
    if isinstance(item, Listed):
        candidates.clear()
    for pod in item.pods if isinstance(item, Listed) else [item.pod] if isinstance(item, Seen) else []:
        owner = pod.controller
        ours = owner is not None and owner.uid == origin.owner_uid and pod.uid not in origin.siblings
        if ours and origin.name in (None, pod.metadata.name):
            candidates[pod.uid] = pod


def _came_back(pod: Pod, origin: Origin, context: Context) -> str:
    try:
        node = context.patiently("get node", lambda: context.nodes.find(origin.node))
        why = "although it is cordoned" if node.spec.unschedulable else "which is not cordoned: cordon it first"
    except NotFound:
        why = "which is gone"
    return f"{origin.owner} put its replacement {pod.name} back on node {origin.node}, {why}"


def _waiting_for(candidates: dict[str, Pod], origin: Origin) -> str:
    if not candidates:
        return f"{origin.owner} made no replacement"
    states = [
        f"{pod.name} {pod.status.phase or '?'} on {pod.spec.node_name or 'no node yet'}, not Ready"
        for pod in candidates.values()
    ]
    return f"the replacement of {origin.owner} is not Ready elsewhere: {'; '.join(states)}"
