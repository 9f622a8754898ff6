"""The pod is stopped at a hundred random moments of a bad quarter of an hour at Central; virtual time, all else real.

What the queue had accepted is compared with what Central has, what is left, and what the log says is left.
"""

from __future__ import annotations

import logging
import random
import re
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from shared.basics.errors import AgentError
from shared.basics.timing import Backoff
from shared.process.lifecycle import FIRST_RETRY
from shared.queue.messages import TOPICS
from tests.sim.central.faults import Fault
from tests.sim.central.server import Central
from tests.unit.conftest import FakeClock
from tests.unit.workers.event_watcher.conftest import occurrence
from tests.unit.workers.heartbeat.conftest import Uplink, result
from tests.unit.workers.metrics.conftest import empty_sample
from workers.heartbeat.goodbye import FLUSH_SECONDS

QUARTER = 900.0
STOPS = 100

ENOUGH = 6.0
"""Seconds of a Central that works within the stop time, in which all must go that can go."""

TROUBLES: list[dict[str, Any]] = [
    {"status": 500},
    {"status": 503, "headers": {"Retry-After": "60"}},
    {"status": 429, "headers": {"Retry-After": "5"}},
    {"status": 404, "body": b"default backend - 404"},
    {"status": 409, "body": b"<html>no</html>", "headers": {"Content-Type": "text/html"}},
    {"status": 413, "body": b"<html>no</html>", "headers": {"Content-Type": "text/html"}},
    {"status": 502, "after": True},
    {"cut": True},
    {"cut": True, "after": True},
]
CALLS = ["*", "*", "result", "events", "metrics", "heartbeat"]


class BadQuarter:
    """One agent's uplink through a quarter of an hour of ``dice``'s making, second by second."""

    def __init__(self, central: Central, run_dir: Path, dice: random.Random) -> None:
        self.clock = FakeClock()
        self.uplink = Uplink(central, run_dir, self.clock)
        self.central = central
        self.accepted: dict[str, set[str]] = {topic: set() for topic in TOPICS}
        self._dice = dice
        self._begun = self.clock.monotonic()
        self._pauses = Backoff(FIRST_RETRY, 30.0, dice)
        self._next_try = self._next_beat = self._begun
        self._episodes = list(self._make_episodes())
        central.faults.take = self._trouble  # type: ignore[method-assign]

    def _make_episodes(self) -> Iterator[tuple[float, float, Fault]]:
        at = 0.0
        while at < QUARTER + 60:
            begin = at + self._dice.expovariate(1 / 15)
            at = begin + self._dice.expovariate(1 / 25)
            yield begin, at, Fault(self._dice.choice(CALLS), **self._dice.choice(TROUBLES))

    @property
    def now(self) -> float:
        return self.clock.monotonic() - self._begun

    def _trouble(self, call: str) -> Fault | None:
        """The fault that is in force."""
        for begin, end, fault in self._episodes:
            if begin <= self.now < end and fault.call in ("*", call):
                return fault
        return None

    def pass_until(self, end: float) -> None:
        while self.now < end:
            self.clock.advance(1)
            if self._dice.random() < 0.08:
                self._put()
            self._beat()
            self._deliver()

    def _put(self) -> None:
        topic = self._dice.choice(["results", "results", "events", "events", "metrics"])
        for _ in range(self._dice.choice([1, 1, 1, 8])):
            key = f"{topic}-{len(self.accepted[topic])}"
            body = {"results": result(key), "events": occurrence(key).to_json(), "metrics": empty_sample().to_json()}
            self.uplink.queue.put(topic, [(key, body[topic])])
            self.accepted[topic].add(key)

    def _beat(self) -> None:
        if self.clock.monotonic() < self._next_beat:
            return
        self._next_beat = self.clock.monotonic() + 30
        try:
            self.uplink.worker.beat()
        except AgentError:
            pass

    def _deliver(self) -> None:
        while self.clock.monotonic() >= self._next_try:
            try:
                busy = self.uplink.delivery.deliver_next(wait=0)
                self._pauses.reset()
            except AgentError as error:
                self._next_try = self.clock.monotonic() + self._pauses.pause(getattr(error, "delay", None))
                return
            if not busy:
                return

    def works_for(self, seconds: float) -> bool:
        """Whether Central works for the last so many ``seconds`` of a stop that begins now."""
        begin, end = self.now + FLUSH_SECONDS - seconds, self.now + FLUSH_SECONDS
        return not any(
            first < end and last > begin for first, last, fault in self._episodes if fault.call != "heartbeat"
        )

    def arrived(self) -> dict[str, set[str]]:
        ledger = self.central.ledger
        return {
            "results": {arrival.task_id for arrival in ledger.of("result")},
            "events": {event["event_id"] for batch in ledger.of("events") for event in batch.body["events"]},
            "notices": set(),
            "metrics": {arrival.headers["Idempotency-Key"] for arrival in ledger.of("metrics")},
        }

    def left(self) -> dict[str, set[str]]:
        """Keys of what the queue still holds."""
        self.uplink.queue.release_all()
        found: dict[str, set[str]] = {topic: set() for topic in TOPICS}
        while leased := self.uplink.queue.lease(list(found), 1000, 600):
            found[leased[0].topic] |= {message.key for message in leased}
        return found


def said_to_be_left(caplog: pytest.LogCaptureFixture) -> dict[str, int]:
    counts = dict.fromkeys(TOPICS, 0)
    for record in caplog.records:
        if "left undelivered" in record.getMessage():
            counts.update({topic: int(n) for n, topic in re.findall(r"(\d+) (\w+)", record.getMessage())})
    return counts


def test_an_orderly_stop_leaves_nothing_behind_that_could_have_been_sent(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    worked = in_vain = 0
    for seed in range(STOPS):
        dice = random.Random(seed)
        caplog.clear()
        with Central() as central:
            quarter = BadQuarter(central, tmp_path, dice)
            with closing(quarter.uplink):
                quarter.pass_until(dice.uniform(0, QUARTER))
                could = quarter.works_for(ENOUGH)
                quarter.uplink.worker.close(pod_stopping=True)
                arrived, left = quarter.arrived(), quarter.left()
        for topic, accepted in quarter.accepted.items():
            assert accepted == arrived[topic] | left[topic], f"seed {seed}: each is with Central, or still here"
        assert said_to_be_left(caplog) == {topic: len(keys) for topic, keys in left.items()}, f"seed {seed}"
        if could:
            worked += 1
            assert not any(left.values()), f"seed {seed}: Central would have taken all of it"
        elif any(left.values()):
            in_vain += 1
    assert worked > STOPS / 5
    assert in_vain > 0
