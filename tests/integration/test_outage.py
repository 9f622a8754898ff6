"""Central is away for half an hour, or for 96: the real delivery, client and store; only the clock is ours."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from shared.basics.api_key import ApiKey
from shared.basics.errors import TemporaryError
from shared.basics.timing import Backoff
from shared.central.client import CentralClient
from shared.central.identity import Caller
from shared.process.lifecycle import FIRST_RETRY, Loop
from shared.queue.client import QueueRefused
from shared.queue.limits import Limits
from shared.queue.memory import MemoryQueue
from shared.queue.store import Store
from tests.sim.central.server import Central
from tests.unit.conftest import NOON, FakeClock
from tests.unit.workers.event_watcher.conftest import occurrence
from tests.unit.workers.metrics.conftest import empty_sample
from workers.heartbeat.delivery import Delivery

OUTAGE = 1800
RESULT_EVERY, SAMPLE_EVERY, EVENT_EVERY = 30, 60, 1


def _never() -> float:
    raise AssertionError("only its settings are wanted")


LOOP = Loop("deliver", _never)
"""The delivery's loop as the heartbeat declares it: with the life cycle's own pauses."""


@dataclass
class Sent:
    """Keys of what was put on the queue, in order."""

    results: list[str] = field(default_factory=list)
    events: list[str] = field(default_factory=list)
    samples: list[str] = field(default_factory=list)


class Outage:
    """An outbox that fills second by second and is delivered whenever the loop's backoff says so."""

    def __init__(self, central: Central, spool: Path, limits: Limits | None = None) -> None:
        self.central, self.clock = central, FakeClock()
        self.queue = MemoryQueue(limits, self.clock)
        self.queue.store.close()
        self.queue.store = Store(spool, limits, self.clock)
        self.client = CentralClient(central.url, "demo", Caller(ApiKey("demo-key"), "instance-1"))
        self.delivery = Delivery(self.queue, self.client, "demo")
        self.pauses = Backoff(FIRST_RETRY, LOOP.slowest_retry, random.Random(1))
        self.next_try = self.clock.monotonic()
        self.attempts = self.refused = 0
        self.sent = Sent()

    def pass_seconds(self, seconds: int) -> None:
        for _ in range(seconds):
            self.clock.advance(1)
            self._fill(int(self.clock.monotonic()))
            while self.clock.monotonic() >= self.next_try:
                self._try()

    def _fill(self, second: int) -> None:
        if second % RESULT_EVERY == 0:
            key = f"t{second}"
            self.queue.put("results", [(key, _result_body(key))])
            self.sent.results.append(key)
        if second % SAMPLE_EVERY == 0:
            try:
                self.queue.put("metrics", [(f"s{second}", empty_sample().to_json())])
                self.sent.samples.append(f"s{second}")
            except QueueRefused:
                self.refused += 1  # Events filled it all: there is no older sample to make room for this one.
        if second % EVENT_EVERY == 0:
            self.queue.put("events", [(f"e{second}", occurrence(f"e{second}").to_json())])
            self.sent.events.append(f"e{second}")

    def _try(self) -> None:
        """One pass of the loop, as ``lifecycle`` makes it."""
        self.attempts += 1
        try:
            while self.delivery.deliver_next(wait=0):
                pass
        except TemporaryError as error:
            self.next_try = self.clock.monotonic() + self.pauses.pause(error.delay)
            return
        self.pauses.reset()
        self.next_try = self.clock.monotonic() + 1

    def arrived(self) -> Sent:
        ledger = self.central.ledger
        return Sent(
            [arrival.task_id for arrival in ledger.of("result")],
            [event["event_id"] for batch in ledger.of("events") for event in batch.body["events"]],
            [arrival.headers["Idempotency-Key"] for arrival in ledger.of("metrics")],
        )

    def depths(self) -> dict[str, int]:
        return {topic: fill.depth for topic, fill in self.queue.stats().items()}

    def dropped(self) -> dict[str, int]:
        return {topic: fill.dropped for topic, fill in self.queue.stats().items()}


@pytest.fixture
def central() -> Iterator[Central]:
    with Central() as central:
        yield central


AWAY: dict[str, tuple[Callable[[Central], object], Callable[[Central], object]]] = {
    "nobody listens": (Central.stop, Central.start),
    "it answers 503": (lambda central: central.fault("*", status=503), lambda central: central.faults.clear()),
    "it cuts every call": (lambda central: central.fault("*", cut=True), lambda central: central.faults.clear()),
}


@pytest.mark.parametrize(("leave", "come_back"), AWAY.values(), ids=AWAY)
def test_after_half_an_hour_away_all_is_delivered_at_the_first_try(
    central: Central,
    tmp_path: Path,
    leave: Callable[[Central], object],
    come_back: Callable[[Central], object],
) -> None:
    outage = Outage(central, tmp_path / "spool")
    with closing(outage.client), closing(outage.queue.store):
        outage.pass_seconds(60)
        leave(central)
        outage.attempts = 0
        before = outage.arrived()
        outage.pass_seconds(OUTAGE)
        assert outage.arrived() == before
        # Pauses grow to 30 s and are uniform below that: 15 s on average.
        assert outage.attempts < 2 * OUTAGE / (LOOP.slowest_retry / 2), "patience"
        come_back(central)
        outage.pass_seconds(int(LOOP.slowest_retry) + 1)
        assert outage.arrived() == outage.sent, "all of it, in order, each once"
        assert outage.depths() == {"results": 0, "notices": 0, "events": 0, "metrics": 0}
        assert (sum(outage.dropped().values()), outage.refused) == (0, 0)
        assert central.refused == []


