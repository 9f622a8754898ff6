"""What the operations on one pod share: finding the right one, and evicting it."""

from __future__ import annotations

from shared.kube.evictions import evict
from shared.kube.pods import Pod, Pods
from shared.schemas.parameters import Grace, PodParameters
from workers.task_runner.leaving.listing import Listing
from workers.task_runner.leaving.removal import Manner, Removal, grace_for
from workers.task_runner.operations.operation import Absent, read
from workers.task_runner.work.context import Context, Stopped, TaskFailed
from workers.task_runner.work.view import Interest

UID = "pod_uid"
"""Note of the journal: the UID of the pod this task evicts, recorded before the first request."""


async def find_pod(parameters: PodParameters, context: Context) -> Pod:
    """The task's pod. Raises Absent, Stopped."""
    namespace, name = parameters.namespace, parameters.pod_name
    pod = await read(context, f"pod {namespace}/{name}", lambda: context.pods.find(namespace, name))
    wanted = context.notes.get(UID) or parameters.pod_uid
    if wanted is not None and pod.uid != wanted:
        raise Absent(f"pod {pod.name} has uid {pod.uid}; the one with uid {wanted} is gone")
    return pod


async def find_permitted_pod(parameters: PodParameters, context: Context) -> Pod:
    """The task's pod, if the owner lets tasks touch it. Raises TaskFailed where not; else as ``find_pod``."""
    pod = await find_pod(parameters, context)
    protection = await context.patiently("read the marks of namespaces", context.shared.owner.protection)
    context.obey(protection(pod))
    return pod


async def claim_pod(parameters: PodParameters, context: Context) -> Pod:
    """The pod to evict, its UID on record before anything is done to it.

    A pod created after the task was is not the one Central saw: without this record (a lost journal) the
    task may have run before, and the pod be the replacement of the same name.

    Raises:
        Absent: it is not there any more.
        TaskFailed: it is newer than the task, or run by its kubelet from a file (rule 27), or its owner protects it.
        Stopped: as the context says.
    """
    pod = await find_permitted_pod(parameters, context)
    if pod.is_static:
        raise TaskFailed(f"pod {pod.name} is a static pod: its kubelet runs it from a file, evicting it is futile")
    if UID in context.notes:
        return pod
    created = pod.metadata.creation_timestamp
    if parameters.pod_uid is None and created is not None and created > context.task.created_at:
        raise TaskFailed(
            f"pod {pod.name} (uid {pod.uid}) was created at {created:%Y-%m-%dT%H:%M:%SZ}, after the task:"
            " it is not the pod the task means; give pod_uid if it is"
        )
    await context.remember("the pod's uid", **{UID: pod.uid})
    return pod


async def evict_pod(pod: Pod, parameters: Grace, context: Context) -> None:
    """Evict ``pod`` and return when it was seen to be gone, or to have ended.

    Raises:
        TaskFailed: it cannot be evicted.
        Stopped: as the context says; the message tells what held it.
    """
    grace = grace_for(pod, parameters.grace_period)
    listing = Listing(
        Pods(context.kube, pod.metadata.namespace), {"fieldSelector": f"metadata.name={pod.metadata.name}"}
    )
    with context.shared.view.room(Interest("pod", pod.name), context.story.wake) as room:
        await listing.first(context, room)
        manner = Manner(lambda pod: evict(context.kube, pod, grace))
        removal = Removal(context, context.shared.view, room, listing, manner)
        try:
            while True:
                await removal.remove([[pod]])
                if removal.refused:
                    raise TaskFailed("; ".join(removal.refused))
                if not await is_there(pod, context):
                    return
        except Stopped as stopped:
            said = "; ".join(removal.unfinished) or str(stopped)
            raise type(stopped)(said) from stopped


async def is_there(pod: Pod, context: Context) -> bool:
    """Whether exactly this ``pod`` is there and has not ended, by a consistent read. Raises Stopped.

    Of one that had ended before, its object is what counts, until it terminates: then a finalizer may keep it.
    """
    meta = pod.metadata
    try:
        seen = await read(context, f"pod {pod.name}", lambda: context.pods.find(meta.namespace, meta.name))
    except Absent:
        return False
    return seen.uid == pod.uid and not (seen.ended and (seen.terminating or not pod.ended))
