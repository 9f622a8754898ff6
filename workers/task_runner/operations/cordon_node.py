"""cordon_node and uncordon_node: one field of the node."""

from __future__ import annotations

from shared.schemas.parameters import CordonNode, UncordonNode
from workers.task_runner.operations.node import cordon, find_node, find_permitted, uncordon
from workers.task_runner.operations.operation import Operation


class Cordon(Operation[CordonNode]):
    """Marks the node unschedulable; one that is already is left as it is."""

    async def run(self) -> None:
        node = await find_permitted(self._parameters, self._context)
        if node.spec.unschedulable:
            self._context.account.say(f"node {self._parameters.node_name} was cordoned already")
        else:
            await cordon(node, self._context)

    async def last_look(self, when: str = "") -> str | None:
        node = await find_node(self._parameters, self._context)
        return None if node.spec.unschedulable else "the node is not cordoned"


class Uncordon(Operation[UncordonNode]):
    """Marks the node schedulable; one that is already is left as it is."""

    async def run(self) -> None:
        node = await find_permitted(self._parameters, self._context)
        if node.spec.unschedulable:
            await uncordon(node, self._context)
        else:
            self._context.account.say(f"node {self._parameters.node_name} was schedulable already")

    async def last_look(self, when: str = "") -> str | None:
        node = await find_node(self._parameters, self._context)
        return "the node is still cordoned" if node.spec.unschedulable else None