def test_what_waits_is_bounded_and_results_outlast_everything(central: Central, tmp_path: Path) -> None:
    """The oldest samples go first, then the oldest events, results never; whatever is gone was counted."""
    one_event = len(occurrence("e1000").to_json())
    limits = Limits(total_bytes=200 * one_event, messages={"results": 10_000, "events": 50_000, "metrics": 1_440})
    outage = Outage(central, tmp_path / "spool", limits)
    with closing(outage.client), closing(outage.queue.store):
        central.stop()
        for _ in range(OUTAGE // 60):
            outage.pass_seconds(60)
            assert sum(fill.bytes for fill in outage.queue.stats().values()) <= limits.total_bytes
        dropped = outage.dropped()
        central.start()
        outage.pass_seconds(int(LOOP.slowest_retry) + 1)
        arrived = outage.arrived()
        assert arrived.results == outage.sent.results
        assert dropped["results"] == 0
        assert dropped["events"] > 0
        assert dropped["metrics"] > 0
        # What goes on arriving while the next try is waited for may push out a little more.
        dropped = outage.dropped()
        assert arrived.events == outage.sent.events[dropped["events"] :], "the oldest went"
        assert arrived.samples == outage.sent.samples[dropped["metrics"] :]
        assert outage.refused > 0, "and younger samples were not taken while events filled it all"


# -- longer than the pod --------------------------------------------------------------------------

HOURS = 96


class OtherMachine(FakeClock):
    """The same time of day, on a machine that was started when this was made."""

    def __init__(self, before: FakeClock) -> None:
        super().__init__()
        self._elapsed = before._elapsed
        self._started = self._elapsed

    def monotonic(self) -> float:
        return self._elapsed - self._started


class Absence(Outage):
    """Minute by minute: a sample, five events, every third minute a result."""

    def __init__(self, central: Central, spool: Path) -> None:
        super().__init__(central, spool)
        self._spool, self._minute = spool, 0

    def pass_hours(self, hours: int) -> None:
        for _ in range(hours * 60):
            self._minute += 1
            self._put("metrics", [f"s{self._minute}"], self.sent.samples)
            self._put("events", [f"e{self._minute}-{number}" for number in range(5)], self.sent.events)
            if self._minute % 3 == 0:
                self._put("results", [f"t{self._minute}"], self.sent.results)
            self.clock.advance(60)
            self._try()

    def _put(self, topic: str, names: list[str], sent: list[str]) -> None:
        bodies: dict[str, Callable[[str], bytes]] = {
            "metrics": lambda name: empty_sample().to_json(),
            "events": lambda name: occurrence(name).to_json(),
            "results": _result_body,
        }
        self.queue.put(topic, [(name, bodies[topic](name)) for name in names])
        sent += names

    def lose_the_node(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The machine ends without a word; the volume with the spool comes back on another."""
        del self.queue  # The file is left as it is, write-ahead journal and all.
        monkeypatch.setattr("shared.queue.epoch.boot_id", lambda: "another machine")
        self.clock = OtherMachine(self.clock)
        moved = self._spool.with_name("elsewhere")
        for suffix in ("", "-wal"):
            shutil.copy(f"{self._spool}{suffix}", f"{moved}{suffix}")
        self._spool = moved
        self.queue = MemoryQueue(clock=self.clock)
        self.queue.store.close()
        self.queue.store = Store(moved, clock=self.clock)
        self.delivery = Delivery(self.queue, self.client, "demo")


def _result_body(name: str) -> bytes:
    result = {"task_id": name, "status": "success", "logs": "done", "executed_at": NOON.isoformat()}
    return json.dumps({**result, "duration_seconds": 1.0, "error": None}).encode()


def test_after_four_days_away_and_a_lost_node_all_results_are_there_and_what_was_dropped_is_counted(
    central: Central, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    absence = Absence(central, tmp_path / "spool")
    with closing(absence.client):
        with pytest.MonkeyPatch.context() as away:
            away.setattr(CentralClient, "_call", _unreachable)
            absence.pass_hours(HOURS // 2)
            absence.lose_the_node(monkeypatch)
            oldest = absence.queue.stats()["results"].oldest_age
            assert oldest == pytest.approx(HOURS / 2 * 3600, rel=0.01), "its age is told across machines"
            absence.pass_hours(HOURS // 2)
        depths, dropped = absence.depths(), absence.dropped()
        assert depths["results"] == len(absence.sent.results) == HOURS * 20
        assert dropped["metrics"] == HOURS * 60 - Limits().messages["metrics"], "a sample a minute, a day of them kept"
        assert {topic: count for topic, count in dropped.items() if topic != "metrics"} == {
            "results": 0,
            "notices": 0,
            "events": 0,
        }
        absence._try()
        absence._try()
        arrived = absence.arrived()
        assert arrived.results == absence.sent.results
        assert arrived.events == absence.sent.events
        assert arrived.samples == absence.sent.samples[dropped["metrics"] :], "the newest"
        assert set(absence.depths().values()) == {0}
        absence.queue.store.close()


def _unreachable(*arguments: Any, **named: Any) -> Any:
    raise TemporaryError("Central is not reachable: no route to host")
