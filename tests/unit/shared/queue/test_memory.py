"""The twin in memory: what only it has. What it shares with the broker is in test_contract.py."""

from __future__ import annotations

import pytest

from shared.queue.client import QueueRefused
from shared.queue.memory import MemoryQueue
from tests.unit.conftest import FakeClock
from tests.unit.shared.queue.conftest import messages


def test_two_twins_share_nothing() -> None:
    one, other = MemoryQueue(), MemoryQueue()
    one.put("events", messages("a"))
    assert other.stats()["events"].depth == 0


def test_a_test_may_look_into_its_store(clock: FakeClock) -> None:
    queue = MemoryQueue(clock=clock)
    queue.put("events", messages("a"))
    assert queue.store.stats() == queue.stats()


def test_a_closed_one_answers_as_a_broken_broker_does() -> None:
    queue = MemoryQueue()
    queue.store.close()
    with pytest.raises(QueueRefused):
        queue.put("events", messages("a"))
