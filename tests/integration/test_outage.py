"""Central is away for thirty minutes of virtual time: the real delivery, client and store; only the clock is ours."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

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
            result = {"task_id": key, "status": "success", "logs": "done", "executed_at": NOON.isoformat()}
            body = json.dumps({**result, "duration_seconds": 1.0, "error": None}).encode()
            self.queue.put("results", [(key, body)])
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
