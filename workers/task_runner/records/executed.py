"""Which tasks were executed: of many more than the journal has records of, a digest of the id.

In blocks, each a key of the queue's state: one is small enough to be written with every result, and all together
are read in one piece.
"""

from __future__ import annotations

import logging
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from hashlib import blake2b
from typing import Any

from shared.process.state import EXECUTED

BLOCK = 200
"""Ids in a block."""

BLOCKS = 101
"""Blocks; the last one is being filled, so that at least 20,000 ids are known: twice the results that may wait."""

_logger = logging.getLogger(__name__)


class Executed:
    """A ring of blocks of digests. Not thread-safe."""

    def __init__(self) -> None:
        self._blocks: dict[int, list[str]] = {0: []}
        """By number, the newest last; a number's key is taken over by the one ``BLOCKS`` later."""
        self._known: set[str] = set()

    def load(self, records: Mapping[str, Any]) -> None:
        """Take up what an earlier run wrote: the values by key."""
        found: dict[int, list[str]] = {}
        for key, record in records.items():
            try:
                found[int(record["number"])] = [str(digest) for digest in record["ids"]]
            except (KeyError, TypeError, ValueError) as error:  # What another version wrote must not stop this one.
                _logger.error("the journal's record %s cannot be read, it is left alone: %s", key, error)
        self._blocks = {number: found[number] for number in sorted(found)} or {0: []}
        self._known = {digest for block in self._blocks.values() for digest in block}

    def __contains__(self, task_id: str) -> bool:
        return _digest(task_id) in self._known

    def record(self, task_id: str) -> dict[str, Any]:
        """The state that makes the task known, to be written before ``add``."""
        number, ids = self._next()
        return {f"{EXECUTED}{number % BLOCKS}": {"number": number, "ids": [*ids, _digest(task_id)]}}

    def add(self, task_id: str) -> None:
        """Know the task; the oldest block goes when there are too many."""
        number, ids = self._next()
        self._blocks[number] = [*ids, _digest(task_id)]
        self._known.add(_digest(task_id))
        if len(self._blocks) > BLOCKS:
            self._known.difference_update(self._blocks.pop(min(self._blocks)))

    def _next(self) -> tuple[int, list[str]]:
        """The block that is being filled."""
        number = max(self._blocks)
        return (number, self._blocks[number]) if len(self._blocks[number]) < BLOCK else (number + 1, [])


def _digest(task_id: str) -> str:
    """Of one length, however long the id is."""
    return urlsafe_b64encode(blake2b(task_id.encode(), digest_size=12).digest()).decode()
