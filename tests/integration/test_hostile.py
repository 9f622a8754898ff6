"""A Central that turned against the cluster, in short; ``make hostile`` is the long form."""

from __future__ import annotations

import pytest

from tests.sim.hostile.attack import Outcome, attack

pytest.importorskip("cel_expr_python", reason="the evaluator of policies has no wheels for Python 3.10")

TASKS = 600


@pytest.fixture(scope="module")
def outcome() -> Outcome:
    return attack(TASKS, seconds=0)


def test_what_was_changed_is_what_the_limits_allow(outcome: Outcome) -> None:
    assert outcome.trespasses == []
    assert outcome.said >= TASKS
    assert outcome.writes["patch nodes 200"], "they allow something"
    assert outcome.answers["failed"] > TASKS // 10, "and refuse a lot"


def test_a_good_task_is_done_all_the_same(outcome: Outcome) -> None:
    assert outcome.good_status == "success"
    assert not outcome.restarted


def test_without_the_limits_the_same_attack_does_harm() -> None:
    """So that the comparison is known to see it."""
    harm = attack(TASKS, seconds=0, guarded=False).trespasses
    for words in ("is protected, and", "labels ", "nodes are cordoned, 3 may be"):
        assert any(words in each for each in harm), words
