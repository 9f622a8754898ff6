"""The one way in which an operation waits: it says when to look again, and is looked at earlier if something happens.

Operations are coroutines that await nothing else, so that a task that waits for hours costs its frames and no
thread. ``passes.py`` runs them.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Generator
from typing import Any

WAITS_FOR_NEWS = float("inf")


class until:
    """Wait until ``moment`` (monotonic seconds), or until the story is woken. It may be woken for nothing: look."""

    def __init__(self, moment: float = WAITS_FOR_NEWS) -> None:
        self._moment = moment

    def __await__(self) -> Generator[float, None, None]:
        yield self._moment


Telling = Coroutine[float, None, None]
"""An operation: each ``send(None)`` is one pass, which gives the moment of the next."""


class Story:
    """An operation under way. ``wake`` may be called from any thread, and before the telling began."""

    def __init__(self) -> None:
        self.due = 0.0
        self.asleep = False
        """Whether it waits; one that does not will look at everything by itself."""
        self.woken = False
        self._telling: Telling | None = None
        self._on_wake: Callable[[Story], None] | None = None

    def begin(self, telling: Telling, on_wake: Callable[[Story], None]) -> None:
        self._telling, self._on_wake = telling, on_wake

    def wake(self) -> None:
        """Something happened that the operation may be waiting for."""
        if self._on_wake is not None:
            self._on_wake(self)

    def tell(self) -> float | None:
        """One pass: the moment of the next; None when the story is over. Raises what the operation raises."""
        assert self._telling is not None
        try:
            moment: Any = self._telling.send(None)
        except StopIteration:
            return None
        return float(moment)

    def abandon(self) -> None:
        """Let go of an operation that will not be looked at again."""
        if self._telling is not None:
            self._telling.close()
