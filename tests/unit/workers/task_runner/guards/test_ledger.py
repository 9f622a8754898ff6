"""An hour's worth of drains and evictions, however often the worker is killed."""

from __future__ import annotations

import pytest

from shared.basics.errors import TemporaryError
from shared.process.state import TALLY
from shared.queue.client import value
from shared.queue.memory import MemoryQueue
from shared.queue.messages import Reply, Request, SetState
from tests.unit.conftest import FakeClock
from workers.task_runner.guards.hourly import Hourly, Tally
from workers.task_runner.guards.ledger import Ledger, Permit

TWO = Hourly("MAX_EVICTIONS_PER_HOUR", "evictions", 2)


class CountingQueue(MemoryQueue):
    """Counts writes of state, and refuses them on demand."""

    writes = 0
    full = False

    def call(self, request: Request, patience: float = 5.0) -> Reply:
        if isinstance(request, SetState):
            if self.full:
                raise TemporaryError("no room")
            self.writes += 1
        return super().call(request, patience)


@pytest.fixture
def queue() -> CountingQueue:
    return CountingQueue()


def test_without_a_limit_nothing_is_counted_or_written(queue: CountingQueue, clock: FakeClock) -> None:
    ledger = Ledger(queue, "evictions", clock)
    for _ in range(100):
        assert isinstance(ledger.take(Hourly("X", "things", None)), Permit)
    assert queue.writes == 0


def test_the_next_one_waits_until_the_hour_is_over(queue: CountingQueue, clock: FakeClock) -> None:
    ledger = Ledger(queue, "evictions", clock)
    assert isinstance(ledger.take(TWO), Permit)
    clock.advance(1200)
    assert isinstance(ledger.take(TWO), Permit)
    assert str(ledger.take(TWO)).startswith("MAX_EVICTIONS_PER_HOUR is 2 and 2 evictions began within the hour")
    clock.advance(2400 + 60)
    assert isinstance(ledger.take(TWO), Permit)
    assert isinstance(ledger.take(TWO), str)


def test_a_killed_worker_forgets_nothing(queue: CountingQueue, clock: FakeClock) -> None:
    for _ in range(2):
        assert isinstance(Ledger(queue, "evictions", clock).take(TWO), Permit)
    assert isinstance(Ledger(queue, "evictions", clock).take(TWO), str)
    assert isinstance(Ledger(queue, "drains", clock).take(TWO), Permit), "another kind"


def test_what_cannot_be_recorded_does_not_begin(queue: CountingQueue, clock: FakeClock) -> None:
    ledger = Ledger(queue, "evictions", clock)
    queue.full = True
    for _ in range(5):
        with pytest.raises(TemporaryError):
            ledger.take(TWO)
    queue.full = False
    assert [isinstance(ledger.take(TWO), Permit) for _ in range(3)] == [True, True, False]


def test_tries_that_a_budget_holds_take_no_room_and_cost_no_writes(queue: CountingQueue, clock: FakeClock) -> None:
    ledger = Ledger(queue, "evictions", clock)
    for _ in range(50):
        permit = ledger.take(TWO)
        assert isinstance(permit, Permit)
        ledger.give_back(permit)
    assert queue.writes == 1
    clock.advance(90)
    late = ledger.take(TWO)
    assert isinstance(late, Permit)
    clock.advance(90)
    ledger.give_back(late)
    assert [isinstance(ledger.take(TWO), Permit) for _ in range(3)] == [True, True, False]


def test_a_record_of_another_version_is_none(queue: CountingQueue, clock: FakeClock) -> None:
    queue.set_state({f"{TALLY}evictions": ["what?"]}, durable=True)
    assert isinstance(Ledger(queue, "evictions", clock).take(TWO), Permit)
    entry = queue.get_state(TALLY)[f"{TALLY}evictions"]
    assert Tally.read(value(entry)).count(clock.now()) == 1
