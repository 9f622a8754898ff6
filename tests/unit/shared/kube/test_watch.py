"""A watch for good: three states, what leads from one to another, and what its reader is told on the way."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from shared.kube.connection import Kube
from shared.kube.errors import Gone, KubeUnavailable
from shared.kube.nodes import Node, Nodes
from shared.kube.reads import Change
from shared.kube.watch import Broken, Listing, Lists, Watch, Watching
from tests.sim.kube.cluster import Cluster
from tests.unit.conftest import OddServer, counted, eventually, http, kube_of


class Told:
    """A reader that writes down what it is told."""

    def __init__(self, lists: Lists = Lists.WHOLE) -> None:
        self._lists = lists
        self.story: list[str] = []
        self.fails_at = ""

    def _note(self, what: str) -> None:
        self.story.append(what)
        if what == self.fails_at:
            raise RuntimeError(f"cannot take {what}")

    def begin(self, why: str) -> Lists:
        self._note(f"begin {why}")
        return self._lists

    def page(self, items: list[Node]) -> None:
        self._note("page " + " ".join(item.metadata.name for item in items))

    def listed(self, version: str) -> None:
        self._note(f"listed {version}")

    def changed(self, bunch: list[Change[Node]]) -> None:
        for change in bunch:
            self._note(f"{change.kind} {change.object.metadata.name if change.object else change.version}")


def listed(version: str, *names: str) -> bytes:
    items = [{"metadata": {"name": name}} for name in names]
    return http(200, json.dumps({"kind": "List", "metadata": {"resourceVersion": version}, "items": items}).encode())


def line(kind: str, version: str, name: str = "n") -> bytes:
    content = {"metadata": {"name": name, "resourceVersion": version}}
    return json.dumps({"type": kind, "object": content}).encode() + b"\n"


GONE = json.dumps({"type": "ERROR", "object": {"kind": "Status", "code": 410}}).encode() + b"\n"
CUT = {"Content-Length": "100000"}


class Scripted:
    """A watch of nodes before a server that gives these answers, one a request."""

    def __init__(self, folder: Path, *answers: bytes, version: str = "", lists: Lists = Lists.WHOLE) -> None:
        self.server = OddServer(*answers)
        self.told = Told(lists)
        self.watch = Watch("nodes", Nodes(kube_of(self.server.url, folder)), self.told, version)

    def __enter__(self) -> Scripted:
        self.server.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.__exit__()

    def asked(self, number: int) -> str:
        return self.server.requests[number].split(b" ")[1].decode()


# -- listing --------------------------------------------------------------------------------------


def test_without_a_version_it_lists_and_then_watches_from_there(tmp_path: Path) -> None:
    before = counted("relists_total", resource="nodes", reason="first")
    with Scripted(tmp_path, listed("7", "a", "b"), http(200, line("ADDED", "8", "c"))) as scripted:
        states = [scripted.watch.state]
        scripted.watch.turn()
        assert scripted.told.story == ["begin first", "page a b", "listed 7", "ADDED c"]
        assert "resourceVersion=7&" in scripted.asked(1)
    assert [*states, scripted.watch.state] == [Listing("first"), Watching("8")]
    assert counted("relists_total", resource="nodes", reason="first") == before + 1


def test_with_a_version_it_goes_on_from_there(tmp_path: Path) -> None:
    with Scripted(tmp_path, http(200, line("MODIFIED", "9")), version="8") as scripted:
        scripted.watch.turn()
        assert "resourceVersion=8&" in scripted.asked(0)
        assert scripted.told.story == ["MODIFIED n"]


def test_a_reader_that_does_not_look_back_gets_the_version_of_now_only(tmp_path: Path) -> None:
    with Scripted(tmp_path, listed("7", "a"), http(200, b""), lists=Lists.VERSION) as scripted:
        scripted.watch.turn()
        assert "limit=1" in scripted.asked(0)
        assert scripted.told.story == ["begin first", "listed 7"]


def test_a_list_that_fails_is_begun_again(tmp_path: Path) -> None:
    with Scripted(tmp_path, http(500), listed("7"), http(200, b"")) as scripted:
        with pytest.raises(KubeUnavailable):
            scripted.watch.turn()
        assert isinstance(scripted.watch.state, Broken)
        assert scripted.watch.state.then == Listing("first")
        scripted.watch.turn()
        assert scripted.told.story == ["begin first", "begin first", "page ", "listed 7"]


def test_a_version_that_goes_in_mid_list_is_listed_from_the_beginning(tmp_path: Path) -> None:
    first = json.dumps({"kind": "List", "metadata": {"resourceVersion": "7", "continue": "more"}, "items": []}).encode()
    with Scripted(tmp_path, http(200, first), http(410), listed("9"), http(200, b"")) as scripted:
        with pytest.raises(Gone):
            scripted.watch.turn()
        scripted.watch.turn()
        assert "continue" not in scripted.asked(2)
        assert scripted.told.story == ["begin first", "page ", "begin first", "page ", "listed 9"]


def test_a_reader_may_fail_in_a_list_which_is_begun_again(tmp_path: Path) -> None:
    with Scripted(tmp_path, listed("7", "a"), listed("8", "a"), http(200, b"")) as scripted:
        scripted.told.fails_at = "page a"
        with pytest.raises(RuntimeError):
            scripted.watch.turn()
        scripted.told.fails_at = ""
        scripted.watch.turn()
        assert scripted.told.story[-1] == "listed 8"


# -- watching -------------------------------------------------------------------------------------


def test_a_watch_that_ends_in_good_order_goes_on_from_the_last_version_seen(tmp_path: Path) -> None:
    lines = line("ADDED", "8") + line("BOOKMARK", "12")
    with Scripted(tmp_path, http(200, lines), http(200, b""), version="7") as scripted:
        assert scripted.watch.turn() == 0, "at once"
        scripted.watch.turn()
        assert "resourceVersion=12&" in scripted.asked(1)


def test_an_empty_watch_that_ends_at_once_is_not_opened_again_at_once(tmp_path: Path) -> None:
    with Scripted(tmp_path, http(200, b""), version="7") as scripted:
        assert scripted.watch.turn() >= 0.5
        assert scripted.watch.turn() >= 0.5


def test_a_version_that_is_gone_is_listed_again(tmp_path: Path) -> None:
    answers = [http(200, line("ADDED", "8") + GONE), listed("20", "a"), http(200, b"")]
    with Scripted(tmp_path, *answers, version="7") as scripted:
        assert 0 < scripted.watch.turn() < 2, "no failure"
        assert scripted.watch.state == Listing("gone")
        scripted.watch.turn()
        assert scripted.told.story == ["begin gone", "page a", "listed 20"]


def test_a_watch_that_brought_something_before_it_broke_is_no_failure(tmp_path: Path) -> None:
    answers = [http(200, line("ADDED", "8"), CUT), http(200, b"", CUT)]
    with Scripted(tmp_path, *answers, version="7") as scripted:
        assert 0 < scripted.watch.turn() < 2
        with pytest.raises(KubeUnavailable):
            scripted.watch.turn()
        assert "resourceVersion=8&" in scripted.asked(1)
        assert isinstance(scripted.watch.state, Broken)
        assert scripted.watch.state.then == Watching("8")


def test_a_bunch_that_its_reader_cannot_take_does_not_hold_up_those_after_it(tmp_path: Path) -> None:
    answers = [http(200, line("ADDED", "8", "bad")), http(200, line("ADDED", "9", "good"))]
    with Scripted(tmp_path, *answers, version="7") as scripted:
        scripted.told.fails_at = "ADDED bad"
        with pytest.raises(RuntimeError):
            scripted.watch.turn()
        scripted.watch.turn()
        assert "resourceVersion=8&" in scripted.asked(1)
        assert scripted.told.story == ["ADDED bad", "ADDED good"]


def test_pages_and_bunches_are_signs_of_life(tmp_path: Path) -> None:
    signs: list[None] = []
    with Scripted(tmp_path, listed("7"), http(200, line("BOOKMARK", "8"))) as scripted:
        scripted.watch.turn(lambda: signs.append(None))
    assert len(signs) == 2


# -- from another thread --------------------------------------------------------------------------


class Turning:
    """A watch turned on a thread, again and again, until it is closed."""

    def __init__(self, cluster: Cluster, watch: Watch[Node]) -> None:
        before = len(cluster.store.subscriptions())
        self.thread = threading.Thread(target=self._drive, args=(watch,), daemon=True)
        self.thread.start()
        eventually(lambda: len(cluster.store.subscriptions()) > before)

    def _drive(self, watch: Watch[Node]) -> None:
        while not watch.closed:
            watch.turn()


Turn = Callable[[], tuple[Watch[Node], Told, Turning]]


@pytest.fixture
def turn(cluster: Cluster, kube: Kube) -> Iterator[Turn]:
    begun: list[tuple[Watch[Node], Turning]] = []

    def start() -> tuple[Watch[Node], Told, Turning]:
        told = Told()
        watch = Watch("nodes", Nodes(kube), told)
        begun.append((watch, Turning(cluster, watch)))
        return watch, told, begun[-1][1]

    yield start
    for watch, turning in begun:
        watch.close()
        turning.thread.join(60)


def test_closed_it_ends_at_once_though_nothing_comes(turn: Turn) -> None:
    watch, _, turning = turn()
    watch.close()
    turning.thread.join(60)
    assert not turning.thread.is_alive()
    assert watch.turn() == 0, "and does nothing more"


def test_whoever_distrusts_what_was_told_has_it_listed_again(cluster: Cluster, turn: Turn) -> None:
    watch, told, _ = turn()
    watch.list_again("mismatch")
    eventually(lambda: "begin mismatch" in told.story)
    cluster.add_node("late")
    eventually(lambda: "ADDED late" in told.story)
