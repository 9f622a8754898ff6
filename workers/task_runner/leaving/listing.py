"""Lists of the pods in a room: the first one from the cache (rule 4), and those that prove something (25, 26)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from shared.kube.pods import Pod, compact
from shared.kube.reads import Resource
from workers.task_runner.work.context import Context, TaskFailed
from workers.task_runner.work.room import Room
from workers.task_runner.work.story import WAITS_FOR_NEWS


@dataclass(frozen=True)
class Listing:
    """How the pods of one room are listed."""

    pods: Resource[Pod]
    query: Mapping[str, str]

    async def first(self, context: Context, room: Room) -> list[Pod]:
        """The pods as the API server's cache has them: cheap. A cache that is behind the watch is not taken.

        Raises:
            TaskFailed: the pods cannot be followed.
            Stopped: as the context says.
        """
        while room.since is None:
            if room.broken:
                raise TaskFailed(f"cannot follow the pods: {room.broken}") from room.broken
            context.obstacle = room.trouble
            await context.until(WAITS_FOR_NEWS)
        page = await context.patiently("list pods", lambda: self.pods.cached(self.query))
        if page.skipped or not room.takes(page.metadata.resource_version):
            return await self.consistent(context, room)
        pods = [compact(pod) for pod in page.items]
        room.listed(pods, page.metadata.resource_version)
        return pods

    async def consistent(self, context: Context, room: Room | None = None) -> list[Pod]:
        """The pods as they are. What a later step concludes from a pod's absence, it concludes from this.

        Raises:
            TaskFailed: some pods cannot be read, so that nobody can say that they are gone.
            Stopped: as the context says.
        """
        pods, version, skipped = await context.patiently("list pods", self._read)
        if skipped:
            raise TaskFailed(f"{skipped} pods cannot be read (the agent's log names them): they may still be there")
        if room is not None:
            room.listed(pods, version)
        return pods

    def _read(self) -> tuple[list[Pod], str, int]:
        pods: list[Pod] = []
        version, skipped = "", 0
        for page in self.pods.pages(self.query):
            pods += map(compact, page.items)
            version = version or page.metadata.resource_version
            skipped += page.skipped
        return pods, version, skipped
