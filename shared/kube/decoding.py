"""Objects of the API, each by itself: one that cannot be decoded must not hide those that come after it.

The API server serves whatever its validation let through, and that is more than Python can hold: an Event may tell of
the year 0 or 10000, and ``managedFields`` may nest deeper than any decoder goes. Such a time counts as absent, and
such fields are left out. What cannot be decoded even so is skipped: counted, and logged once with its name.
"""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Iterator
from typing import Any, Generic, TypeVar

import msgspec

from shared.basics import telemetry

T = TypeVar("T")

_ODD_TIMES = 50
"""Times in one object that may be out of range; each costs another look at all of it."""

_ODD_TIME = re.compile(r"Invalid RFC3339 encoded datetime - at `\$((?:\.\w+|\[\d+\])+)`")
_STEP = re.compile(r"\.(\w+)|\[(\d+)\]")

_STRING = rb'"[^"\\]*(?:\\.[^"\\]*)*"'
_TOKEN = re.compile(_STRING + rb"|[][{},]", re.DOTALL)
_MEMBER = re.compile(rb"\s*(" + _STRING + rb")\s*:\s*(.*)", re.DOTALL)

_NAMES = 1000
"""Names of skipped objects that are remembered; beyond these they are counted only."""

_logger = logging.getLogger(__name__)


class Undecodable(Exception):
    """An object is not of the form its reader expects."""


class Decoder(Generic[T]):
    """Decodes an object of the API into ``kind``. Thread-safe."""

    def __init__(self, kind: type[T]) -> None:
        self._kind = kind
        self._typed = msgspec.json.Decoder(kind)

    def __call__(self, raw: bytes | msgspec.Raw) -> T:
        """The object in ``raw``. Raises Undecodable."""
        try:
            return self._typed.decode(raw)
        except (msgspec.DecodeError, RecursionError):
            pass
        try:
            return self._without_odd_times(_without_managed_fields(bytes(raw)))
        except (msgspec.DecodeError, RecursionError) as error:
            raise Undecodable(str(error)) from error

    def _without_odd_times(self, raw: bytes) -> T:
        content = msgspec.json.decode(raw)
        for _ in range(_ODD_TIMES):
            try:
                return msgspec.convert(content, self._kind)
            except msgspec.ValidationError as error:
                odd = _ODD_TIME.fullmatch(str(error))
                if odd is None:
                    raise
                _clear(content, odd[1])
        return msgspec.convert(content, self._kind)


def _clear(content: Any, path: str) -> None:
    """Set to null what stands at ``path``, as msgspec writes it: ``.status.conditions[1].lastTransitionTime``."""
    *way, last = [key or int(index) for key, index in _STEP.findall(path)]
    for step in way:
        content = content[step]
    content[last] = None


class Skipped:
    """The objects of one collection that could not be decoded or used. Thread-safe."""

    def __init__(self, resource: str) -> None:
        self._resource = resource
        self._lock = threading.Lock()
        self._names: set[str] = set()

    def __len__(self) -> int:
        """How many there are, as far as is known; a thousand at most."""
        return len(self._names)

    def note(self, name: str, error: BaseException) -> None:
        """One was skipped."""
        telemetry.OBJECTS_SKIPPED.labels(self._resource).inc()
        with self._lock:
            if name in self._names or len(self._names) >= _NAMES:
                return
            self._names.add(name)
        _logger.warning("%s: %s is skipped, as it cannot be read: %s", self._resource, name, str(error)[:300])

    def settled(self, name: str) -> None:
        """It is no more, or can be read now."""
        with self._lock:
            self._names.discard(name)

    def forget(self) -> None:
        """All are about to be listed again."""
        with self._lock:
            self._names.clear()


class Identity(msgspec.Struct, frozen=True):
    """What can be told of any object, however odd the rest of it."""

    name: str
    """``namespace/name``."""
    version: str
    """Its resourceVersion; empty if it does not even have that."""


def identity_of(raw: bytes) -> Identity:
    """Who the object in ``raw`` is, without decoding it."""
    metadata = members(members(raw).get("metadata", b""))
    names = [text(metadata.get(key)) for key in ("namespace", "name")]
    return Identity("/".join(name for name in names if name) or "(no name)", text(metadata.get("resourceVersion")))


def parts(raw: bytes) -> Iterator[bytes]:
    """The members of the object, or the elements of the array, in ``raw``: as they stand, however deep they go."""
    raw = raw.strip()
    if raw[:1] not in (b"{", b"["):
        return
    begin, depth = 1, 0
    for token in _TOKEN.finditer(raw, begin):
        mark = token[0]
        if mark in (b"{", b"["):
            depth += 1
        elif mark in (b"}", b"]"):
            depth -= 1
        if depth < 0 or (depth == 0 and mark == b","):
            part = raw[begin : token.start()].strip()
            if part:
                yield part
            begin = token.end()
        if depth < 0:
            return


def members(raw: bytes) -> dict[str, bytes]:
    """The keys of the object in ``raw``, each with its value as it stands; empty if it is no object."""
    found = (_MEMBER.fullmatch(part) for part in parts(raw))
    return {text(member[1]): member[2] for member in found if member is not None}


def text(raw: bytes | None) -> str:
    """A string of JSON; empty if it is none."""
    try:
        return msgspec.json.decode(raw or b'""', type=str)
    except msgspec.DecodeError:
        return ""


def _without_managed_fields(raw: bytes) -> bytes:
    """The object in ``raw`` without what nobody here reads."""
    content = members(raw)
    if "metadata" not in content:
        return raw
    metadata = {key: value for key, value in members(content["metadata"]).items() if key != "managedFields"}
    return _object({**content, "metadata": _object(metadata)})


def _object(content: dict[str, bytes]) -> bytes:
    return b"{%b}" % b",".join(b"%b:%b" % (msgspec.json.encode(key), value) for key, value in content.items())
