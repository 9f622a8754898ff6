"""cordon_node and uncordon_node: one field of the node."""

from __future__ import annotations

from collections.abc import Callable

from shared.kube.errors import Conflict, Forbidden, NotFound
from shared.kube.nodes import Node
from shared.schemas.parameters import CordonNode, NodeParameters, UncordonNode
from workers.task_runner.context import Context, TaskFailed, refused
from workers.task_runner.guards import cordoning

_RBAC = 'RBAC must allow verb "patch" on resource "nodes"'


class NodeGone(TaskFailed):
    """The node is not there, or another one has its name."""


def cordon_node(parameters: CordonNode, context: Context) -> None:
    """Mark the node unschedulable; one that is already is left as it is."""
    node = find_node(parameters, context)
    if node.spec.unschedulable:
        context.account.say(f"node {parameters.node_name} was cordoned already")
        return
    cordon(node, context)


def uncordon_node(parameters: UncordonNode, context: Context) -> None:
    """Mark the node schedulable; one that is already is left as it is."""
    node = find_node(parameters, context)
    if not node.spec.unschedulable:
        context.account.say(f"node {parameters.node_name} was schedulable already")
        return
    uncordon(node, context)


def cordon(node: Node, context: Context) -> None:
    """Cordon ``node`` within the owner's limit. Raises NodeGone, TaskFailed."""
    patch_node("cordon", node, context, lambda: cordoning.cordon(context, node))
    context.account.say(f"node {node.metadata.name} cordoned")
    context.announce(node, "Cordoned", "Marked unschedulable")


def uncordon(node: Node, context: Context) -> None:
    """Uncordon the node. Raises NodeGone, TaskFailed."""
    name, uid = node.metadata.name, node.metadata.uid
    patch_node("uncordon", node, context, lambda: context.nodes.set_unschedulable(name, False, uid))
    context.account.say(f"node {node.metadata.name} uncordoned")
    context.announce(node, "Uncordoned", "Marked schedulable")


def patch_node(what: str, node: Node, context: Context, patch: Callable[[], Node]) -> None:
    """One write to ``node``, tried until the deadline. Raises NodeGone, TaskFailed."""
    try:
        context.patiently(what, patch)
    except Forbidden as error:
        raise refused(error, _RBAC) from error
    except (NotFound, Conflict) as error:
        raise NodeGone(f"node {node.metadata.name} (uid {node.metadata.uid}) is gone") from error


def find_node(parameters: NodeParameters, context: Context) -> Node:
    """The task's node. Raises NodeGone when it is not there, or another one has its name."""
    name = parameters.node_name
    try:
        node = context.patiently("get node", lambda: context.nodes.find(name))
    except NotFound as error:
        raise NodeGone(f"node {name} does not exist") from error
    if difference := identity_mismatch(parameters, node):
        raise NodeGone(f"node {name} is not the one the task means: {difference}")
    return node


def identity_mismatch(parameters: NodeParameters, node: Node) -> str | None:
    """How ``node`` differs from the identity the task gives; None when it is the one."""
    if parameters.node_uid is not None and parameters.node_uid != node.metadata.uid:
        return f"node_uid is {parameters.node_uid}, the node's is {node.metadata.uid}"
    if parameters.provider_id is not None and parameters.provider_id != node.spec.provider_id:
        return f"provider_id is {parameters.provider_id}, the node's is {node.spec.provider_id or 'unset'}"
    return None
