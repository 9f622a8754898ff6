"""Lists in pages and watches, against a server with paging, bookmarks and 410."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.kube.connection import Kube
from shared.kube.errors import Gone, KubeUnavailable
from shared.kube.nodes import Node, Nodes
from shared.kube.pods import Pods
from shared.kube.reads import BOOKMARK_SILENCE, PAGE, WATCH_SECONDS, Change, Resource, selectors
from tests.sim.kube.cluster import Cluster
from tests.unit.conftest import OddServer, http, kube_of


def names(items: list[Node]) -> list[str]:
    return sorted(item.metadata.name for item in items)


# -- lists ----------------------------------------------------------------------------------------


def test_a_list_comes_in_pages_of_one_version(cluster: Cluster, kube: Kube) -> None:
    pages = Nodes(kube).pages(limit=2)
    first = next(pages)
    cluster.add_node("node-4")
    second = next(pages)
    assert [len(first.items), len(second.items)] == [2, 1]
    assert names([*first.items, *second.items]) == ["node-1", "node-2", "node-3"]
    assert first.metadata.resource_version == second.metadata.resource_version
    assert first.metadata.remaining_item_count == 1
    assert list(pages) == []


def test_the_whole_list_is_all_its_pages(cluster: Cluster, kube: Kube) -> None:
    for number in range(PAGE + 3):
        cluster.add_pod("shop", f"p{number}")
    assert len(Pods(kube, "shop").latest()) == PAGE + 3
    assert len(cluster.audit.select(verb="list", resource="pods")) == 2


def test_a_list_whose_version_went_meanwhile_is_gone(cluster: Cluster, kube: Kube) -> None:
    pages = Nodes(kube).pages(limit=1)
    next(pages)
    cluster.add_node("node-4")
    cluster.compact()
    with pytest.raises(Gone):
        list(pages)


def test_a_cached_list_asks_for_no_quorum_read(cluster: Cluster, kube: Kube) -> None:
    page = Nodes(kube).cached(selectors(metadata_name="node-2"))
    assert names(page.items) == ["node-2"]
    assert page.metadata.resource_version
    with OddServer(http(200, b'{"items":[],"metadata":{}}')) as server:
        Nodes(kube_of(server.url, Path(kube._kubeconfig or "").parent)).cached()
        assert b"resourceVersion=0" in server.requests[0]


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"<html>", b'{"items":7}', b'{"items":[7]}', b'{"items":[{"metadata":{"labels":[]}}]}']
)
def test_a_list_that_is_none_is_unavailability(tmp_path: Path, body: bytes) -> None:
    with OddServer(http(200, body)) as server, pytest.raises(KubeUnavailable, match="the answer is no list"):
        Nodes(kube_of(server.url, tmp_path)).latest()


def test_an_empty_list_may_leave_out_its_items(tmp_path: Path) -> None:
    with OddServer(http(200, b'{"kind":"NodeList","metadata":{"resourceVersion":"7"}}')) as server:
        assert Nodes(kube_of(server.url, tmp_path)).latest() == []


# -- watches --------------------------------------------------------------------------------------


@pytest.fixture
def quick() -> Iterator[Cluster]:
    """A server that sends bookmarks all the time."""
    with Cluster(nodes=1, controllers=False, bookmark_interval=0.05) as cluster:
        yield cluster


def changes_of(resource: Resource[Node], version: str, count: int) -> list[Change[Node]]:
    """The first ``count`` changes but for bookmarks."""
    seen: list[Change[Node]] = []
    for bunch in resource.changes(version):
        seen += [change for change in bunch if change.kind != "BOOKMARK"]
        if len(seen) >= count:
            break
    return seen


def test_a_watch_shows_what_changed_after_a_version(cluster: Cluster, kube: Kube) -> None:
    nodes = Nodes(kube)
    version = nodes.cached().metadata.resource_version
    cluster.add_node("node-4")
    nodes.set_labels("node-1", {"team": "a"})
    cluster.delete_node("node-2")
    seen = changes_of(nodes, version, 3)
    assert [(change.kind, change.object and change.object.metadata.name) for change in seen] == [
        ("ADDED", "node-4"),
        ("MODIFIED", "node-1"),
        ("DELETED", "node-2"),
    ]
    assert [int(change.version) for change in seen] == sorted(int(change.version) for change in seen)
    assert [change.version for change in seen] == [
        change.object.metadata.resource_version for change in seen if change.object
    ]


def test_bookmarks_move_the_version_and_show_no_object(quick: Cluster, tmp_path: Path) -> None:
    nodes = Nodes(kube_of(quick.url, tmp_path))
    version = nodes.cached().metadata.resource_version
    quick.add_pod("shop", "p")  # moves the store's version without changing a node
    bookmark = next(change for bunch in nodes.changes(version) for change in bunch)
    assert (bookmark.kind, bookmark.object) == ("BOOKMARK", None)
    assert int(bookmark.version) > int(version)


def test_a_watch_goes_on_from_where_another_ended(quick: Cluster, tmp_path: Path) -> None:
    nodes = Nodes(kube_of(quick.url, tmp_path))
    version = nodes.cached().metadata.resource_version
    quick.add_node("node-2")
    (first,) = changes_of(nodes, version, 1)
    quick.add_node("node-3")
    (second,) = changes_of(nodes, first.version, 1)
    assert second.object is not None
    assert second.object.metadata.name == "node-3"


def test_a_watch_ends_when_its_time_is_over(cluster: Cluster, kube: Kube) -> None:
    with OddServer(http(200, b"")) as server:
        nodes = Nodes(kube_of(server.url, Path(kube._kubeconfig or "").parent))
        assert list(nodes.changes("7", {"labelSelector": "a=b"}, seconds=3.9)) == []
        assert list(nodes.changes("7")) == []
        first, second = (request.split(b" ")[1] for request in server.requests)
    assert first == (
        b"/api/v1/nodes?labelSelector=a%3Db&watch=1&allowWatchBookmarks=true&resourceVersion=7&timeoutSeconds=3"
    )
    least, most = WATCH_SECONDS
    assert least <= int(second.rpartition(b"=")[2]) <= most
    assert BOOKMARK_SILENCE > 60, "bookmarks come about every minute"


def test_a_version_that_is_too_old_is_gone(cluster: Cluster, kube: Kube) -> None:
    version = Nodes(kube).cached().metadata.resource_version
    cluster.add_node("node-4")
    cluster.compact()
    with pytest.raises(Gone):
        list(Nodes(kube).changes(version))


def event(kind: str, content: object) -> bytes:
    return json.dumps({"type": kind, "object": content}).encode() + b"\n"


def read(tmp_path: Path, body: bytes) -> list[Change[Node]]:
    with OddServer(http(200, body)) as server:
        return [change for bunch in Nodes(kube_of(server.url, tmp_path)).changes("1") for change in bunch]


def test_an_error_in_mid_stream_is_an_error(tmp_path: Path) -> None:
    gone = {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old resource version: 1 (7)"}
    with pytest.raises(Gone, match=r"watch /api/v1/nodes: 410 too old resource version: 1 \(7\)"):
        read(tmp_path, event("ERROR", gone))
    with pytest.raises(KubeUnavailable, match="500 etcd is away"):
        read(tmp_path, event("ERROR", {"kind": "Status", "message": "etcd is away"}))


def test_an_error_without_a_status_is_an_error_too(tmp_path: Path) -> None:
    with pytest.raises(KubeUnavailable):
        read(tmp_path, event("ERROR", None))


@pytest.mark.parametrize(
    "line", [b"garbage\n", b"{}\n", b'{"type":"ADDED"}\n', b'{"type":"ADDED","object":7}\n', b'{"type":7}\n']
)
def test_a_line_that_is_no_event_is_unavailability(tmp_path: Path, line: bytes) -> None:
    with pytest.raises(KubeUnavailable, match="a line that is no event"):
        read(tmp_path, line)


def test_empty_lines_say_nothing(tmp_path: Path) -> None:
    node = {"metadata": {"name": "a", "resourceVersion": "8"}}
    assert [change.version for change in read(tmp_path, b"\n" + event("ADDED", node) + b"\n\n")] == ["8"]


def test_what_comes_together_is_handed_out_together(tmp_path: Path) -> None:
    storm = b"".join(event("ADDED", {"metadata": {"name": f"n{n}", "resourceVersion": str(n)}}) for n in range(100))
    with OddServer(http(200, storm)) as server:
        bunches = list(Nodes(kube_of(server.url, tmp_path)).changes("1"))
    assert sum(len(bunch) for bunch in bunches) == 100
    assert len(bunches) < 5


def test_selectors_are_query_parameters() -> None:
    assert selectors() == {}
    assert selectors(spec_nodeName="a", status_phase="Running") == {
        "fieldSelector": "spec.nodeName=a,status.phase=Running"
    }
    assert selectors({"app": "web", "tier": "1"}) == {"labelSelector": "app=web,tier=1"}
