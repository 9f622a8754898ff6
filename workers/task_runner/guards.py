"""Guard rails the cluster's owner set, whatever Central asks (SPEC section 4, Environment)."""

from __future__ import annotations

from shared.config import Tasks
from shared.kube.nodes import Node
from workers.task_runner.context import Context, TaskFailed

_UNSCHEDULABLE = {"fieldSelector": "spec.unschedulable=true"}


def refusal(task_type: str, guards: Tasks) -> str | None:
    """The rule that refuses every task, or this type of task, now; None when it may run."""
    if rule := guards.are_paused():
        return f"tasks are paused by the cluster's owner: {rule}"
    if task_type not in guards.allowed_types:
        allowed = ", ".join(sorted(guards.allowed_types)) or "none"
        return f"the cluster's owner does not allow {task_type}: ALLOWED_TASK_TYPES is {allowed}"
    return None


def cordon(context: Context, node: Node) -> Node:
    """Cordon ``node`` unless that would make one cordoned node too many.

    Raises:
        TaskFailed: MAX_CORDONED_NODES nodes are cordoned already, by anyone.
        TemporaryError, NotFound, Conflict, Forbidden: from the API server.
    """
    limit = context.settings.tasks.max_cordoned_nodes
    with context.cordoning:
        if limit is not None:
            cordoned = {other.metadata.name for other in context.nodes.latest(_UNSCHEDULABLE)}
            cordoned.discard(node.metadata.name)  # By an earlier try whose answer was lost.
            if len(cordoned) >= limit:
                names = ", ".join(sorted(cordoned)[:10]) or "none"
                raise TaskFailed(
                    f"MAX_CORDONED_NODES is {limit} and {len(cordoned)} nodes are cordoned already ({names})"
                )
        return context.nodes.set_unschedulable(node.metadata.name, True, node.metadata.uid)
