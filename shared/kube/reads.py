"""Lists in pages and watches, typed by the struct the reader wants its objects decoded into.

What the API server serves is decoded object by object: one that cannot be decoded is skipped (decoding.py), and the
others of its list, and the rest of its watch, are not.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Generic, TypeVar

import msgspec

from shared.kube.connection import Hangup, Kube
from shared.kube.decoding import Decoder, Skipped, Undecodable, identity_of, members, parts, text
from shared.kube.errors import KubeUnavailable, error_of, parse_event
from shared.kube.objects import ListMeta, Meta

T = TypeVar("T")

PAGE = 500
"""Objects in one page of a list."""

WATCH_SECONDS = (60.0, 90.0)
"""The API server ends a watch after a random time in this range, to spread the reconnects.

Silence is no failure: nobody promises bookmarks, and watches of events get none at all
(https://github.com/kubernetes/kubernetes/issues/120348). A connection whose other end is gone is found by TCP
keepalive; where a proxy keeps it up with nobody behind, this is how long nothing is seen.
"""

LATE = 15.0
"""Seconds by which the end of a watch may be late before the connection counts as broken."""

ALL: Mapping[str, str] = MappingProxyType({})
"""No selector."""


class Page(msgspec.Struct, Generic[T], frozen=True):
    """Part of a list."""

    items: list[T]
    metadata: ListMeta = ListMeta()
    kind: str = ""
    skipped: int = 0
    """How many more there are that could not be decoded."""


class _Event(msgspec.Struct):
    type: str
    object: msgspec.Raw


_event_decoder = msgspec.json.Decoder(_Event)
_list_meta_decoder = msgspec.json.Decoder(ListMeta)


@dataclass(frozen=True)
class Change(Generic[T]):
    """One line of a watch. ``object`` is None for a bookmark or what was skipped, which only move ``version``."""

    kind: str
    """ADDED, MODIFIED, DELETED or BOOKMARK."""
    object: T | None
    version: str


class Resource(Generic[T]):
    """A collection at ``path`` whose objects decode into ``kind``, which must have ``metadata`` with a version.

    ``decode`` replaces the decoder of ``kind``, for a reader that looks at most objects only in part; it raises
    Undecodable.
    """

    def __init__(
        self, kube: Kube, path: str, kind: type[T], decode: Callable[[bytes | msgspec.Raw], T] | None = None
    ) -> None:
        self._kube = kube
        self._path = path
        self._decode = decode or Decoder(kind)
        self._page_decoder: msgspec.json.Decoder[Page[T]] | None = None
        if decode is None:
            self._page_decoder = msgspec.json.Decoder(Page[kind])  # type: ignore[valid-type]
        self.skipped = Skipped(path.rpartition("/")[2])

    def pages(self, query: Mapping[str, str] = ALL, limit: int = PAGE) -> Iterator[Page[T]]:
        """A consistent list, page by page.

        Raises:
            Gone: the list took so long that its version is gone; start over.
            Whatever ``Kube.call`` raises.
        """
        token = ""
        while True:
            asked = {**query, "limit": limit, **({"continue": token} if token else {})}
            page = self._page_of(self._kube.get(self._path, asked))
            yield page
            token = page.metadata.continue_
            if not token:
                return

    def cached(self, query: Mapping[str, str] = ALL) -> Page[T]:
        """A list from the API server's watch cache: cheap, and maybe a moment old."""
        return self._page_of(self._kube.get(self._path, {**query, "resourceVersion": "0"}))

    def latest(self, query: Mapping[str, str] = ALL) -> list[T]:
        """A consistent list in one piece."""
        return [item for page in self.pages(query) for item in page.items]

    def changes(
        self, version: str, query: Mapping[str, str] = ALL, hangup: Hangup | None = None
    ) -> Generator[list[Change[T]], None, None]:
        """What changed after ``version``, in the bunches it comes in, until the server ends the watch.

        Whoever takes in a bunch at a time pays once for a storm's thousand changes.

        Raises:
            Gone: ``version`` is too old; list again.
            KubeUnavailable: the connection broke, did not end in time, or carried nonsense; go on from the last
                version seen.
        """
        seconds = int(random.uniform(*WATCH_SECONDS))
        asked = {
            **query,
            "watch": "1",
            "allowWatchBookmarks": "true",
            "resourceVersion": version,
            "timeoutSeconds": seconds,
        }
        for lines in self._kube.lines(self._path, asked, seconds + LATE, hangup):
            yield [change for line in lines if line and (change := self._change_of(line)) is not None]

    def decoded(self, body: bytes, what: str) -> T:
        """The one object that the answer to ``what`` ("GET /api/v1/nodes/a") consists of.

        Raises:
            KubeUnavailable: it is none; something else than the API server may have answered.
        """
        try:
            return self._decode(body)
        except Undecodable as error:
            raise KubeUnavailable(f"{what}: the answer is no such object: {error}") from error

    def skip(self, decoded: T, error: Exception) -> None:
        """Pass over an object that could be decoded, but not be used."""
        metadata: Meta = getattr(decoded, "metadata")  # noqa: B009 - any T has it, and no type says so
        self.skipped.note(metadata.full_name, error)

    def _page_of(self, body: bytes) -> Page[T]:
        """The list in ``body``: a proxy answers 200 with pages of its own, and an empty list would prove things."""
        page = self._decode_page(body)
        if not page.kind.endswith("List"):
            raise KubeUnavailable(f"GET {self._path}: the answer is no list: its kind is {page.kind[:40]!r}")
        return page

    def _decode_page(self, body: bytes) -> Page[T]:
        if self._page_decoder is not None:
            try:
                return self._page_decoder.decode(body)
            except (msgspec.DecodeError, RecursionError):
                pass  # One object spoils the whole.
        return self._page_one_by_one(body)

    def _page_one_by_one(self, body: bytes) -> Page[T]:
        content = members(body)
        items = content.get("items", b"")
        try:
            metadata = _list_meta_decoder.decode(content.get("metadata", b""))
        except msgspec.DecodeError as error:
            raise KubeUnavailable(f"GET {self._path}: the answer is no list: {error}") from error
        if not items.startswith(b"["):
            raise KubeUnavailable(f"GET {self._path}: the answer is no list: its items are {items[:20]!r}")
        every = [self._decode_or_skip(raw) for raw in parts(items)]
        decoded = [item for item in every if item is not None]
        return Page(decoded, metadata, text(content.get("kind")), len(every) - len(decoded))

    def _decode_or_skip(self, raw: bytes | msgspec.Raw) -> T | None:
        try:
            return self._decode(raw)
        except Undecodable as error:
            self.skipped.note(identity_of(bytes(raw)).name, error)
            return None

    def _change_of(self, line: bytes) -> Change[T] | None:
        """The change in a line; None where one was skipped that does not even have a version."""
        event = _event_of(line, self._path)
        if event.type == "ERROR":
            raise error_of(parse_event(bytes(event.object)), f"watch {self._path}")
        decoded = self._decode_or_skip(event.object) if event.type != "BOOKMARK" else None
        if decoded is not None and not self.skipped:
            return Change(event.type, decoded, _version_of(decoded))
        identity = identity_of(bytes(event.object))
        if decoded is not None or event.type == "DELETED":
            self.skipped.settled(identity.name)
        return Change(event.type, decoded, identity.version) if identity.version else None


def _event_of(line: bytes, path: str) -> _Event:
    try:
        return _event_decoder.decode(line)
    except (msgspec.DecodeError, RecursionError) as error:
        content = members(line) if isinstance(error, RecursionError) else {}
        if not {"type", "object"} <= content.keys():
            raise KubeUnavailable(f"watch {path}: a line that is no event: {error}") from error
        return _Event(content["type"].decode("utf-8", "replace").strip('"'), msgspec.Raw(content["object"]))


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
