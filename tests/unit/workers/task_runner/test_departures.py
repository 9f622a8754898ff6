"""Pods on their way out: the state machine of a removal, by a time that the test says."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.kube.evictions import Outcome, Verdict
from shared.kube.pods import Pod
from tests.unit.conftest import NOON
from tests.unit.workers.task_runner.conftest import pod
from workers.task_runner.departures import Departure, Departures, Stage, describe

ACCEPTED = Outcome(Verdict.ACCEPTED, 201, "evicted")
BLOCKED = Outcome(Verdict.BLOCKED, 429, "held", pause=5.0, budget="web")
DENIED = Outcome(Verdict.DENIED, 403, "not today", pause=5.0)
RETRY = Outcome(Verdict.RETRY, 503, "busy", pause=1.0)
GONE = Outcome(Verdict.GONE, 404, "not found")
REFUSED = Outcome(Verdict.REFUSED, 500, "two budgets")
FORBIDDEN = Outcome(Verdict.FORBIDDEN, 403, "RBAC")


class LowestDraw(random.Random):
    """Draws the lower end of every range."""

    def uniform(self, a: float, b: float) -> float:
        return a


def begun(*pods: Pod, interval: float = 0.0) -> Departures:
    departures = Departures(rng=LowestDraw(), interval=interval)
    departures.add(pods or [pod()], now=0.0)
    return departures


def names(departures: list[Departure]) -> list[str]:
    return [departure.pod.metadata.name for departure in departures]


def the(departures: Departures) -> Departure:
    """The one departure there is."""
    (only,) = departures._all.values()
    return only


# -- asking ---------------------------------------------------------------------------------------


def test_all_are_asked_at_once() -> None:
    departures = begun(pod("a"), pod("b"))
    assert names(departures.due(0)) == ["a", "b"]
    assert departures.due(0) == [], "they are under way"
    assert departures.next_due() is None


def test_a_pod_that_terminates_already_is_only_waited_for() -> None:
    departures = begun(pod(deleted="2026-03-01T12:00:30Z"))
    assert departures.due(0) == []
    assert the(departures).stage is Stage.TERMINATING
    assert names(departures.pending) == ["web-0"]


def test_nothing_to_remove_is_nothing_pending() -> None:
    assert Departures().pending == []
    assert Departures().next_due() is None


def test_between_two_requests_there_is_the_interval() -> None:
    departures = begun(pod("a"), pod("b"), pod("c"), interval=10)
    assert names(departures.due(0)) == ["a"]
    assert departures.due(9.9) == []
    assert departures.next_due() == 10
    assert names(departures.due(10)) == ["b"]
    assert names(departures.due(35)) == ["c"], "time that passed is not saved up"


def test_the_interval_holds_across_tiers() -> None:
    departures = begun(pod("a"), interval=10)
    departures.due(0)
    departures.answered("uid-a", GONE, 1)
    departures.add([pod("b")], now=2)
    assert departures.due(2) == []
    assert names(departures.due(10)) == ["b"]


# -- answers --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("outcome", "stage", "pending", "blocked", "next_due"),
    [
        (ACCEPTED, Stage.TERMINATING, True, False, None),
        (GONE, Stage.GONE, False, False, None),
        (REFUSED, Stage.REFUSED, False, False, None),
        (FORBIDDEN, Stage.REFUSED, False, False, None),
        (BLOCKED, Stage.WAITING, True, True, 105.0),
        (DENIED, Stage.WAITING, True, True, 105.0),
        (RETRY, Stage.WAITING, True, False, 101.0),
    ],
    ids=lambda value: value.verdict.value if isinstance(value, Outcome) else "",
)
def test_what_an_answer_leads_to(
    outcome: Outcome, stage: Stage, pending: bool, blocked: bool, next_due: float | None
) -> None:
    departures = begun()
    departures.due(0)
    assert departures.answered("uid-web-0", outcome, 100) is the(departures)
    assert the(departures).stage is stage
    assert the(departures).last is outcome
    assert bool(departures.pending) is pending
    assert bool(departures.blocked) is blocked
    assert bool(departures.refused) is (stage is Stage.REFUSED)
    assert departures.next_due() == next_due


def test_retries_are_spread() -> None:
    departures = Departures(rng=random.Random(1))
    departures.add([pod(f"p{number}") for number in range(100)], now=0)
    for departure in departures.due(0):
        departures.answered(departure.pod.uid, BLOCKED, 100)
    moments = [departure.next_try for departure in departures.pending]
    assert 105 <= min(moments) < 105.2
    assert 105.8 < max(moments) <= 106


def test_a_blocked_pod_is_asked_again_until_its_budget_lets_it_go() -> None:
    departures = begun()
    for attempt in range(1, 4):
        (asked,) = departures.due(attempt * 10)
        assert asked.attempts == attempt
        departures.answered("uid-web-0", BLOCKED, attempt * 10)
        assert departures.due(attempt * 10 + 4.9) == []
    assert the(departures).blocked_since == 10, "since the first time"
    departures.due(40)
    departures.answered("uid-web-0", ACCEPTED, 40)
    assert departures.blocked == []
    assert not the(departures).blocked


def test_a_pod_that_is_asked_again_still_counts_as_blocked() -> None:
    departures = begun()
    departures.due(0)
    departures.answered("uid-web-0", BLOCKED, 0)
    departures.due(10)
    assert names(departures.blocked) == ["web-0"]


def test_an_answer_nobody_waits_for_changes_nothing() -> None:
    departures = begun()
    assert departures.answered("uid-web-0", ACCEPTED, 0) is None, "it was not asked"
    assert departures.answered("uid-other", ACCEPTED, 0) is None
    departures.due(0)
    departures.gone("uid-web-0")
    assert departures.answered("uid-web-0", BLOCKED, 0) is None, "it is gone meanwhile"
    assert departures.pending == []


# -- what is seen ---------------------------------------------------------------------------------


def test_a_pod_may_terminate_by_someone_elses_hand() -> None:
    departures = begun()
    departures.due(0)
    departures.answered("uid-web-0", BLOCKED, 0)
    departures.seen(pod(deleted="2026-03-01T12:00:30Z"))
    assert the(departures).stage is Stage.TERMINATING
    assert departures.next_due() is None


def test_a_request_under_way_is_awaited_whatever_is_seen() -> None:
    departures = begun()
    departures.due(0)
    departures.seen(pod(deleted="2026-03-01T12:00:30Z"))
    assert the(departures).stage is Stage.ASKED
    departures.answered("uid-web-0", ACCEPTED, 0)
    assert the(departures).stage is Stage.TERMINATING


def test_a_pod_that_can_never_be_evicted_may_still_go() -> None:
    departures = begun()
    departures.due(0)
    departures.answered("uid-web-0", REFUSED, 0)
    departures.seen(pod(deleted="2026-03-01T12:00:30Z"))
    assert (departures.refused, names(departures.pending)) == ([], ["web-0"])
    assert departures.gone("uid-web-0") is not None
    assert departures.pending == []


def test_a_new_look_at_the_pod_is_kept() -> None:
    departures = begun()
    departures.seen(pod(phase="Unknown", version="77"))
    assert the(departures).pod.status.phase == "Unknown"
    departures.seen(pod("other"))
    assert len(departures._all) == 1, "a pod that is none of ours is not added"


def test_the_end_is_said_once() -> None:
    departures = begun()
    assert departures.gone("uid-web-0") is the(departures)
    assert departures.gone("uid-web-0") is None
    assert departures.gone("uid-other") is None
    departures.seen(pod())
    assert the(departures).stage is Stage.GONE, "an old line of the watch does not bring it back"


# -- lists ----------------------------------------------------------------------------------------


def test_who_is_missing_from_a_newer_list_is_gone() -> None:
    departures = begun(pod("a", version="10"), pod("b", version="10"))
    assert names(departures.listed([pod("b")], version="10")) == ["a"]
    assert departures.listed([pod("b")], version="11") == [], "said once"


@pytest.mark.parametrize(
    ("version", "gone"), [("9", []), ("10", ["web-0"]), ("100", ["web-0"]), ("", ["web-0"]), ("odd", ["web-0"])]
)
def test_an_older_list_from_another_api_servers_cache_proves_nothing(version: str, gone: list[str]) -> None:
    """Compared as numbers: 9 is older than 10."""
    assert names(begun(pod(version="10")).listed([], version)) == gone


def test_a_list_shows_the_pods_as_they_are() -> None:
    departures = begun()
    departures.listed([pod(deleted="2026-03-01T12:00:30Z", version="20")], "20")
    assert the(departures).stage is Stage.TERMINATING


# -- words (rule 23) ------------------------------------------------------------------------------


def test_a_line_says_name_uid_answer_budget_phase_and_time() -> None:
    departures = begun()
    departures.due(0)
    departures.answered("uid-web-0", BLOCKED, 10)
    assert describe(the(departures), now=70, wall=NOON.timestamp()) == (
        "shop/web-0 uid=uid-web-0 waiting phase=Running; HTTP 429: held; budget web held it for 60 s;"
        " waited 70 s in 1 tries"
    )


def test_a_pod_that_was_never_asked_has_little_to_say() -> None:
    assert describe(the(begun(pod(phase=""))), now=3, wall=NOON.timestamp()) == (
        "shop/web-0 uid=uid-web-0 waiting phase=?; not asked yet; waited 3 s in 0 tries"
    )


def test_9_a_pod_whose_tier_had_no_turn_says_so() -> None:
    departures = begun(pod("ordinary"))
    departures.add([pod("critical")], now=0.0, tier=1)
    critical = next(d for d in departures.pending if d.tier == 1)
    assert "not asked: pods of an earlier tier go first" in describe(critical, now=3, wall=NOON.timestamp())


@pytest.mark.parametrize(
    ("said", "holder"),
    [
        ('admission webhook "guard.example.com" denied the request: not today', "webhook guard.example.com"),
        ("ValidatingAdmissionPolicy 'guard' with binding 'b' denied request: not today", "policy guard"),
        ("not while the moon is full", "an admission rule"),
    ],
)
def test_an_admission_rule_that_holds_a_pod_is_named(said: str, holder: str) -> None:
    departures = begun()
    departures.due(0)
    departures.answered("uid-web-0", Outcome(Verdict.DENIED, 403, said, pause=5.0), 10)
    line = describe(the(departures), now=70, wall=NOON.timestamp())
    assert f"HTTP 403: {said}; {holder} held it for 60 s" in line


def test_the_time_a_pod_was_held_ends_when_it_is_let_go() -> None:
    departures = begun()
    departures.due(0)
    departures.answered("uid-web-0", BLOCKED, 10)
    departures.due(100)
    departures.answered("uid-web-0", ACCEPTED, 100)
    assert the(departures).held_for(500) == 90


@pytest.mark.parametrize(
    ("after", "finalizers", "said"),
    [
        (60, None, None),
        (61, None, "stuck terminating, 61 s past its end, finalizers: none"),
        (90, ["a/b", "c/d"], "stuck terminating, 90 s past its end, finalizers: a/b, c/d"),
    ],
)
def test_19_a_minute_past_its_end_a_pod_is_stuck(after: float, finalizers: list[str] | None, said: str | None) -> None:
    departures = begun(pod(deleted="2026-03-01T12:00:00Z", finalizers=finalizers))
    line = describe(the(departures), now=0, wall=NOON.timestamp() + after)
    assert (said in line) if said else ("stuck" not in line)


# -- always ---------------------------------------------------------------------------------------

VERDICTS = st.sampled_from([ACCEPTED, BLOCKED, DENIED, RETRY, GONE, REFUSED])
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("due"), st.none()),
        st.tuples(st.just("answer"), VERDICTS),
        st.tuples(st.sampled_from(["seen", "terminating", "gone", "wait"]), st.none()),
    ),
    max_size=30,
)


@given(STEPS)
def test_a_pod_is_never_asked_twice_at_a_time_nor_after_its_end(steps: list[tuple[str, Outcome | None]]) -> None:
    departures, now, asked, ended = begun(), 0.0, False, False
    for step, outcome in steps:
        now += 10 if step == "wait" else 0
        if step == "due":
            due = departures.due(now)
            assert not (due and (asked or ended))
            asked = asked or bool(due)
        elif step == "answer" and outcome is not None:
            if departures.answered("uid-web-0", outcome, now):
                assert asked
                ended = ended or outcome.verdict is Verdict.GONE
                asked = False
        elif step == "gone":
            departures.gone("uid-web-0")
            ended = True
        elif step in ("seen", "terminating"):
            departures.seen(pod(deleted="2026-03-01T12:00:30Z" if step == "terminating" else None))
        departure = the(departures)
        assert (departure.stage is Stage.GONE) == ended
        assert (departure in departures.pending) == (departure.stage not in (Stage.GONE, Stage.REFUSED))
