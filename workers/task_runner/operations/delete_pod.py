"""delete_pod: evict one pod, so that disruption budgets hold."""

from __future__ import annotations

from shared.schemas.parameters import DeletePod
from workers.task_runner.context import Context
from workers.task_runner.operations.pod import UID, PodGone, claim_pod, evict_pod


def delete_pod(parameters: DeletePod, context: Context) -> None:
    """Evict the pod and wait until it is gone. One that is not there (any more) is a success."""
    try:
        pod = claim_pod(parameters, context)
    except PodGone as gone:
        when = "before the agent restarted" if UID in context.notes else "already"
        context.account.say(f"gone {when}: {gone}")
        return
    evict_pod(pod, parameters, context)
    context.account.say(f"pod {pod.name} (uid {pod.uid}) is gone from node {pod.spec.node_name or 'none'}")
