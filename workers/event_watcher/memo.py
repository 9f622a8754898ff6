"""What must be remembered across restarts, saved in the same transaction as what was told by it.

Record by record: a put writes those that changed, however many there are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol


class Memo(Protocol):
    """Something that is kept with a checkpoint."""

    def load(self, records: Mapping[str, Any]) -> None:
        """Take up what was saved, by key."""

    def unsaved(self) -> dict[str, Any]:
        """The records that changed, as JSON; None removes one."""

    def saved(self) -> None:
        """What ``unsaved`` gave is safe."""

    def lost(self) -> None:
        """What ``unsaved`` gave is not: it will be given again."""


class Dirty:
    """Which records changed since they were saved. Not thread-safe: its owner has a lock."""

    def __init__(self) -> None:
        self._changed: set[str] = set()
        self._handed_out: set[str] = set()

    def add(self, key: str) -> None:
        self._changed.add(key)

    def hand_out(self, record_of: Callable[[str], Any]) -> dict[str, Any]:
        """The changed ones with what ``record_of`` gives for each now."""
        self._handed_out, self._changed = self._handed_out | self._changed, set()
        return {key: record_of(key) for key in self._handed_out}

    def saved(self) -> None:
        self._handed_out = set()

    def lost(self) -> None:
        self._changed, self._handed_out = self._changed | self._handed_out, set()
