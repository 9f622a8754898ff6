"""Follows a collection for good: a machine of three states, after kube-rs' ``watcher.rs``.

::

              ┌──── 410: the version is too old ────┐
              ▼                                     │
    ┌──▶ Listing ── the list is complete ──▶ Watching ──┐ the server ends the watch in good order
    │         │                              ▲  │   ▲   │
    │    it fails                            │  │   └───┘
    │         ▼                              │  │ it breaks
    └────── Broken ◀─────────────────────────┼──┘
              └──────── after a pause ───────┘

One turn goes on until a watch ends or something fails; the caller makes the pauses, as a worker's loop does. Each
bunch of changes is handed over once: a reader that raises is not given it again, so that no bunch can hold up the
watch for good.

https://github.com/kube-rs/kube/blob/main/kube-runtime/src/watcher.rs
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Generic, Protocol, TypeVar

from shared.basics import telemetry
from shared.basics.timing import jittered
from shared.kube.connection import Hangup
from shared.kube.errors import Gone, KubeUnavailable
from shared.kube.reads import ALL, Change, Resource

T = TypeVar("T")

SHORT = 1.0
"""Seconds; a watch that ended sooner with nothing in it is not opened again at once: an empty 200 must not make us
spin."""

_logger = logging.getLogger(__name__)


class Lists(Enum):
    """What is listed where there is no version to go on from."""

    WHOLE = "whole"
    """Every object, in pages of one consistent list."""
    VERSION = "version"
    """The version of now, and no object: the reader does not look back, or lists by itself what it wants to know."""


class Reader(Protocol[T]):
    """Takes in what a watch brings, on the thread that turns it. What it raises ends the turn."""

    def begin(self, why: str) -> Lists:
        """A list begins (``first``, ``gone``, or what ``list_again`` was told): what shall be listed?"""

    def page(self, items: list[T]) -> None:
        """Some of the list's objects."""

    def listed(self, version: str) -> None:
        """The list is complete; changes after ``version`` follow."""

    def changed(self, bunch: list[Change[T]]) -> None:
        """Changes that came together; never none."""


@dataclass(frozen=True)
class Listing:
    """There is no version to go on from: a list gives one."""

    why: str


@dataclass(frozen=True)
class Watching:
    """Changes after ``version`` are taken in as they come."""

    version: str


@dataclass(frozen=True)
class Broken:
    """The last attempt failed; after a pause the next one goes on as ``then``."""

    why: str
    then: Listing | Watching


class Watch(Generic[T]):
    """Follows ``resource`` on behalf of ``reader``, from ``version`` on or from a list.

    ``turn`` belongs to one thread; ``list_again`` and ``close`` may be called from any.
    """

    def __init__(
        self, name: str, resource: Resource[T], reader: Reader[T], version: str = "", query: Mapping[str, str] = ALL
    ) -> None:
        self._name = name
        self._resource = resource
        self._reader = reader
        self._query = query
        self._lock = threading.Lock()
        self._hangup = Hangup()
        self._asked: Listing | None = None
        self.closed = False
        self.state: Listing | Watching | Broken = Watching(version) if version else Listing("first")

    def turn(self, alive: Callable[[], None] = lambda: None) -> float:
        """List if there is need to, then watch until the watch ends; the seconds until the next turn is due.

        ``alive`` is called for each page and bunch.

        Raises:
            TemporaryError, PermanentError: nothing came of it; the next turn goes on from what was taken in last.
        """
        if self.closed:
            return 0.0
        state, hangup = self._begin()
        try:
            if isinstance(state, Listing):
                state = self.state = self._list(state, alive)
            return self._watch(state, hangup, alive)
        except Exception as error:
            present = self.state
            self.state = Broken(str(error), present.then if isinstance(present, Broken) else present)
            raise

    def list_again(self, why: str) -> None:
        """End the present watch; the next turn begins with a list."""
        with self._lock:
            self._asked = Listing(why)
            self._hangup.use()

    def close(self) -> None:
        """End the turn in progress, and any later one, at once."""
        with self._lock:
            self.closed = True
            self._hangup.use()

    def _begin(self) -> tuple[Listing | Watching, Hangup]:
        with self._lock:
            if self._asked is not None:
                self.state, self._asked, self._hangup = self._asked, None, Hangup()
            elif isinstance(self.state, Broken):
                self.state = self.state.then
            return self.state, self._hangup

    def _list(self, state: Listing, alive: Callable[[], None]) -> Watching:
        telemetry.RELISTS.labels(self._name, state.why).inc()
        self._resource.skipped.forget()
        version, whole = "", self._reader.begin(state.why) is Lists.WHOLE
        for page in self._resource.pages(self._query) if whole else self._resource.pages(self._query, limit=1):
            version = version or page.metadata.resource_version
            if not whole:
                break
            self._reader.page(page.items)
            alive()
        self._reader.listed(version)
        return Watching(version)

    def _watch(self, state: Watching, hangup: Hangup, alive: Callable[[], None]) -> float:
        started, moved = time.monotonic(), False
        try:
            with contextlib.closing(self._resource.changes(state.version, self._query, hangup)) as bunches:
                for bunch in bunches:
                    moved = True
                    if bunch:
                        self.state = Watching(bunch[-1].version or state.version)
                        self._reader.changed(bunch)
                    alive()
        except Gone as error:
            _logger.info("%s: %s; listing again", self._name, error)
            self.state = Listing("gone")
            return jittered(SHORT, 0.9)
        except KubeUnavailable as error:
            if not moved:
                raise
            # It was worth something, so this is no failure after the failures of earlier days.
            _logger.warning("%s: the watch broke: %s", self._name, error)
            return jittered(SHORT, 0.9)
        if hangup.used:
            return 0.0
        telemetry.RECONNECTS.labels(f"watch {self._name}").inc()
        return 0.0 if moved or time.monotonic() - started > SHORT else jittered(SHORT, 0.5)
