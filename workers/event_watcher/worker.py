"""The event-watcher's loops: events, pods, nodes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

from shared.basics.errors import AgentError
from shared.kube.connection import Kube
from shared.kube.nodes import Node, Nodes
from shared.kube.objects import controller_of
from shared.kube.pods import pod_path
from shared.kube.reads import Resource
from shared.process.lifecycle import Loop, Process, Worker
from shared.schemas.events import ClusterEvent
from workers.event_watcher.aggregate import Aggregator, Allowance
from workers.event_watcher.objects import Event, Pod
from workers.event_watcher.relay import Relay
from workers.event_watcher.select import from_event, from_node, from_pod, is_node_not_ready, owner_name

_PATIENCE = 150.0
"""Seconds: a silent watch ends after 90."""


class EventWatcher(Worker):
    """Three watches, no cache."""

    def __init__(self, process: Process, kube: Kube) -> None:
        self._process = process
        self._kube = kube
        self._nodes = Nodes(kube)
        self._looks = Allowance(rate=5.0, burst=20)
        queue, clock, shared = process.queue, process.clock, Aggregator()
        self._pods = Resource(kube, f"{self._only_namespace()}/pods", Pod)
        # Those about nodes, which are wanted whatever the namespaces, stand in the namespace default.
        events = Resource(kube, "/api/v1/events", Event)
        self._relays: dict[str, Relay[Any]] = {
            "events": Relay("events", events, self._select_event, queue, clock, self._with_owner, aggregator=shared),
            "pods": Relay("pods", self._pods, self._select_pod, queue, clock, aggregator=shared),
            "nodes": Relay(
                "nodes", self._nodes, self._select_node, queue, clock, list_at_first=True, aggregator=shared
            ),
        }

    def _only_namespace(self) -> str:
        """The API's path for the one namespace whose pods are watched, or for all of them."""
        wanted = self._process.settings.events.namespaces
        return f"/api/v1/namespaces/{quote(wanted[0])}" if len(wanted) == 1 else "/api/v1"

    def loops(self) -> list[Loop]:
        return [
            Loop(name, lambda name=name, relay=relay: self._follow(name, relay), patience=_PATIENCE)  # type: ignore[misc]
            for name, relay in self._relays.items()
        ]

    def _follow(self, name: str, relay: Relay[Any]) -> float:
        return relay.follow(lambda: self._process.beats.expect(name, _PATIENCE))

    def close(self, pod_stopping: bool) -> None:
        """Forward what waits for its window."""
        for relay in self._relays.values():
            relay.close()

    def _wanted(self, event: ClusterEvent | None) -> Iterator[ClusterEvent]:
        """``event``, if the operator's filters let it through."""
        settings = self._process.settings.events
        if event is None or event.event_type not in settings.types:
            return
        if not settings.namespaces or event.namespace is None or event.namespace in settings.namespaces:
            yield event

    def _select_pod(self, pod: Pod) -> Iterator[ClusterEvent]:
        for event in from_pod(pod, self._process.clock.now()):
            yield from self._wanted(event)

    def _select_node(self, node: Node) -> Iterator[ClusterEvent]:
        return self._wanted(from_node(node, self._process.clock.now()))

    def _select_event(self, event: Event) -> Iterator[ClusterEvent]:
        if is_node_not_ready(event):
            return self._look_at_node(event)
        return self._wanted(from_event(event, self._process.clock.now()))

    def _look_at_node(self, event: Event) -> Iterator[ClusterEvent]:
        """The node's condition has the time of the transition, and so the id that the node's watch gives."""
        try:
            node = self._nodes.find(event.involved_object.name)
        except AgentError:
            return  # It is gone, or the node's own watch will tell.
        yield from self._select_node(node)

    def _with_owner(self, event: ClusterEvent) -> ClusterEvent:
        """An Event object does not say who owns its pod; at first sight, and not in a storm, the pod is asked."""
        if event.kind != "Pod" or event.namespace is None or not self._looks.lets_through("", time.monotonic()):
            return event
        try:
            path = pod_path(event.namespace, event.name)
            pod = self._pods.decoded(self._kube.get(path), f"GET {path}")
        except AgentError:
            return event
        owner, node = owner_name(controller_of(pod.metadata)), pod.spec.node_name
        return event.model_copy(update={"owner": owner, "node_name": event.node_name or node or None})
