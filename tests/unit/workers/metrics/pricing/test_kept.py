"""Prices that others answered, as they are kept in the queue."""

from __future__ import annotations

from typing import Any

import pytest

from shared.process.state import PRICES
from shared.queue.memory import MemoryQueue
from workers.metrics.pricing.kept import GOOD_FOR, KeptQuotes
from workers.metrics.pricing.quotes import Quotes

NOW = 1_000_000.0
RECORD: dict[str, Any] = {
    "asked_at": NOW,
    "asked_for": ["m5.large"],
    "etag": "",
    "on_demand": {"eu-west-1/m5.large": 0.06},
    "spot": {"m5.large": 0.02},
}
QUOTES = Quotes({"eu-west-1/m5.large": 0.06}, {"m5.large": 0.02})


@pytest.fixture
def queue() -> MemoryQueue:
    queue = MemoryQueue()
    queue.set_state({PRICES + "central": RECORD}, durable=True)
    return queue


def test_what_is_kept_is_used_for_a_week(queue: MemoryQueue) -> None:
    kept = KeptQuotes(queue)
    assert kept.current(NOW) == {"central": QUOTES}
    assert kept.current(NOW + GOOD_FOR - 1) == {"central": QUOTES}
    assert kept.current(NOW + GOOD_FOR) == {}


def test_a_renewed_answer_takes_its_place_and_an_old_one_is_not_read_again(queue: MemoryQueue) -> None:
    kept = KeptQuotes(queue)
    first = kept.current(NOW)["central"]
    assert kept.current(NOW)["central"] is first
    queue.set_state({PRICES + "central": {**RECORD, "on_demand": {}}}, durable=True)
    assert kept.current(NOW) == {"central": Quotes({}, {"m5.large": 0.02})}


def test_nothing_is_kept_at_first() -> None:
    assert KeptQuotes(MemoryQueue()).current(NOW) == {}


@pytest.mark.parametrize(
    "record", [None, [], {}, {**RECORD, "spot": {"m5.large": "dear"}}, {**RECORD, "asked_at": None}]
)
def test_a_record_that_is_not_ours_is_no_price(queue: MemoryQueue, record: Any) -> None:
    queue.set_state({PRICES + "live": record}, durable=True)
    assert KeptQuotes(queue).current(NOW) == {"central": QUOTES}
