"""Lists in pages and watches, against a server with paging, bookmarks and 410."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from shared.kube import reads
from shared.kube.connection import Kube
from shared.kube.decoding import Undecodable
from shared.kube.errors import Gone, KubeUnavailable
from shared.kube.nodes import Node, Nodes
from shared.kube.pods import Pods
from shared.kube.reads import LATE, PAGE, WATCH_SECONDS, Change, Resource, selectors
from tests.sim.kube.cluster import Cluster
from tests.unit.conftest import NOON, OddServer, counted, http, kube_of

DEEP = b'{"f:a":' * 5000 + b"{}" + b"}" * 5000


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
    with OddServer(http(200, b'{"kind":"List","items":[],"metadata":{}}')) as server:
        Nodes(kube_of(server.url, Path(kube._kubeconfig or "").parent)).cached()
        assert b"resourceVersion=0" in server.requests[0]


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"<html>", b'{"items":7}', b'{"kind":"List"}', b"{}"]
    + [
        b'{"kind":"List","items":null}',
        b'{"kind":"NodeList","metadata":{"resourceVersion":"7"}}',
        b'{"items":[],"metadata":{}}',
    ],
)
def test_a_list_that_is_none_is_unavailability(tmp_path: Path, body: bytes) -> None:
    with OddServer(http(200, body)) as server, pytest.raises(KubeUnavailable, match="the answer is no list"):
        Nodes(kube_of(server.url, tmp_path)).latest()


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


def test_a_watch_ends_when_its_time_is_over(tmp_path: Path) -> None:
    with OddServer(http(200, b"")) as server:
        assert list(Nodes(kube_of(server.url, tmp_path)).changes("7", {"labelSelector": "a=b"})) == []
        (asked,) = (request.split(b" ")[1] for request in server.requests)
    path, _, seconds = asked.rpartition(b"=")
    assert path == (
        b"/api/v1/nodes?labelSelector=a%3Db&watch=1&allowWatchBookmarks=true&resourceVersion=7&timeoutSeconds"
    )
    least, most = WATCH_SECONDS
    assert least <= int(seconds) <= most


def test_a_watch_in_which_nothing_comes_ends_before_its_silence_is_a_failure(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Events get no bookmarks from a real API server, others none where nothing changes."""
    monkeypatch.setattr(reads, "WATCH_SECONDS", (1.0, 1.0))
    told: list[bool] = []
    nodes = Nodes(kube_of(cluster.url, tmp_path, report=lambda ok, why: told.append(ok)))
    assert list(nodes.changes(nodes.cached().metadata.resource_version)) == []
    assert all(told)
    assert LATE >= 10, "a server under load is late"


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


@pytest.mark.parametrize("line", [b"garbage\n", b"{}\n", b'{"type":"ADDED"}\n', b'{"type":7}\n', DEEP + b"\n"])
def test_a_line_that_is_no_event_is_unavailability(tmp_path: Path, line: bytes) -> None:
    with pytest.raises(KubeUnavailable, match="a line that is no event"):
        read(tmp_path, line)


# -- what a real API server serves and Python cannot hold -------------------------------------------


def odd(name: str, version: int, **content: object) -> dict[str, object]:
    """A node that cannot be decoded, unless ``content`` mends it."""
    meta = {"name": name, "resourceVersion": str(version)}
    return {"metadata": {**meta, "labels": ["none"]}, **content}


def good(name: str, version: int) -> dict[str, object]:
    return {"metadata": {"name": name, "resourceVersion": str(version)}}


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    return lambda: [record.getMessage() for record in caplog.records if "is skipped" in record.getMessage()]


def skipped() -> float:
    return counted("objects_skipped_total", resource="nodes")


def test_an_object_that_cannot_be_decoded_hides_none_of_its_list(tmp_path: Path, said: Callable[[], list[str]]) -> None:
    before = skipped()
    items = [good("a", 1), odd("b", 2), 7, None, good("c", 3)]
    body = json.dumps(
        {"kind": "List", "metadata": {"resourceVersion": "9", "remainingItemCount": 4}, "items": items}
    ).encode()
    with OddServer(http(200, body)) as server:
        nodes = Nodes(kube_of(server.url, tmp_path))
        page = nodes.cached()
        nodes.cached()
    assert names(page.items) == ["a", "c"]
    assert (page.skipped, page.metadata.resource_version, page.metadata.remaining_item_count) == (3, "9", 4)
    assert skipped() == before + 6
    assert len(said()) == 2, "each is named once"
    assert said()[0].startswith("nodes: b is skipped, as it cannot be read: Expected `object | null`, got `array`")


