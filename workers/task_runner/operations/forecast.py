"""What the limits of the cluster's owner would say to a drain: for a dry run, which nothing refuses."""

from __future__ import annotations

from shared.kube.nodes import Node
from workers.task_runner.operations.cordoning import refusal
from workers.task_runner.work.context import Context


async def forecast(node: Node, evictions: int, context: Context) -> None:
    """Say which limits would stop a drain of ``node`` now, or hold some of its ``evictions``; what protects, the plan
    says already.

    Raises:
        AgentError: it cannot be told.
        Stopped: as the context says.
    """
    owner = context.shared.owner
    context.obey(owner.closed())
    if not node.spec.unschedulable:
        context.obey(await context.patiently("count cordoned nodes", lambda: refusal(context, node)))
    context.obey(await context.patiently("count the hour's drains", owner.next_drain))
    if rule := await context.patiently("count the hour's evictions", lambda: owner.next_evictions(evictions)):
        context.account.say(f"the limits of the cluster's owner would have some pods wait: {rule}")
