"""Which pod replaces one that was evicted: of the same controller, new, on another node, and nobody else's."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from datetime import timedelta
from hashlib import blake2b
from typing import Any
from urllib.parse import quote

from shared.kube.errors import NotFound
from shared.kube.objects import Meta, Struct, controller_of
from shared.kube.pods import Pod, Pods
from shared.kube.reads import Resource
from workers.task_runner.leaving.listing import Listing
from workers.task_runner.leaving.removal import SILENCE
from workers.task_runner.work.context import Context, TaskFailed
from workers.task_runner.work.room import Room
from workers.task_runner.work.view import Interest

_HASH = "pod-template-hash"

_SELECTIVE_LABELS = ("statefulset.kubernetes.io/pod-name", _HASH, "batch.kubernetes.io/controller-uid")
"""Labels by which a controller's pods can be listed without all others of the namespace."""

_STAY = ("DaemonSet", "Node")
"""Controllers whose pods come back on the same node by design."""


@dataclass(frozen=True)
class Origin:
    """What must be known of the pod after it is gone. Kept as a note of the journal."""

    node: str
    """Empty where it was not scheduled yet: its replacement may be on any."""
    owner_uid: str
    owner: str
    """Its controller, as ``kind/name``."""
    siblings: list[str]
    """Digests of the UIDs of its controller's pods before the eviction: none of these is the replacement."""
    query: dict[str, str]
    name: str | None = None
    """The name the replacement will have, where its controller gives the same again."""
    deployment: str | None = None
    """UID of the Deployment behind a ReplicaSet: in a rollout another ReplicaSet makes the replacement."""


SETS_SECONDS = 5.0
"""How often a Deployment's ReplicaSets are listed while a replacement is awaited."""


class _ReplicaSet(Struct, frozen=True):
    metadata: Meta


async def origin_of(pod: Pod, context: Context) -> Origin:
    """Where ``pod`` runs, who controls it, and which pods are there beside it.

    Raises:
        TaskFailed: nothing would replace it elsewhere.
        Stopped: as the context says.
    """
    owner = pod.controller
    if owner is None:
        raise TaskFailed(f"pod {pod.name} has no controller: nothing would replace it")
    if owner.kind in _STAY:
        raise TaskFailed(f"pod {pod.name} belongs to a {owner.kind}: it would come back on the same node")
    label = next((key for key in _SELECTIVE_LABELS if pod.label(key)), None)
    query = {"labelSelector": f"{label}={pod.label(label)}"} if label else {}
    deployment = await _deployment_of(pod, context) if owner.kind == "ReplicaSet" else None
    owners = {owner.uid: query}
    if deployment:
        owners |= await _replica_sets(pod.metadata.namespace, deployment, context)
    siblings = []
    for uid, of_owner in owners.items():
        listed = await Listing(Pods(context.kube, pod.metadata.namespace), of_owner).consistent(context)
        siblings += [
            digest(other.uid)
            for other in listed
            if other.controller and other.controller.uid == uid and not _made_for(other, pod)
        ]
    name = pod.metadata.name if owner.kind == "StatefulSet" else None
    return Origin(pod.spec.node_name, owner.uid, f"{owner.kind}/{owner.name}", siblings, query, name, deployment)


def digest(uid: str) -> str:
    """A UID in few bytes: a controller may have thousands of pods."""
    return blake2b(uid.encode(), digest_size=6).hexdigest()


def _made_for(other: Pod, pod: Pod) -> bool:
    """Whether ``other`` may be the replacement already: ``pod`` terminated when this task began, and it came later."""
    meta, created = pod.metadata, other.metadata.creation_timestamp
    if meta.deletion_timestamp is None or created is None or other.uid == pod.uid:
        return False
    return created >= meta.deletion_timestamp - timedelta(seconds=meta.deletion_grace_period_seconds or 0)


async def _deployment_of(pod: Pod, context: Context) -> str | None:
    """UID of the Deployment behind the pod's ReplicaSet; None where there is none."""
    owner = pod.controller
    assert owner is not None
    path = f"/apis/apps/v1/namespaces/{quote(pod.metadata.namespace)}/replicasets/{quote(owner.name)}"
    sets = Resource(context.kube, path, _ReplicaSet)
    try:
        found = await context.patiently("get replicaset", lambda: sets.decoded(context.kube.get(path), f"GET {path}"))
    except NotFound:
        return None
    behind = controller_of(found.metadata)
    return behind.uid if behind is not None and found.metadata.uid == owner.uid else None


async def _replica_sets(namespace: str, deployment: str, context: Context) -> dict[str, dict[str, str]]:
    """UIDs of the Deployment's ReplicaSets, and the query for the pods of each."""
    sets = Resource(context.kube, f"/apis/apps/v1/namespaces/{quote(namespace)}/replicasets", _ReplicaSet)
    found = await context.patiently("list replicasets", sets.latest)
    queries = {}
    for one in found:
        owner = controller_of(one.metadata)
        if owner is not None and owner.uid == deployment:
            template = (one.metadata.labels or {}).get(_HASH)
            queries[one.metadata.uid] = {"labelSelector": f"{_HASH}={template}"} if template else {}
    return queries


class Candidates:
    """The pods that may be the replacement, as the view shows them."""

    def __init__(self, namespace: str, origin: Origin, context: Context, stack: ExitStack) -> None:
        self._namespace = namespace
        self._origin = origin
        self._context = context
        self._stack = stack
        self._rooms: dict[str, tuple[Room, Listing]] = {}
        self._next_sets = 0.0
        self._listed = context.clock.monotonic()

    async def look(self) -> list[Pod]:
        """The new pods of the controller, those of a Deployment's other ReplicaSets included."""
        origin, context, now = self._origin, self._context, self._context.clock.monotonic()
        owners: dict[str, dict[str, str]] = {origin.owner_uid: origin.query}
        if origin.deployment and now >= self._next_sets:
            self._next_sets = now + SETS_SECONDS
            owners |= await _replica_sets(self._namespace, origin.deployment, context)
        for uid, query in owners.items():
            if uid not in self._rooms:
                room = self._stack.enter_context(context.shared.view.room(Interest("owner", uid), context.story.wake))
                self._rooms[uid] = (room, Listing(Pods(context.kube, self._namespace), query))
        silent = min(context.shared.view.silent_for(), now - self._listed) >= SILENCE
        self._listed = now if silent else self._listed
        for room, listing in self._rooms.values():
            if room.broken:
                raise TaskFailed(f"cannot watch for the replacement: {room.broken}") from room.broken
            if room.stale:
                await listing.first(context, room)
            elif silent:
                await listing.consistent(context, room)
        return self.known()

    def known(self) -> list[Pod]:
        return [pod for room, _ in self._rooms.values() for pod in room.pods.values() if self._may_be(pod)]

    def _may_be(self, pod: Pod) -> bool:
        owner: Any = pod.controller
        return (
            owner is not None
            and owner.uid in self._rooms
            and digest(pod.uid) not in self._origin.siblings
            and self._origin.name in (None, pod.metadata.name)
        )