def test_an_object_that_cannot_be_decoded_hides_nothing_of_its_watch(
    tmp_path: Path, said: Callable[[], list[str]]
) -> None:
    before = skipped()
    lines = [event("ADDED", good("a", 1)), event("MODIFIED", odd("b", 2)), event("ADDED", 7), event("ADDED", None)]
    seen = read(tmp_path, b"".join([*lines, event("MODIFIED", odd("b", 3)), event("ADDED", good("c", 4))]))
    assert [(change.object and change.object.metadata.name, change.version) for change in seen] == [
        ("a", "1"),
        (None, "2"),
        (None, "3"),
        ("c", "4"),
    ], "the version moves past it"
    assert skipped() == before + 4
    assert len(said()) == 2


def test_how_many_there_are_that_cannot_be_decoded_is_known(tmp_path: Path) -> None:
    lines = [event("ADDED", odd(name, 1)) for name in ("a", "b", "b", "c")]
    lines += [event("DELETED", odd("a", 2)), event("MODIFIED", good("c", 3))]
    with OddServer(http(200, b"".join(lines))) as server:
        nodes = Nodes(kube_of(server.url, tmp_path))
        list(nodes.changes("1"))
    assert len(nodes.skipped) == 1


@pytest.mark.parametrize("moment", ["0000-01-01T00:00:00Z", "10000-01-01T09:59:59Z", "-0001-12-31T14:00:00Z"])
def test_a_time_that_python_cannot_hold_counts_as_absent(tmp_path: Path, moment: str) -> None:
    ready = {"type": "Ready", "status": "False", "lastTransitionTime": moment}
    other = {"type": "DiskPressure", "lastTransitionTime": "2026-03-01T12:00:00Z"}
    content = {**good("a", 1), "status": {"conditions": [other, ready]}}
    content["metadata"] = {**good("a", 1)["metadata"], "creationTimestamp": moment}  # type: ignore[dict-item]
    before = skipped()
    (change,) = read(tmp_path, event("MODIFIED", content))
    assert change.object is not None
    assert change.object.ready is not None
    assert change.object.ready.last_transition_time is None
    assert change.object.metadata.creation_timestamp is None
    assert change.object.status.conditions[0].last_transition_time == NOON
    assert skipped() == before


def test_fields_that_nest_deeper_than_a_decoder_goes_are_left_out(tmp_path: Path) -> None:
    """Anybody who may write an object may write its managedFields, thousands of levels deep."""
    deep = json.dumps(good("a", 1)).encode().replace(b'"name"', b'"managedFields":[' + DEEP + b'],"name"')
    line = b'{"type":"ADDED","object":' + deep + b"}\n"
    assert [change.object and change.object.metadata.name for change in read(tmp_path, line)] == ["a"]
    with OddServer(http(200, b'{"kind":"List","items":[' + deep + b'],"metadata":{}}')) as server:
        assert names(Nodes(kube_of(server.url, tmp_path)).latest()) == ["a"]


def test_one_object_that_cannot_be_decoded_is_an_answer_of_somebody_else(tmp_path: Path) -> None:
    with OddServer(http(200, b"<html>")) as server, pytest.raises(KubeUnavailable, match="GET /api/v1/nodes/a: the"):
        Nodes(kube_of(server.url, tmp_path)).find("a")


def test_a_reader_may_bring_a_decoder_of_its_own(cluster: Cluster, kube: Kube) -> None:
    """One that looks at most objects in part only, and at what it has no use for not at all."""

    def decode(raw: bytes | msgspec.Raw) -> Node:
        node = msgspec.json.decode(raw, type=Node)
        if node.metadata.name == "node-2":
            raise Undecodable("not wanted")
        return node

    resource = Resource(kube, "/api/v1/nodes", Node, decode)
    assert names(resource.latest()) == ["node-1", "node-3"]
    version = resource.cached().metadata.resource_version
    cluster.add_node("node-4")
    (change,) = changes_of(resource, version, 1)
    assert change.object is not None
    assert change.object.metadata.name == "node-4"


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
