"""What pods are doing, for all tasks at once: one watch of all pods while any task needs it.

A pod in which nobody is interested is decoded only as far as who it is, where it runs and who controls it.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

from msgspec import Raw

from shared.basics.errors import AgentError, PermanentError
from shared.basics.timing import Backoff, Clock
from shared.kube.connection import Kube
from shared.kube.decoding import Decoder
from shared.kube.objects import Owner, Struct, controller_of_owners
from shared.kube.pods import PATH, Pod, compact
from shared.kube.reads import Change, Resource
from shared.kube.watch import Broken, Lists, Watch, Watching
from workers.task_runner.work.room import Room

_logger = logging.getLogger(__name__)


class Interest(NamedTuple):
    """Which pods a task has its eye on."""

    by: str
    """``node``, ``pod`` or ``owner``."""
    key: str
    """The node's name, the pod's ``namespace/name``, the controller's UID."""


class _Meta(Struct, frozen=True):
    name: str = ""
    namespace: str = ""
    resource_version: str = ""
    owner_references: list[Owner] | None = None


class _Place(Struct, frozen=True):
    node_name: str = ""


class _Stranger(Struct, frozen=True):
    """A pod, as far as it takes to know whether anybody is interested."""

    metadata: _Meta
    spec: _Place = _Place()


def _interests_in(pod: Pod | _Stranger) -> list[Interest]:
    """All by which somebody may be interested in ``pod``."""
    meta = pod.metadata
    found = [Interest("pod", f"{meta.namespace}/{meta.name}")]
    if pod.spec.node_name:
        found.append(Interest("node", pod.spec.node_name))
    owner = controller_of_owners(meta.owner_references)
    return [*found, Interest("owner", owner.uid)] if owner else found


class View:
    """Rooms of pods, kept up to date. ``enter`` and ``leave`` may be called from any thread."""

    def __init__(self, kube: Kube, clock: Clock) -> None:
        self._kube = kube
        self._clock = clock
        self._lock = threading.Lock()
        self._rooms: dict[Interest, list[Room]] = {}
        self._watch: _PodWatch | None = None
        self.newest = ""
        """The version of the newest change that was looked at: a room that is entered later never hears of it."""

    @contextmanager
    def room(self, interest: Interest, wake: Callable[[], None]) -> Iterator[Room]:
        """A room that the pods of this ``interest`` are in; ``wake`` is called, from another thread, for news."""
        room = Room(wake)
        with self._lock:
            self._rooms.setdefault(interest, []).append(room)
            if self._watch is None:
                self.newest = ""
                self._watch = _PodWatch(self)
            else:
                # What was handed out before this room was there is older than this, and so must its list be not.
                room.since = self._watch.version
        try:
            yield room
        finally:
            self._leave(interest, room)

    def _leave(self, interest: Interest, room: Room) -> None:
        with self._lock:
            rooms = self._rooms[interest]
            rooms.remove(room)
            if not rooms:
                del self._rooms[interest]
            if not self._rooms and self._watch is not None:
                self._watch.close()
                self._watch = None

    def silent_for(self) -> float:
        """Seconds since the watch brought anything."""
        watch = self._watch
        return 0.0 if watch is None else self._clock.monotonic() - watch.heard

    def now(self) -> float:
        return self._clock.monotonic()

    def rooms_of(self, pod: Pod | _Stranger) -> list[Room]:
        """Who is interested in ``pod``."""
        if isinstance(pod, _Stranger):
            return []
        with self._lock:
            return [room for interest in _interests_in(pod) for room in self._rooms.get(interest, ())]

    def all_rooms(self) -> list[Room]:
        with self._lock:
            return [room for rooms in self._rooms.values() for room in rooms]

    def resource(self) -> Resource[Pod]:
        return Resource(self._kube, PATH, Pod, self._decode)

    def _decode(self, raw: bytes | Raw) -> Pod:
        stranger = _stranger_decoder(raw)
        self.newest = stranger.metadata.resource_version
        if any(interest in self._rooms for interest in _interests_in(stranger)):
            return compact(_pod_decoder(raw))
        return stranger  # type: ignore[return-value]  # whoever gets it asks for its rooms, and it has none


_stranger_decoder = Decoder(_Stranger)
_pod_decoder = Decoder(Pod)


class _PodWatch:
    """The watch, on a thread of its own, from the first room to the last."""

    def __init__(self, view: View) -> None:
        self._view = view
        self._watch = Watch("pods of tasks", view.resource(), self)
        self._closed = threading.Event()
        self.heard = view.now()
        threading.Thread(target=self._follow, name="view", daemon=True).start()

    @property
    def version(self) -> str | None:
        """The version of the newest change that was handed out; None before there is one."""
        state = self._watch.state
        reached = state.then if isinstance(state, Broken) else state
        return self._view.newest or reached.version if isinstance(reached, Watching) else None

    def close(self) -> None:
        self._closed.set()
        self._watch.close()

    def _follow(self) -> None:
        pauses = Backoff(0.2, 5.0)
        while not self._closed.is_set():
            try:
                pause = self._watch.turn(self._alive)
                pauses.reset()
            except Exception as error:
                pause = pauses.pause(getattr(error, "delay", None))
                whole = not isinstance(error, AgentError)  # A bug must not end the watch.
                _logger.warning("watching pods is interrupted (%s), again in %.1f s", error, pause, exc_info=whole)
                for room in self._view.all_rooms():
                    room.breaks(error) if isinstance(error, PermanentError) else room.troubled(str(error))
            self._closed.wait(pause)

    def _alive(self) -> None:
        self.heard = self._view.now()

    # -- what the watch brings ------------------------------------------------------------------------

    def begin(self, why: str) -> Lists:
        return Lists.VERSION  # Each task lists the pods it is interested in by itself.

    def page(self, items: list[Pod]) -> None:
        """Nothing is listed."""

    def listed(self, version: str) -> None:
        self._alive()
        for room in self._view.all_rooms():
            room.begins(version)

    def changed(self, bunch: list[Change[Pod]]) -> None:
        touched: dict[int, Room] = {}
        for change in bunch:
            if change.object is None and change.kind == "DELETED":
                for room in self._view.all_rooms():  # It cannot be told whose it was.
                    room.stale = True
                    touched[id(room)] = room
            elif change.object is not None:
                for room in self._view.rooms_of(change.object):
                    room.changed(change.object, change.kind == "DELETED")
                    touched[id(room)] = room
        for room in touched.values():
            room.wake()
