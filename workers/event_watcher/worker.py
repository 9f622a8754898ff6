"""The event-watcher's loops: three watches, what is looked up beside them, and what is told in time."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

from shared.kube.connection import Kube
from shared.kube.nodes import PATH as NODES
from shared.kube.reads import Resource
from shared.process.lifecycle import Loop, Process, Worker
from workers.event_watcher.aggregate import Aggregator
from workers.event_watcher.lookups import Lookups
from workers.event_watcher.objects import Event, Node, Pod
from workers.event_watcher.outages import Outages
from workers.event_watcher.pending import Pending
from workers.event_watcher.relay import Relay
from workers.event_watcher.sights import notices
from workers.event_watcher.sights.events import from_event, is_node_not_ready
from workers.event_watcher.sights.pods import from_pod
from workers.event_watcher.sights.sight import Sight
from workers.event_watcher.unplaced import Unplaced
from workers.event_watcher.work import OwnWork

_PATIENCE = 150.0
"""Seconds: a silent watch ends after 90."""

_LOOK = 0.25
_LOOK_AT_REST = 5.0
"""Seconds between two looks at what is due: while something waits, and while nothing does."""

_LOOKUP_THREADS = 2


class EventWatcher(Worker):
    """Three watches, no cache."""

    def __init__(self, process: Process, kube: Kube) -> None:
        self._process = process
        queue, clock, shared = process.queue, process.clock, Aggregator()
        self._work = OwnWork(queue, clock)
        self._outages = Outages(self._work.on_node)
        self._unplaced = Unplaced()
        self._wake = threading.Event()
        self._lookups = Lookups(kube, self._work, self._unplaced, process.stop, self._wake.set)
        pods = Resource(kube, f"{self._only_namespace()}/pods", Pod)
        # Those about nodes, which are wanted whatever the namespaces, stand in the namespace default.
        events = Resource(kube, "/api/v1/events", Event)
        self._relay_of_nodes = Relay(
            "nodes",
            Resource(kube, NODES, Node),
            self._select_node,
            queue,
            clock,
            self._complete,
            self._outages.gone,
            list_at_first=True,
            aggregator=shared,
            memo=self._outages,
        )
        self._relays: dict[str, Relay[Any]] = {
            "events": Relay(
                "events",
                events,
                self._select_event,
                queue,
                clock,
                self._complete,
                aggregator=shared,
                unplaced=self._unplaced,
                memo=self._unplaced,
            ),
            "pods": Relay(
                "pods", pods, self._select_pod, queue, clock, self._complete, self._unplaced.gone, aggregator=shared
            ),
            "nodes": self._relay_of_nodes,
        }

    def _only_namespace(self) -> str:
        """The API's path for the one namespace whose pods are watched, or for all of them."""
        wanted = self._process.settings.events.namespaces
        return f"/api/v1/namespaces/{quote(wanted[0])}" if len(wanted) == 1 else "/api/v1"

    def loops(self) -> list[Loop]:
        return [
            *(
                Loop(name, lambda name=name, relay=relay: self._follow(name, relay), patience=_PATIENCE)  # type: ignore[misc]
                for name, relay in self._relays.items()
            ),
            Loop("tell", self.tell),
            Loop("own work", self._work.follow),
            *(Loop(f"look-ups {number + 1}", self._lookups.run) for number in range(_LOOKUP_THREADS)),
        ]

    def _follow(self, name: str, relay: Relay[Any]) -> float:
        return relay.follow(lambda: self._process.beats.expect(name, _PATIENCE))

    def tell(self) -> float:
        """Forward what is due, and wait a moment or for something to be known; the seconds until the next time."""
        self._relay_of_nodes.take_in(
            sight for sight in self._outages.due(self._process.clock.now()) for sight in self._wanted(sight)
        )
        waiting = [relay.forward() for relay in self._relays.values()]
        self._wake.wait(_LOOK if any(waiting) else _LOOK_AT_REST)
        self._wake.clear()
        return 0.0

    def close(self, pod_stopping: bool) -> None:
        """Forward what waits, with what is known of it."""
        for relay in self._relays.values():
            relay.close()

    def _complete(self, pending: Pending) -> None:
        self._lookups.ask(pending)
        self._wake.set()

    def _wanted(self, sight: Sight | None) -> Iterator[Sight]:
        """``sight``, if the operator's filters let it through."""
        settings = self._process.settings.events
        if sight is None or sight.event.event_type not in settings.types:
            return
        if not settings.namespaces or sight.event.namespace is None or sight.event.namespace in settings.namespaces:
            yield sight

    def _select_pod(self, pod: Pod) -> Iterator[Sight]:
        now = self._process.clock.now()
        self._unplaced.saw(pod)
        for sight in from_pod(pod, now):
            yield from self._wanted(self._outages.marked_if_late(sight, now))

    def _select_node(self, node: Node) -> Iterator[Sight]:
        now = self._process.clock.now()
        for notice in notices.from_node(node, now):
            yield from self._wanted(notice)
        yield from self._wanted(self._outages.saw(node, now))

    def _select_event(self, event: Event) -> Iterator[Sight]:
        if is_node_not_ready(event):
            # The node's condition has the time of the transition, and so the id that the node's own watch gives.
            self._lookups.ask_node(
                event.involved_object.name, lambda node: self._relay_of_nodes.take_in(self._select_node(node))
            )
            return iter(())
        return self._wanted(from_event(event, self._process.clock.now()))
