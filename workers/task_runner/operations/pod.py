"""What the operations on one pod share: finding the right one, and evicting it."""

from __future__ import annotations

from shared.kube.errors import NotFound
from shared.kube.pods import Pod, Pods
from shared.schemas.parameters import Grace, PodParameters
from workers.task_runner.context import Context, Stopped, TaskFailed
from workers.task_runner.follower import Follower
from workers.task_runner.removal import Removal, grace_for

UID = "pod_uid"
"""Note of the journal: the UID of the pod this task evicts, recorded before the first request."""


class PodGone(TaskFailed):
    """The pod is not there, or another one has its name."""


def find_pod(parameters: PodParameters, context: Context) -> Pod:
    """The task's pod. Raises PodGone."""
    try:
        pod = context.patiently("get pod", lambda: context.pods.find(parameters.namespace, parameters.pod_name))
    except NotFound as error:
        raise PodGone(f"pod {parameters.namespace}/{parameters.pod_name} does not exist") from error
    wanted = context.notes.get(UID) or parameters.pod_uid
    if wanted is not None and pod.uid != wanted:
        raise PodGone(f"pod {pod.name} has uid {pod.uid}; the one with uid {wanted} is gone")
    return pod


def claim_pod(parameters: PodParameters, context: Context) -> Pod:
    """The pod to evict, its UID on record before anything is done to it.

    A pod created after the task was is not the one Central saw: without this record (a lost journal) the
    task may have run before, and the pod be the replacement of the same name.

    Raises:
        PodGone: it is not there any more.
        TaskFailed: it is newer than the task.
    """
    pod = find_pod(parameters, context)
    if UID in context.notes:
        return pod
    created = pod.metadata.creation_timestamp
    if parameters.pod_uid is None and created is not None and created > context.task.created_at:
        raise TaskFailed(
            f"pod {pod.name} (uid {pod.uid}) was created at {created:%Y-%m-%dT%H:%M:%SZ}, after the task:"
            " it is not the pod the task means; give pod_uid if it is"
        )
    context.patiently("record the pod's uid", lambda: context.remember(**{UID: pod.uid}))
    return pod


def evict_pod(pod: Pod, parameters: Grace, context: Context) -> None:
    """Evict ``pod`` and wait until it is gone.

    Raises:
        TaskFailed: it cannot be evicted.
        Stopped: as the context says; the message tells what held it.
    """
    grace = grace_for(pod, parameters.grace_period)
    query = {"fieldSelector": f"metadata.name={pod.metadata.name}"}
    with Follower(Pods(context.kube, pod.metadata.namespace), query) as follower:
        removal = Removal(
            context,
            follower,
            lambda pod, done, wanted, again: context.evictor.evict(pod, grace, done, wanted, again),
        )
        try:
            removal.remove([pod])
        except Stopped as stopped:
            raise type(stopped)("; ".join(removal.unfinished)) from stopped
        if removal.refused:
            raise TaskFailed("; ".join(removal.refused))
