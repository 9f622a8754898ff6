"""Whatever Central sends, by poll or by stream: an answer with the reason, or counted and told as dropped; no crash.

The long form, a hundred thousand, is ``python -m bench.payloads``.
"""

from __future__ import annotations

import pytest

from bench import payloads
from bench.payloads import Counts

COUNT = 2000


@pytest.fixture(scope="module")
def counts() -> Counts:
    return payloads.run(COUNT, number=7)


def test_every_payload_is_accounted_for(counts: Counts) -> None:
    assert sum(counts.sent.values()) == COUNT
    assert min(counts.sent["poll"], counts.sent["stream"]) > COUNT // 10
    assert not counts.problems()
    assert counts.clean


def test_each_that_has_an_id_is_answered_once_and_with_a_reason(counts: Counts) -> None:
    assert (counts.unanswered, counts.twice, counts.wordless) == ([], [], [])
    assert counts.answered["refused"] > COUNT // 10
    assert counts.executed > 0, "some of it was good"


def test_each_that_has_none_is_counted_by_its_reason(counts: Counts) -> None:
    assert counts.dropped == counts.to_drop
    assert set(counts.dropped) == {"no_id", "other_cluster", "ignored"}
    assert counts.dropped.total() > COUNT // 10


def test_the_log_accounts_for_each_of_those(counts: Counts) -> None:
    """By a line, or by a number in one; so few polls and frames do not bring the throttle to keep a number back."""
    assert counts.lines_kept_back == 0
    assert counts.told == counts.dropped.total()


def test_nothing_crashed_and_central_took_every_answer(counts: Counts) -> None:
    assert counts.crashes == []


def test_the_payloads_are_the_same_for_the_same_seed() -> None:
    """So that what the long form finds can be had again."""
    first, second, other = (repr(payloads.generated(40, number)) for number in (3, 3, 4))
    assert first == second != other
