"""Watch streams: one line of JSON for each change, bookmarks, and the ways a stream ends."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterable, Iterator
from queue import Empty

from tests.sim.kube.lists import ListOptions, parse_version
from tests.sim.kube.resources import EVENTS, NODES, PODS, Object, Resource
from tests.sim.kube.status import ApiError, expired, version_too_large
from tests.sim.kube.store import Change, Store, Stored, Subscription, TooOld, encode

_BLANK: dict[Resource, Object] = {
    NODES: {"spec": {}, "status": {}},
    PODS: {"spec": {"containers": None}, "status": {}},
}
"""What else a bookmark holds: the typed server shows required fields of an empty object."""

Show = Callable[[Stored], bytes]


class Cut(Exception):
    """The stream ends without the last chunk, as when a connection breaks."""


class Watch:
    """One watcher's view of a resource."""

    def __init__(
        self, store: Store, resource: Resource, namespace: str | None, options: ListOptions, show: Show | None = None
    ) -> None:
        """``show`` renders objects other than as plain JSON."""
        self._store, self._resource, self._namespace = store, resource, namespace
        self._options, self._show = options, show
        self._said = 0
        """The revision that the watcher knows it has seen everything up to."""

    def stream(self, bookmark_interval: float) -> Generator[list[bytes], None, None]:
        """Batches of lines until the timeout."""
        try:
            subscription, initial, revision = self._begin()
        except ApiError as refusal:
            yield [_line("ERROR", encode(refusal.body()))]
            return
        self._said = revision if self._from_start else parse_version(self._options.version)
        try:
            yield self._lines(initial)
            if self._from_start and self._options.bookmarks:
                yield [self._bookmark(revision, {"annotations": {"k8s.io/initial-events-end": "true"}})]
            yield from self._follow(subscription, bookmark_interval)
        finally:
            self._store.unfollow(subscription)

    @property
    def _from_start(self) -> bool:
        return self._options.initial_events or not parse_version(self._options.version)

    def _begin(self) -> tuple[Subscription, list[Change], int]:
        """The subscription, what comes before its changes, and up to which revision that is."""
        store, resource = self._store, self._resource
        with store.lock:
            since = parse_version(self._options.version)
            if since > store.revision:
                raise version_too_large(since, store.revision)
            if self._from_start:
                subscription, _ = store.follow((resource,))
                present = store.all(resource, self._namespace)
                initial = [Change(resource, stored.revision, stored, None) for stored in present]
                return subscription, initial, store.revision
            try:
                return *store.follow((resource,), since), store.revision
            except TooOld:
                raise expired(f"too old resource version: {since} ({store.oldest})") from None

    def _follow(self, subscription: Subscription, bookmark_interval: float) -> Iterator[list[bytes]]:
        started = time.monotonic()
        timeout = self._options.timeout
        deadline = started + timeout if timeout else float("inf")
        last_bookmark = deadline - min(2.0, (timeout or 0) / 2)
        next_bookmark = min(started + bookmark_interval, last_bookmark) if self._bookmarks else float("inf")
        while (now := time.monotonic()) < deadline:
            lines = self._lines(_waiting(subscription, min(deadline, next_bookmark) - now))
            if time.monotonic() >= next_bookmark:
                lines += self._caught_up(subscription)
                sent_last = next_bookmark >= last_bookmark
                next_bookmark = float("inf") if sent_last else min(now + bookmark_interval, last_bookmark)
            if lines and not subscription.frozen:
                yield lines

    @property
    def _bookmarks(self) -> bool:
        """Whether there are any: events are not served from the watch cache, which is what sends them.

        https://github.com/kubernetes/kubernetes/issues/120348
        """
        return self._options.bookmarks and self._resource is not EVENTS

    def _caught_up(self, subscription: Subscription) -> list[bytes]:
        """A bookmark, and before it every change up to its version: who starts from it must miss nothing.

        None where nothing in the whole store has changed since the last one.
        """
        with self._store.lock:
            changes, revision = list(_waiting(subscription, 0)), self._store.revision
        lines = self._lines(changes)
        if revision > self._said:
            self._said = revision
            lines.append(self._bookmark(revision))
        return lines

    def _lines(self, changes: Iterable[Change]) -> list[bytes]:
        return [line for change in changes if (line := self._event(change))]

    def _event(self, change: Change) -> bytes | None:
        """The line this watcher sees of a change, if any."""
        now = change.object is not None and self._selects(change.object)
        before = change.previous is not None and self._selects(change.previous)
        if not now and not before:
            return None
        kind = "DELETED" if not now else "MODIFIED" if before else "ADDED"
        return change.line(kind) if self._show is None else _line(kind, self._show(change.shown(kind)))

    def _selects(self, stored: Stored) -> bool:
        return self._namespace in (None, stored.namespace) and self._options.selects(stored.object)

    def _bookmark(self, revision: int, more: Object | None = None) -> bytes:
        metadata = {"resourceVersion": str(revision), **(more or {})}
        marker = Stored(self._resource, "", {"metadata": metadata, **_BLANK.get(self._resource, {})}, revision)
        return _line("BOOKMARK", self._show(marker) if self._show else marker.document)


def _waiting(subscription: Subscription, pause: float) -> Iterator[Change]:
    """All changes that have come, after waiting for the first."""
    queue = subscription.queue
    try:
        change = queue.get(timeout=max(0.0, pause)) if pause != float("inf") else queue.get()
        while change is not None:
            yield change
            change = queue.get_nowait()
    except Empty:
        return
    raise Cut


def _line(kind: str, document: bytes) -> bytes:
    return b'{"type":"%s","object":%s}\n' % (kind.encode(), document)
