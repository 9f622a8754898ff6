"""What the operations on one node share: finding the right one, cordoning it, uncordoning it."""

from __future__ import annotations

from enum import Enum

from shared.kube.nodes import Node
from shared.schemas.parameters import NodeParameters
from workers.task_runner.operations import cordoning
from workers.task_runner.operations.operation import Absent, read, registered_anew, write
from workers.task_runner.work.context import Context, TaskFailed

_RBAC = 'RBAC must allow verb "patch" on resource "nodes"'

_IDENTITY_SECONDS = 30.0
"""How long a node may take to get the provider id by which it is to be known."""

_LOOK = 2.0


class Match(Enum):
    """How a node compares with the identity that a task gives (rule 1)."""

    SAME = "same"
    OTHER = "other"
    """Another node of its name."""
    CONTRADICTION = "contradiction"
    """Its UID is the task's and its provider id is not, or the other way round: nothing is proved."""
    UNKNOWN = "unknown"
    """It does not have yet what it is to be compared by."""


def compare(parameters: NodeParameters, node: Node) -> tuple[Match, str]:
    """How ``node`` compares, and in what it differs. Provider ids compare without case, as Azure writes them."""
    uid, provider_id = parameters.node_uid, parameters.provider_id
    if uid is not None and uid != node.metadata.uid:
        if provider_id is not None and provider_id.lower() == node.spec.provider_id.lower():
            return Match.CONTRADICTION, registered_anew(parameters.node_name, uid, node)
        return Match.OTHER, f"node_uid is {uid}, the node's is {node.metadata.uid}"
    if provider_id is None or provider_id.lower() == node.spec.provider_id.lower():
        return Match.SAME, ""
    difference = f"provider_id is {provider_id}, the node's is {node.spec.provider_id or 'not set yet'}"
    if not node.spec.provider_id:
        return Match.UNKNOWN, difference
    if uid is not None:
        return Match.CONTRADICTION, f"node_uid is {uid}, as the node's, but {difference}"
    return Match.OTHER, difference


async def find_node(
    parameters: NodeParameters, context: Context, begun_on: str | None = None, machine: str = ""
) -> Node:
    """The task's node, which is the one with UID ``begun_on`` where an earlier run began on one.

    ``machine`` is the provider id of that one.

    Raises:
        Absent: it is proved that it is gone: there is none of its name, or twice another one was seen.
        TaskFailed: it cannot be told whether it is the right one.
        Stopped: as the context says.
    """
    waited = context.clock.monotonic() + _IDENTITY_SECONDS
    others = 0
    while True:
        node = await read_node(parameters.node_name, context)
        match, difference = compare(parameters, node)
        if begun_on is not None and begun_on != node.metadata.uid:
            if machine and machine.lower() == node.spec.provider_id.lower():
                raise TaskFailed(registered_anew(parameters.node_name, begun_on, node))
            match, difference = Match.OTHER, f"the task began on uid {begun_on}, the node's is {node.metadata.uid}"
        if match is Match.SAME:
            return node
        what = f"node {parameters.node_name} is not the one the task means: {difference}"
        if match is Match.OTHER:
            others += 1
            if others == 2:
                raise Absent(what, f", another has its name: {difference}")
        elif match is Match.CONTRADICTION or context.clock.monotonic() >= waited:
            raise TaskFailed(what)
        else:
            context.obstacle = what
            await context.wait(_LOOK)


async def find_permitted(parameters: NodeParameters, context: Context, begun_on: str | None = None) -> Node:
    """The task's node, if the owner lets tasks write to it; a dry run says so where not. Raises as ``find_node``."""
    node = await find_node(parameters, context, begun_on)
    context.obey(context.shared.owner.on_node(node))
    return node


async def read_node(name: str, context: Context) -> Node:
    """The node of that name, as it is now. Raises Absent, Stopped."""
    return await read(context, f"node {name}", lambda: context.nodes.find(name))


async def cordon(node: Node, context: Context) -> None:
    """Cordon ``node`` within the owner's limit. Raises Absent, TaskFailed, Stopped."""
    name = node.metadata.name
    await write(
        context,
        "cordon",
        node,
        lambda: cordoning.cordon(context, node),
        lambda: context.nodes.find(name),
        lambda seen: seen.spec.unschedulable,
        _RBAC,
    )
    context.account.say(f"node {name} cordoned")
    await context.announce(node, "Cordoned", "Marked unschedulable")


async def uncordon(node: Node, context: Context) -> None:
    """Uncordon ``node``. Raises Absent, TaskFailed, Stopped."""
    name, uid = node.metadata.name, node.metadata.uid
    await write(
        context,
        "uncordon",
        node,
        lambda: context.nodes.set_unschedulable(name, False, uid),
        lambda: context.nodes.find(name),
        lambda seen: not seen.spec.unschedulable,
        _RBAC,
    )
    context.account.say(f"node {name} uncordoned")
    await context.announce(node, "Uncordoned", "Marked schedulable")
