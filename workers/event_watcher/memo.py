"""What must be remembered across restarts, saved in the same transaction as what was told by it.

Record by record: a put writes those that changed, however many there are.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any


class Memo(ABC):
    """Something that is kept with a checkpoint. Thread-safe where ``_lock`` is held for what changes them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._changed: set[str] = set()
        self._handed_out: set[str] = set()

    @abstractmethod
    def load(self, records: Mapping[str, Any]) -> None:
        """Take up what was saved, by key."""

    @abstractmethod
    def _record(self, key: str) -> Any:
        """What is to be saved under ``key`` now; None if it is there no more."""

    def unsaved(self) -> dict[str, Any]:
        """The records that changed, as JSON; None removes one."""
        with self._lock:
            self._handed_out, self._changed = self._handed_out | self._changed, set()
            return {key: self._record(key) for key in self._handed_out}

    def saved(self) -> None:
        """What ``unsaved`` gave is safe."""
        with self._lock:
            self._handed_out = set()

    def lost(self) -> None:
        """What ``unsaved`` gave is not: it will be given again."""
        with self._lock:
            self._changed, self._handed_out = self._changed | self._handed_out, set()
