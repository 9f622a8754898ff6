"""An occurrence on its way: seen for the first time, and not told yet."""

from __future__ import annotations

from dataclasses import dataclass

from shared.kube.objects import Owner
from shared.schemas.events import ClusterEvent
from workers.event_watcher.checkpoint import Mark

LOOKUP_SECONDS = 2.0
"""What is looked up about an occurrence may hold it up for so long."""


@dataclass
class Pending:
    """Its relay decides when it is told; a look-up may complete it meanwhile, from another thread."""

    event: ClusterEvent
    mark: Mark
    """Where the watch stood before it: from there it would be seen again."""
    due: float
    """Monotonic: told by then, whatever is still looked up."""
    held_until: float = 0.0
    """Monotonic: not told before."""
    known: bool = False
    """All that could be found out about it was."""
    from_event: bool = False
    """An Event tells of it, which does not say whose the pod is."""
    controller: Owner | None = None
    """The pod's, where it is known."""
    placed: bool = False
    """The pod has a node by now."""

    def is_ready(self, now: float) -> bool:
        return now >= self.due or (self.known and now >= self.held_until)
