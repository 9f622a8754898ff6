"""Watches: what comes first, what changes look like, how streams end."""

from __future__ import annotations

import http.client
import json
import socket
from contextlib import closing

import pytest

from tests.sim.kube.cluster import Cluster
from tests.sim.kube.lists import parse_options
from tests.sim.kube.resources import PODS as PODS_RESOURCE
from tests.sim.kube.watches import Watch
from tests.unit.sim.kube.conftest import Caller, Stream

PODS = "/api/v1/namespaces/shop/pods"
MERGE = "application/merge-patch+json"


@pytest.fixture(autouse=True)
def _two_pods(still: Cluster) -> None:
    for number in range(2):
        still.add_pod("shop", f"p{number}", node="node-1", labels={"a": str(number)})


def test_without_a_version_everything_comes_as_added(still: Cluster) -> None:
    with closing(Stream(still, f"{PODS}?watch=1&resourceVersion=0&allowWatchBookmarks=true")) as stream:
        events = [event for event in (stream.read(), stream.read(), stream.read()) if event]
    assert [event.kind for event in events] == ["ADDED", "ADDED", "BOOKMARK"]
    assert events[0].object["kind"] == "Pod"
    assert events[2].object["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}


def test_changes_since_a_version_as_each_selector_sees_them(ask: Caller, still: Cluster) -> None:
    since = ask("GET", PODS).body["metadata"]["resourceVersion"]
    for name, labels in (("p0", {"a": "1"}), ("p0", {"b": "1"}), ("p1", {"a": "0"}), ("p1", {"a": "0"})):
        ask("PATCH", f"{PODS}/{name}", {"metadata": {"labels": labels}}, MERGE)
    ask("DELETE", f"{PODS}/p1", {"gracePeriodSeconds": 0})

    def seen(selector: str) -> list[tuple[str, str]]:
        events = ask.watch(f"{PODS}?resourceVersion={since}{selector}")
        return [(kind, found["metadata"]["name"]) for kind, found in events]

    assert seen("&labelSelector=a%3D1") == [("ADDED", "p0"), ("MODIFIED", "p0"), ("DELETED", "p1")]
    assert seen("&labelSelector=a%3D0") == [("DELETED", "p0"), ("ADDED", "p1"), ("MODIFIED", "p1"), ("DELETED", "p1")]
    assert [kind for kind, _ in seen("")] == ["MODIFIED", "MODIFIED", "MODIFIED", "MODIFIED", "DELETED"]


def test_an_object_that_stops_matching_is_shown_as_it_was(ask: Caller) -> None:
    since = ask("GET", PODS).body["metadata"]["resourceVersion"]
    changed = ask("PATCH", f"{PODS}/p0", {"metadata": {"labels": {"a": "9"}}}, MERGE).body
    [(kind, shown)] = ask.watch(f"{PODS}?labelSelector=a%3D0&resourceVersion={since}")
    assert (kind, shown["metadata"]["labels"]["a"]) == ("DELETED", "0")
    assert shown["metadata"]["resourceVersion"] == changed["metadata"]["resourceVersion"]


def test_a_forgotten_version_is_one_error_in_a_200_stream(ask: Caller, still: Cluster) -> None:
    still.compact()
    [(kind, status)] = ask.watch(f"{PODS}?resourceVersion=2")
    assert (kind, status["code"], status["reason"]) == ("ERROR", 410, "Expired")
    assert status["message"].startswith("too old resource version: 2 (")


def test_bad_versions_and_options(ask: Caller) -> None:
    assert ask("GET", f"{PODS}?watch=1&resourceVersion=abc").status == 500
    assert ask("GET", f"{PODS}?watch=1&resourceVersionMatch=NotOlderThan&resourceVersion=0").status == 422
    assert ask("GET", f"{PODS}?watch=1&fieldSelector=x%3D1").status == 400


def open_stream(still: Cluster, timeout: float = 60.0, bookmarks: bool = False) -> Stream:
    query = f"watch=1&resourceVersion={still.store.revision}&allowWatchBookmarks={str(bookmarks).lower()}"
    stream = Stream(still, f"{PODS}?{query}", timeout)
    still.wait_for(lambda: len(still.store.subscriptions()) == 2)  # the controllers' own is one
    return stream


def test_changes_arrive_as_they_happen(still: Cluster) -> None:
    with closing(open_stream(still)) as stream:
        still.add_pod("shop", "new", node="node-1")
        event = stream.read()
        assert event is not None
        assert (event.kind, event.object["metadata"]["name"]) == ("ADDED", "new")


def test_bookmarks_come_at_intervals_while_anything_changes(still: Cluster) -> None:
    versions = []
    with closing(open_stream(still, bookmarks=True)) as stream:
        for number in range(2):
            still.add_node(f"other-{number}")  # which moves the version without changing a pod
            event = stream.read()
            assert event is not None
            assert event.kind == "BOOKMARK"
            versions.append(event.object["metadata"]["resourceVersion"])
    assert versions[-1] == str(still.store.revision)
    assert versions == sorted(set(versions))


def test_events_get_no_bookmarks_whatever_was_asked_for(still: Cluster) -> None:
    since = still.store.revision
    still.add_node("other")
    query = f"watch=1&timeoutSeconds=1&resourceVersion={since}&allowWatchBookmarks=true"
    with closing(Stream(still, f"/api/v1/events?{query}")) as stream:
        assert stream.read() is None


def test_where_nothing_at_all_changes_there_are_no_bookmarks(still: Cluster) -> None:
    query = f"watch=1&timeoutSeconds=1&resourceVersion={still.store.revision}&allowWatchBookmarks=true"
    with closing(Stream(still, f"{PODS}?{query}")) as stream:
        assert stream.read() is None


def test_a_dropped_watch_ends_without_a_last_chunk(still: Cluster) -> None:
    with closing(open_stream(still)) as stream:
        still.drop_watches()
        with pytest.raises((http.client.IncompleteRead, ConnectionError)):
            stream.response.read()


def test_a_frozen_watch_stays_open_and_says_nothing(still: Cluster) -> None:
    with closing(open_stream(still, timeout=0.2)) as stream:
        still.freeze_watches()
        still.add_pod("shop", "new", node="node-1")
        with pytest.raises((TimeoutError, socket.timeout)):
            stream.read()
    with closing(Stream(still, f"{PODS}?watch=1&resourceVersion={still.store.revision}")) as fresh:
        still.add_pod("shop", "newer", node="node-1")
        assert fresh.read() is not None


def test_a_stream_ends_at_its_timeout_with_a_bookmark(still: Cluster) -> None:
    still.api.bookmark_interval = 60
    query = f"watch=1&timeoutSeconds=1&resourceVersion={still.store.revision}&allowWatchBookmarks=true"
    still.add_node("other")
    with closing(Stream(still, f"{PODS}?{query}")) as stream:
        event = stream.read()
        assert event is not None
        assert event.kind == "BOOKMARK"
        assert stream.read() is None


def test_a_table_watch_sends_tables(ask: Caller) -> None:
    events = ask.watch(f"{PODS}?resourceVersion=0", accept="application/json;as=Table;v=v1;g=meta.k8s.io")
    assert [event.object["kind"] for event in events] == ["Table", "Table"]


def test_a_bookmark_never_overtakes_a_change(still: Cluster) -> None:
    options = parse_options(PODS_RESOURCE, {"watch": "1", "resourceVersion": "0", "allowWatchBookmarks": "1"})
    with closing(Watch(still.store, PODS_RESOURCE, "shop", options).stream(bookmark_interval=0)) as batches:
        next(batches)
        next(batches)
        still.add_pod("shop", "p2", node="node-1")
        still.add_pod("shop", "p3", node="node-1")
        events = [json.loads(line) for line in next(batches)]
    assert [event["type"] for event in events] == ["ADDED", "ADDED", "BOOKMARK"]
    assert events[-1]["object"]["metadata"]["resourceVersion"] == str(still.store.revision)
