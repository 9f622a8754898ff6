"""Cordons a node within the owner's limit: reads what the law judges by, and writes if it says nothing."""

from __future__ import annotations

from shared.config.limits import Limits
from shared.kube.nodes import Node, Nodes
from workers.task_runner import guards
from workers.task_runner.guards.cordoned import Census, CordonAsked
from workers.task_runner.work.context import Context, TaskFailed

_UNSCHEDULABLE = {"fieldSelector": "spec.unschedulable=true"}


def cordon(context: Context, node: Node) -> Node:
    """Cordon ``node`` unless that would make one cordoned node too many.

    Raises:
        TaskFailed: the owner's limit of nodes is cordoned already, by anyone.
        TemporaryError, NotFound, Conflict, Forbidden: from the API server.
    """
    name, uid = node.metadata.name, node.metadata.uid
    if not context.shared.owner.limits.max_cordoned:
        return context.nodes.set_unschedulable(name, True, uid)
    with context.shared.cordoning:  # Else two would both take the last place.
        if rule := refusal(context, node):
            raise TaskFailed(rule)
        return context.nodes.set_unschedulable(name, True, uid)


def refusal(context: Context, node: Node) -> str | None:
    """The owner's limit that keeps ``node`` from being cordoned now.

    Raises:
        TemporaryError, Forbidden: from the API server.
    """
    limits = context.shared.owner.limits
    return guards.on_cordon(about_cordoning(node, context.nodes, limits), limits) if limits.max_cordoned else None


def about_cordoning(node: Node, nodes: Nodes, limits: Limits) -> CordonAsked:
    """``node`` beside those that are cordoned now; the whole cluster is counted only where a limit is a percentage.

    Raises:
        TemporaryError, Forbidden: from the API server.
    """
    cordoned = {other.metadata.name: other.metadata.labels or {} for other in nodes.latest(_UNSCHEDULABLE)}
    census = Census()
    if any(share.percent for share in limits.max_cordoned):
        labels = (other.metadata.labels or {} for page in nodes.pages() for other in page.items)
        census = Census.of(labels, {share.label for share in limits.max_cordoned if share.label})
    return CordonAsked(node.metadata.name, node.metadata.labels or {}, cordoned, census)
