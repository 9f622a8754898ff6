"""What was asked of the API: the last requests, oldest first."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Entry:
    time: float
    user: str
    verb: str
    group: str
    resource: str
    subresource: str
    namespace: str
    name: str
    code: int
    path: str


class Audit:
    """A bounded record. Cheap enough to be always on."""

    def __init__(self, size: int = 50_000) -> None:
        self._entries: deque[Entry] = deque(maxlen=size)

    def add(self, entry: Entry) -> None:
        self._entries.append(entry)

    def clear(self) -> None:
        self._entries.clear()

    def __iter__(self) -> Iterator[Entry]:
        return iter(list(self._entries))

    def __len__(self) -> int:
        return len(self._entries)

    def select(self, **wanted: Any) -> list[Entry]:
        """Entries whose fields have these values: ``select(verb="create", subresource="eviction")``."""
        return [entry for entry in self if all(getattr(entry, key) == value for key, value in wanted.items())]

    def as_dicts(self, **wanted: Any) -> list[dict[str, Any]]:
        return [asdict(entry) for entry in self.select(**wanted)]
