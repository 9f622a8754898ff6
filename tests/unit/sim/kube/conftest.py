"""A small hollow cluster and a plain HTTP client for it."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from contextlib import closing
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import pytest

from tests.sim.kube.cluster import Cluster
from tests.sim.kube.resources import Object


class Answer(NamedTuple):
    status: int
    body: Any
    headers: dict[str, str]


class Caller:
    """One request at a time, each over a connection of its own."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    def __call__(
        self,
        method: str,
        path: str,
        body: Any = None,
        kind: str = "application/json",
        token: str | None = None,
        accept: str = "application/json",
    ) -> Answer:
        headers = {"Content-Type": kind, "Accept": accept}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        data = body if body is None or isinstance(body, str) else json.dumps(body)
        address = urlsplit(self._cluster.url).netloc
        with closing(http.client.HTTPConnection(address, timeout=60)) as connection:
            connection.request(method, path, data, headers)
            response = connection.getresponse()
            raw, found = response.read(), dict(response.getheaders())
        parsed = json.loads(raw) if found["Content-Type"] == "application/json" and raw else raw.decode()
        return Answer(response.status, parsed, found)

    def evict(self, namespace: str, name: str, **options: Any) -> Answer:
        body: Object = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name}}
        if options:
            body["deleteOptions"] = options
        return self("POST", f"/api/v1/namespaces/{namespace}/pods/{name}/eviction", body)

    def watch(self, path: str, accept: str = "application/json") -> list[Event]:
        """What a watch says until its first bookmark, or its error."""
        events: list[Event] = []
        with closing(Stream(self._cluster, f"{path}&watch=1&allowWatchBookmarks=true", accept=accept)) as stream:
            while (event := stream.read()) and event.kind != "BOOKMARK":
                events.append(event)
        return events


class Event(NamedTuple):
    kind: str
    object: Object


class Stream:
    """An open watch, read an event at a time."""

    def __init__(self, cluster: Cluster, path: str, timeout: float = 60.0, accept: str = "application/json") -> None:
        self.connection = http.client.HTTPConnection(urlsplit(cluster.url).netloc, timeout=timeout)
        self.connection.request("GET", path, headers={"Accept": accept})
        self.response = self.connection.getresponse()

    def read(self) -> Event | None:
        line = self.response.readline()
        return Event(*json.loads(line).values()) if line else None

    def close(self) -> None:
        self.response.close()
        self.connection.close()


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    with Cluster(nodes=3, start_seconds=0.02, termination_seconds=0.05) as running:
        yield running


@pytest.fixture
def still() -> Iterator[Cluster]:
    """A cluster in which nothing happens by itself: an API server without controllers and kubelets."""
    with Cluster(nodes=1, controllers=False, bookmark_interval=0.05) as running:
        yield running


@pytest.fixture
def call(cluster: Cluster) -> Caller:
    return Caller(cluster)


@pytest.fixture
def ask(still: Cluster) -> Caller:
    return Caller(still)
