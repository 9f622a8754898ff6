"""What becomes of a delivery that failed: the table, row by row."""

from __future__ import annotations

import pytest

from shared.basics.errors import AgentError, TemporaryError
from shared.central.verdicts import Unclear
from tests.unit.conftest import FakeClock
from workers.heartbeat.patience import (
    FIRST_ASIDE,
    GIVE_UP_SECONDS,
    LAST_FAILURES,
    LAST_PAUSE,
    PATIENT_TRIES,
    Next,
    Patience,
)

ERROR = TemporaryError("Central answered 500 to result")
PAGE = Unclear("something before Central answered 400 to result: <html>")
ONE, TWO = [(1, "t1")], [(1, "t1"), (2, "t2")]


@pytest.fixture
def patience(clock: FakeClock) -> Patience:
    return Patience(clock)


def fail(patience: Patience, times: int, messages: list[tuple[int, str]] = ONE, error: AgentError = ERROR) -> Next:
    for _ in range(times):
        found = patience.failed("results", messages, error)
    return found


def heartbeat(patience: Patience, clock: FakeClock) -> None:
    clock.advance(1)
    patience.central_answered()


def test_while_no_heartbeat_passes_all_waits(patience: Patience) -> None:
    assert fail(patience, 10 * PATIENT_TRIES) is Next.WAIT


def test_a_few_failures_are_nobodys_fault(patience: Patience, clock: FakeClock) -> None:
    fail(patience, PATIENT_TRIES - 2)
    heartbeat(patience, clock)
    assert fail(patience, 1) is Next.WAIT


def test_one_that_fails_while_heartbeats_pass_is_parked_and_a_batch_is_halved(
    patience: Patience, clock: FakeClock
) -> None:
    fail(patience, PATIENT_TRIES - 1, TWO)
    heartbeat(patience, clock)
    assert fail(patience, 1, TWO) is Next.HALVE
    assert fail(patience, 1) is Next.PARK
    assert not patience.is_aside("results")


def test_when_the_next_one_fails_too_its_kind_is_set_aside(patience: Patience, clock: FakeClock) -> None:
    fail(patience, PATIENT_TRIES - 1)
    heartbeat(patience, clock)
    fail(patience, 1)
    assert fail(patience, 1, [(2, "t2")]) is Next.PARK
    assert patience.is_aside("results")
    assert not patience.is_aside("events")
    clock.advance(FIRST_ASIDE)
    assert not patience.is_aside("results")


def test_the_first_of_a_kind_that_goes_frees_the_parked_once(patience: Patience, clock: FakeClock) -> None:
    fail(patience, PATIENT_TRIES - 1)
    heartbeat(patience, clock)
    fail(patience, 1)
    assert patience.went("events", ["e1"]) == []
    assert patience.went("results", ["t2"]) == [1]
    heartbeat(patience, clock)
    assert fail(patience, 1) is Next.PARK
    assert patience.went("results", ["t3"]) == [], "it failed although its kind goes"


@pytest.mark.parametrize(
    ("error", "goes", "after", "found"),
    [
        (PAGE, True, GIVE_UP_SECONDS, Next.GIVE_UP),
        (PAGE, True, GIVE_UP_SECONDS - 5, Next.PARK),
        (PAGE, False, GIVE_UP_SECONDS, Next.PARK),
        (ERROR, True, GIVE_UP_SECONDS, Next.PARK),
    ],
)
def test_only_a_page_gives_a_message_up_and_only_while_its_kind_goes(
    patience: Patience, clock: FakeClock, error: AgentError, goes: bool, after: float, found: Next
) -> None:
    fail(patience, PATIENT_TRIES - 1, error=error)
    heartbeat(patience, clock)
    if goes:
        patience.went("results", ["t2"])
    clock.advance(after - 1)
    assert fail(patience, 1, error=error) is found


def test_a_heartbeat_that_fails_wipes_the_slate(patience: Patience, clock: FakeClock) -> None:
    fail(patience, PATIENT_TRIES - 1)
    heartbeat(patience, clock)
    patience.central_failed()
    assert fail(patience, 1) is Next.WAIT


def test_at_the_end_everything_is_put_off_and_after_a_few_its_kind_for_a_moment(
    patience: Patience, clock: FakeClock
) -> None:
    patience.last_chance()
    assert fail(patience, LAST_FAILURES - 1) is Next.PUT_OFF
    assert not patience.is_aside("results")
    assert fail(patience, 1) is Next.PUT_OFF
    assert patience.is_aside("results")
    clock.advance(LAST_PAUSE)
    assert not patience.is_aside("results")
    fail(patience, LAST_FAILURES - 1)
    patience.went("results", ["t9"])
    fail(patience, 1)
    assert not patience.is_aside("results"), "in a row"
