"""``cloudoptim-agent dead-letters``: what it shows, and what it queues again."""

from __future__ import annotations

import json

import pytest

from shared.queue.limits import Limits
from shared.queue.memory import MemoryQueue
from tests.unit.conftest import FakeClock
from workers.commands.dead_letters import dead_letters


@pytest.fixture
def queue(clock: FakeClock) -> MemoryQueue:
    """With two results that Central refused."""
    queue = MemoryQueue(Limits(total_bytes=100), clock)
    for key, size in (("t1", 60), ("t2", 10)):
        queue.put("results", [(key, json.dumps({"task_id": key, "logs": "x" * size}).encode())])
        (leased,) = queue.lease(["results"], 1, 60)
        queue.bury([leased.id], f"Central answered 409 to result: {key} is not known")
        clock.advance(1)
    return queue


def test_they_are_a_table_with_the_reasons(queue: MemoryQueue) -> None:
    head, *lines = dead_letters(queue, retry=False, in_json=False)
    assert head.split() == ["REFUSED", "TOPIC", "BYTES", "KEY"]
    assert lines[0].split() == ["2026-03-01T12:00:00.000Z", "results", "89", "t1"]
    assert lines[1].strip() == "Central answered 409 to result: t1 is not known"
    assert len(lines) == 4
    assert queue.stats()["results"].depth == 0, "to look changes nothing"


def test_or_json_whole(queue: MemoryQueue) -> None:
    first, second = [json.loads(line) for line in dead_letters(queue, retry=False, in_json=True)]
    assert first == {
        "refused_at": "2026-03-01T12:00:00.000Z",
        "topic": "results",
        "key": "t1",
        "reason": "Central answered 409 to result: t1 is not known",
        "body": {"task_id": "t1", "logs": "x" * 60},
    }
    assert second["key"] == "t2"


def test_they_can_be_sent_again_as_far_as_there_is_room(queue: MemoryQueue) -> None:
    queue.put("results", [("waits", b'"yyyyyyyyyyyyyyyyyyyyyyyyyyyyyy"')])
    *_, said = dead_letters(queue, retry=True, in_json=False)
    assert said.startswith("1 of 2 are queued again")
    assert [message.key for message in queue.lease(["results"], 10, 60)] == ["waits", "t2"]


def test_none_is_said() -> None:
    said = list(dead_letters(MemoryQueue(), retry=True, in_json=False))
    assert said == ["Central has refused nothing for good that is still kept."]
    assert list(dead_letters(MemoryQueue(), retry=True, in_json=True)) == []
