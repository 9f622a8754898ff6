"""What a watch gets from an API server: from the simulator, and from a real one with ``--kubeconfig``."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from shared.basics.timing import iso
from shared.kube import reads
from shared.kube.reads import Change, Resource
from shared.kube.watch import Lists, Watch
from tests.integration.drain.ground import Ground
from tests.unit.conftest import NOON
from workers.event_watcher.objects import Event

ODD_TIMES = {
    "year-0": "0000-01-01T00:00:00Z",
    "year-10000": "9999-12-31T23:59:59-10:00",
    "before-year-0": "0000-01-01T00:00:00+10:00",
}
"""Events may be written with these by whoever may write any; a real API server v1.36 takes them all."""

DEEP = 4000


class Told:
    """A reader that keeps the events it is told of, in order."""

    def __init__(self) -> None:
        self.events: dict[str, Event] = {}
        self.news = threading.Event()

    def begin(self, why: str) -> Lists:
        return Lists.WHOLE

    def page(self, items: list[Event]) -> None:
        self._take(items)

    def listed(self, version: str) -> None:
        self.news.set()

    def changed(self, bunch: list[Change[Event]]) -> None:
        self._take([change.object for change in bunch if change.object is not None])

    def _take(self, events: list[Event]) -> None:
        self.events.update((event.metadata.name, event) for event in events)
        self.news.set()

    def wait_for(self, name: str) -> None:
        while name not in self.events:
            assert self.news.wait(60), f"{name} was not told of"
            self.news.clear()


def events_of(ground: Ground) -> Resource[Event]:
    return Resource(ground.kube, f"/api/v1/namespaces/{ground.namespace}/events", Event)


def write(ground: Ground, name: str, **more: Any) -> None:
    about = {"kind": "Pod", "namespace": ground.namespace, "name": name, "uid": f"uid-{name}"}
    metadata = {"name": name, "namespace": ground.namespace, **more.pop("metadata", {})}
    usual = {"reason": "Odd", "message": "", "type": "Normal", "firstTimestamp": iso(NOON), "lastTimestamp": iso(NOON)}
    body = {"metadata": metadata, "involvedObject": about, **usual, **more}
    ground.kube.call("POST", f"/api/v1/namespaces/{ground.namespace}/events", None, body)


@pytest.fixture
def deeper() -> Iterator[None]:
    """Our own writing of what is thousands of levels deep needs more than Python gives."""
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(10 * DEEP)
    yield
    sys.setrecursionlimit(before)


def write_odd_ones(ground: Ground) -> set[str]:
    for name, moment in ODD_TIMES.items():
        write(ground, name, firstTimestamp=moment, lastTimestamp=moment)
    fields: dict[str, Any] = {}
    for _ in range(DEEP):
        fields = {"f:a": fields}
    managed = {"manager": "x", "operation": "Update", "apiVersion": "v1", "fieldsType": "FieldsV1", "time": iso(NOON)}
    write(ground, "deep", metadata={"managedFields": [{**managed, "fieldsV1": fields}]})
    write(ground, "last")
    return {*ODD_TIMES, "deep", "last"}


@pytest.mark.usefixtures("deeper")
@pytest.mark.parametrize("how", ["listed", "watched"])
def test_what_python_cannot_hold_hides_nothing(ground: Ground, how: str) -> None:
    told, resource = Told(), events_of(ground)
    expected = write_odd_ones(ground) if how == "listed" else set()
    watch = Watch("events", resource, told)
    thread = threading.Thread(target=watch.turn, daemon=True)
    thread.start()
    assert told.news.wait(60)
    expected |= write_odd_ones(ground) if how == "watched" else set()
    told.wait_for("last")
    watch.close()
    thread.join(60)
    assert expected <= told.events.keys()
    assert {told.events[name].last_timestamp for name in ODD_TIMES} == {None}
    assert told.events["last"].last_timestamp == NOON
    assert len(resource.skipped) == 0


def test_a_watch_of_events_says_nothing_while_nothing_happens_and_that_is_no_failure(
    ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No bookmark either, whatever was asked for: not even at its end."""
    monkeypatch.setattr(reads, "WATCH_SECONDS", (4.0, 4.0))
    resource = events_of(ground)
    version = next(resource.pages(limit=1)).metadata.resource_version
    write(ground, "another")  # so that there is something to say
    seen = [change for bunch in resource.changes(version) for change in bunch]
    assert [change.object and change.object.metadata.name for change in seen] == ["another"]
    assert ground.kube.answers
