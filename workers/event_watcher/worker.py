"""The event-watcher's loops: events, pods, nodes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from shared.errors import AgentError
from shared.kube.connection import Kube
from shared.kube.nodes import Node, Nodes
from shared.kube.pods import PATH as PODS
from shared.kube.reads import Resource
from shared.lifecycle import Loop, Process, Worker
from shared.schemas.events import ClusterEvent
from workers.event_watcher.objects import Event, Pod
from workers.event_watcher.select import from_event, from_node, from_pod, is_node_not_ready
from workers.event_watcher.watch import Watch

EVENTS = "/api/v1/events"

_PATIENCE = 150.0
"""Seconds: a silent watch is given up after 90."""


class EventWatcher(Worker):
    """Three watches, no cache."""

    def __init__(self, process: Process, kube: Kube) -> None:
        self._process = process
        self._nodes = Nodes(kube)
        queue, clock = process.queue, process.clock
        self._watches: dict[str, Watch[Any]] = {
            "events": Watch("events", Resource(kube, EVENTS, Event), self._select_event, queue, clock, self._wanted),
            "pods": Watch("pods", Resource(kube, PODS, Pod), self._select_pod, queue, clock, self._wanted),
            "nodes": Watch("nodes", self._nodes, self._select_node, queue, clock, self._wanted, list_at_first=True),
        }

    def loops(self) -> list[Loop]:
        return [
            Loop(name, lambda name=name, watch=watch: self._follow(name, watch), patience=_PATIENCE)  # type: ignore[misc]
            for name, watch in self._watches.items()
        ]

    def _follow(self, name: str, watch: Watch[Any]) -> float:
        return watch.follow(lambda: self._process.beats.expect(name, _PATIENCE))

    def close(self, pod_stopping: bool) -> None:
        """Forward what waits for its window."""
        for watch in self._watches.values():
            watch.close()

    def _wanted(self, event: ClusterEvent) -> bool:
        settings = self._process.settings.events
        if settings.types and event.event_type not in settings.types:
            return False
        return not settings.namespaces or event.namespace is None or event.namespace in settings.namespaces

    def _select_pod(self, pod: Pod) -> Iterator[ClusterEvent]:
        return from_pod(pod, self._process.clock.now())

    def _select_node(self, node: Node) -> Iterator[ClusterEvent]:
        occurrence = from_node(node, self._process.clock.now())
        if occurrence is not None:
            yield occurrence

    def _select_event(self, event: Event) -> Iterator[ClusterEvent]:
        occurrence = from_event(event, self._process.clock.now())
        if occurrence is not None:
            yield occurrence
        elif is_node_not_ready(event):
            yield from self._look_at_node(event)

    def _look_at_node(self, event: Event) -> Iterator[ClusterEvent]:
        """The node's condition has the time of the transition, and so the id that the node's watch gives."""
        try:
            node = self._nodes.find(event.involved_object.name)
        except AgentError:
            return  # It is gone, or the node's own watch will tell.
        yield from self._select_node(node)
