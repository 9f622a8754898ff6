"""That a task was executed is known for twenty thousand tasks, in little room."""

from __future__ import annotations

import json
from typing import Any

import pytest

from shared.queue.frames import MAX_FRAME
from shared.queue.limits import Limits
from shared.queue.messages import RESULTS
from workers.task_runner.records.executed import BLOCK, BLOCKS, Executed

KEPT = BLOCK * (BLOCKS - 1)


def fill(executed: Executed, state: dict[str, Any], first: int, last: int) -> None:
    """Execute tasks as the journal does: written, then known."""
    for number in range(first, last):
        state.update(executed.record(f"t{number}"))
        executed.add(f"t{number}")


def loaded(state: dict[str, Any]) -> Executed:
    executed = Executed()
    executed.load(json.loads(json.dumps(state)))
    return executed


def test_more_are_known_than_results_may_wait() -> None:
    assert 1.5 * Limits().messages[RESULTS] < KEPT


def test_the_last_ones_are_known_and_the_first_forgotten_also_after_a_restart() -> None:
    executed, state = Executed(), dict[str, Any]()
    total = KEPT + 3 * BLOCK + 7
    fill(executed, state, 0, total)
    for one in (executed, loaded(state)):
        assert all(f"t{number}" in one for number in range(total - KEPT, total))
        assert not any(f"t{number}" in one for number in range(2 * BLOCK))
    assert len(state) == BLOCKS


def test_after_a_restart_it_goes_on_where_it_was() -> None:
    state = dict[str, Any]()
    for first in range(0, 10 * BLOCK, 70):
        fill(loaded(state), state, first, first + 70)
    assert all(f"t{number}" in loaded(state) for number in range(10 * BLOCK))
    assert len(state) == 11


def test_all_of_it_fits_into_one_answer_of_the_queue_however_long_the_ids() -> None:
    executed, state = Executed(), dict[str, Any]()
    for number in range(KEPT + BLOCK):
        task_id = f"{'é' * 200}{number}"
        state.update(executed.record(task_id))
        executed.add(task_id)
    assert len(json.dumps(state)) < MAX_FRAME / 4


def test_what_is_only_to_be_written_is_not_known_yet() -> None:
    executed = Executed()
    executed.record("t")
    assert "t" not in executed


@pytest.mark.parametrize("odd", [7, None, {}, {"number": "x", "ids": []}, {"number": 1, "ids": 3}])
def test_a_record_nobody_can_read_is_left_alone_and_said(odd: Any, caplog: pytest.LogCaptureFixture) -> None:
    state = dict[str, Any]()
    fill(Executed(), state, 0, 3)
    executed = loaded({**state, "executed/9": odd})
    assert all(f"t{number}" in executed for number in range(3))
    assert "executed/9 cannot be read" in caplog.text
