"""Follows a few pods on a thread of its own: a list, then a watch, and both again when it breaks."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from shared.basics import logs
from shared.basics.errors import PermanentError, TemporaryError
from shared.basics.timing import Backoff
from shared.kube.connection import Hangup
from shared.kube.errors import Gone
from shared.kube.pods import Pod, Pods

_WATCH_SECONDS = 300.0

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Listed:
    """All the pods there are, as of a resourceVersion."""

    pods: list[Pod]
    version: str


@dataclass(frozen=True)
class Seen:
    """A pod appeared or changed."""

    pod: Pod


@dataclass(frozen=True)
class Removed:
    """A pod is no more."""

    pod: Pod


@dataclass(frozen=True)
class Broken:
    """Following is impossible; ``error`` says why."""

    error: PermanentError


class Follower:
    """Puts Listed, Seen, Removed and Broken into ``inbox`` until closed. Use as a context manager."""

    def __init__(self, pods: Pods, query: Mapping[str, str]) -> None:
        self.inbox: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._pods = pods
        self._query = query
        self._hangup = Hangup()
        self._closed = threading.Event()
        target = logs.carried().run
        self._thread = threading.Thread(target=target, args=(self._follow,), name="follower", daemon=True)

    def __enter__(self) -> Follower:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closed.set()
        self._hangup.use()

    def _follow(self) -> None:
        pauses = Backoff(0.2, 5.0)
        while not self._closed.is_set():
            try:
                page = self._pods.cached(self._query)
                self.inbox.put(Listed(page.items, page.metadata.resource_version))
                self._watch(page.metadata.resource_version, pauses)
            except PermanentError as error:
                self.inbox.put(Broken(error))
                return
            except TemporaryError as error:
                pause = pauses.pause(error.delay)
                _logger.info("watching pods is interrupted (%s), again in %.1f s", error, pause)
                self._closed.wait(pause)
            except Exception as error:
                self.inbox.put(Broken(PermanentError(f"following pods failed unexpectedly: {error}")))
                raise

    def _watch(self, version: str, pauses: Backoff) -> None:
        """Watch from ``version`` for as long as watches end in good order."""
        while not self._closed.is_set():
            try:
                changes = self._pods.changes(version, self._query, self._hangup)
                for change in (change for bunch in changes for change in bunch):
                    version = change.version
                    pauses.reset()
                    if change.object is not None:
                        gone = change.kind == "DELETED"
                        self.inbox.put(Removed(change.object) if gone else Seen(change.object))
            except Gone:
                self._closed.wait(pauses.pause())  # A list that is too old at once must not be made without a pause.
                return
            # A server that ends each watch at once must not be asked without a pause.
            self._closed.wait(pauses.pause())
