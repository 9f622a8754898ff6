"""Lists in pages and watches, typed by the struct the reader wants its objects decoded into."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Generic, TypeVar

import msgspec

from shared.kube.connection import Hangup, Kube
from shared.kube.errors import KubeUnavailable, error_of, parse_event
from shared.kube.objects import ListMeta, Meta

T = TypeVar("T")

PAGE = 500
"""Objects in one page of a list."""

WATCH_SECONDS = (240.0, 480.0)
"""A watch ends by itself after a random time in this range, as client-go's do, to spread the reconnects."""

BOOKMARK_SILENCE = 90.0
"""Seconds without a line after which a watch counts as half-open: bookmarks come about every 60 s."""


ALL: Mapping[str, str] = MappingProxyType({})
"""No selector."""


class Page(msgspec.Struct, Generic[T], frozen=True):
    """Part of a list."""

    items: list[T] = []
    metadata: ListMeta = ListMeta()


class _Event(msgspec.Struct):
    type: str
    object: msgspec.Raw


class _Bookmark(msgspec.Struct):
    metadata: Meta


_event_decoder = msgspec.json.Decoder(_Event)
_bookmark_decoder = msgspec.json.Decoder(_Bookmark)


@dataclass(frozen=True)
class Change(Generic[T]):
    """One line of a watch. ``object`` is None for a bookmark, which only moves ``version``."""

    kind: str
    """ADDED, MODIFIED, DELETED or BOOKMARK."""
    object: T | None
    version: str


class Resource(Generic[T]):
    """A collection at ``path`` whose objects decode into ``kind``, which must have ``metadata: Meta``."""

    def __init__(self, kube: Kube, path: str, kind: type[T]) -> None:
        self._kube = kube
        self._path = path
        self._object_decoder = msgspec.json.Decoder(kind)
        self._page_decoder: msgspec.json.Decoder[Page[T]] = msgspec.json.Decoder(Page[kind])  # type: ignore[valid-type]

    def pages(self, query: Mapping[str, str] = ALL, limit: int = PAGE) -> Iterator[Page[T]]:
        """A consistent list, page by page.

        Raises:
            Gone: the list took so long that its version is gone; start over.
            Whatever ``Kube.call`` raises.
        """
        token = ""
        while True:
            asked = {**query, "limit": limit, **({"continue": token} if token else {})}
            page = self._decode_page(self._kube.get(self._path, asked))
            yield page
            token = page.metadata.continue_
            if not token:
                return

    def cached(self, query: Mapping[str, str] = ALL) -> Page[T]:
        """A list from the API server's watch cache: cheap, and maybe a moment old."""
        return self._decode_page(self._kube.get(self._path, {**query, "resourceVersion": "0"}))

    def latest(self, query: Mapping[str, str] = ALL) -> list[T]:
        """A consistent list in one piece."""
        return [item for page in self.pages(query) for item in page.items]

    def changes(
        self,
        version: str,
        query: Mapping[str, str] = ALL,
        seconds: float | None = None,
        silence: float = BOOKMARK_SILENCE,
        hangup: Hangup | None = None,
    ) -> Iterator[list[Change[T]]]:
        """What changed after ``version``, in the bunches it comes in, until the server ends the watch.

        Whoever takes in a bunch at a time pays once for a storm's thousand changes.

        Raises:
            Gone: ``version`` is too old; list again.
            KubeUnavailable: the connection broke, was silent, or carried nonsense; go on from the last
                version seen.
        """
        asked = {
            **query,
            "watch": "1",
            "allowWatchBookmarks": "true",
            "resourceVersion": version,
            "timeoutSeconds": int(seconds if seconds is not None else random.uniform(*WATCH_SECONDS)),
        }
        for lines in self._kube.lines(self._path, asked, silence, hangup):
            try:
                yield [self._decode_change(line) for line in lines if line]
            except msgspec.DecodeError as error:
                raise KubeUnavailable(f"watch {self._path}: a line that is no event: {error}") from error

    def _decode_page(self, body: bytes) -> Page[T]:
        try:
            return self._page_decoder.decode(body)
        except msgspec.DecodeError as error:
            raise KubeUnavailable(f"GET {self._path}: the answer is no list: {error}") from error

    def _decode_change(self, line: bytes) -> Change[T]:
        event = _event_decoder.decode(line)
        if event.type == "ERROR":
            raise error_of(parse_event(bytes(event.object)), f"watch {self._path}")
        if event.type == "BOOKMARK":
            bookmark = _bookmark_decoder.decode(event.object)
            return Change(event.type, None, bookmark.metadata.resource_version)
        decoded = self._object_decoder.decode(event.object)
        return Change(event.type, decoded, _version_of(decoded))


def _version_of(decoded: Any) -> str:
    version: str = decoded.metadata.resource_version
    return version


def selectors(label: Mapping[str, str] | None = None, **fields: str) -> dict[str, str]:
    """Query parameters of equality selectors: ``selectors(spec_nodeName="a")``."""
    query = {}
    if fields:
        query["fieldSelector"] = ",".join(f"{key.replace('_', '.')}={value}" for key, value in fields.items())
    if label:
        query["labelSelector"] = ",".join(f"{key}={value}" for key, value in label.items())
    return query
