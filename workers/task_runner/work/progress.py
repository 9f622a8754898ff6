"""How far a task at work is, for whoever looks at the agent."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Progress:
    """Written by the operation in its passes, read by the loop that publishes it: each field is replaced whole."""

    phase: str = "looking"
    """What it does or waits for, in a few words."""
    left: int = 0
    """Pods that are not gone yet."""
    held: dict[str, int] = field(default_factory=dict)
    """Pods that cannot go now, by who holds them: a budget by its name, or an admission rule."""
    held_since: float | None = None
    """Since when the one that is held longest is; monotonic seconds."""
    stuck: str = ""
    """The first few pods that should have ended long ago, each with its finalizers, and how many more there are."""

    @property
    def blocked(self) -> int:
        """Pods that are held, by whomever."""
        return sum(self.held.values())
