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
from workers.task_runner.leaving.departures import Departure, Departures, Stage, describe

ACCEPTED = Outcome(Verdict.ACCEPTED, 201, "evicted")
TERMINATING = Outcome(Verdict.TERMINATING, 200, "terminates already")
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


def seen(departures: Departures, one: Pod) -> list[Departure]:
    """A look, with ``one`` as it is now and the others as they were."""
    return departures.look({**{d.pod.uid: d.pod for d in departures.pending}, one.uid: one})


def gone(departures: Departures, uid: str) -> list[Departure]:
    """A look at what is there without ``uid``."""
    return departures.look({d.pod.uid: d.pod for d in departures.all if d.pod.uid != uid})


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
        (ACCEPTED, Stage.ACCEPTED, True, False, 105.0),
        (TERMINATING, Stage.TERMINATING, True, False, None),
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
        asked.sent()
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
    gone(departures, "uid-web-0")
    assert departures.answered("uid-web-0", BLOCKED, 0) is None, "it is gone meanwhile"
    assert departures.pending == []


# -- what is seen ---------------------------------------------------------------------------------


def test_a_pod_may_terminate_by_someone_elses_hand() -> None:
    departures = begun()
    departures.due(0)
    departures.answered("uid-web-0", BLOCKED, 0)
    seen(departures, pod(deleted="2026-03-01T12:00:30Z"))
    assert the(departures).stage is Stage.TERMINATING
    assert departures.next_due() is None


def test_a_request_under_way_is_awaited_whatever_is_seen() -> None:
    departures = begun()
    departures.due(0)
    seen(departures, pod(deleted="2026-03-01T12:00:30Z"))
    assert the(departures).stage is Stage.ASKED
    departures.answered("uid-web-0", ACCEPTED, 0)
    assert the(departures).stage is Stage.TERMINATING


def test_a_pod_that_can_never_be_evicted_may_still_go() -> None:
    departures = begun()
    departures.due(0)
    departures.answered("uid-web-0", REFUSED, 0)
    seen(departures, pod(deleted="2026-03-01T12:00:30Z"))
    assert (departures.refused, names(departures.pending)) == ([], ["web-0"])
    assert gone(departures, "uid-web-0")
    assert departures.pending == []


def test_a_new_look_at_the_pod_is_kept() -> None:
    departures = begun()
    seen(departures, pod(phase="Unknown", version="77"))
    assert the(departures).pod.status.phase == "Unknown"
    seen(departures, pod("other"))
    assert len(departures._all) == 1, "a pod that is none of ours is not added"


def test_the_end_is_said_once() -> None:
    departures = begun()
    assert gone(departures, "uid-web-0") == [the(departures)]
    assert gone(departures, "uid-web-0") == []
    assert gone(departures, "uid-other") == []
    seen(departures, pod())
    assert the(departures).stage is Stage.GONE, "an old line of the watch does not bring it back"


@pytest.mark.parametrize("phase", ["Succeeded", "Failed"])
def test_18_a_pod_that_ended_is_nobodys_business(phase: str) -> None:
    """A finalizer may keep the object."""
    departures = begun()
    departures.due(0)
    departures.answered("uid-web-0", BLOCKED, 0)
    assert seen(departures, pod(phase=phase, version="11")) == [the(departures)]
    assert departures.pending == []


def test_a_pod_that_had_ended_before_is_asked_all_the_same() -> None:
    """A delete_pod means the object."""
    departures = begun(pod(phase="Succeeded"))
    assert seen(departures, pod(phase="Succeeded", version="11")) == []
    (asked,) = departures.due(0)
    departures.answered("uid-web-0", ACCEPTED, 0)
    assert seen(departures, pod(phase="Succeeded", version="12")) == [], "accepted, but it does not show"
    going = pod(phase="Succeeded", version="13", deleted="2026-03-01T12:00:30Z", finalizers=["keep"])
    assert seen(departures, going) == [asked]


# -- rule 11: accepted, and seen -----------------------------------------------------------------


def test_11_an_accepted_pod_that_does_not_show_it_is_asked_again() -> None:
    """A webhook may have made a dry run of the eviction."""
    departures = begun()
    departures.due(0)
    departures.answered("uid-web-0", ACCEPTED, 0)
    assert the(departures).stage is Stage.ACCEPTED
    assert departures.due(4.9) == []
    assert names(departures.due(5)) == ["web-0"]


def test_11_an_accepted_pod_that_terminates_is_only_waited_for() -> None:
    departures = begun()
    departures.due(0)
    departures.answered("uid-web-0", ACCEPTED, 0)
    seen(departures, pod(deleted="2026-03-01T12:00:30Z", version="11"))
    assert the(departures).stage is Stage.TERMINATING
    assert departures.due(1000) == []


# -- rule 21: ending sooner ----------------------------------------------------------------------


def test_21_a_pod_that_terminates_already_is_asked_once_where_that_makes_it_end_sooner() -> None:
    departures = Departures(rng=LowestDraw())
    departures.add([pod(deleted="2026-03-01T13:00:00Z")], now=0, shortens=lambda pod: True)
    assert names(departures.due(0)) == ["web-0"]
    departures.answered("uid-web-0", ACCEPTED, 0)
    assert the(departures).stage is Stage.TERMINATING
    assert departures.due(1000) == []


def test_30_a_pod_that_is_only_waited_for_is_never_asked() -> None:
    departures = Departures(rng=LowestDraw())
    departures.add([pod()], now=0, unasked=["uid-web-0"])
    assert (departures.due(1000), departures.under_way, departures.awaits_ends) == ([], True, True)
    gone(departures, "uid-web-0")
    assert not departures.under_way


def test_24_a_try_is_counted_when_it_is_sent() -> None:
    departures = begun()
    (asked,) = departures.due(0)
    assert "not asked yet; waited 3 s in 0 tries" in describe(asked, now=3, wall=NOON.timestamp())
    asked.sent()
    assert "waited 3 s in 1 tries" in describe(asked, now=3, wall=NOON.timestamp())


def test_what_was_not_sent_after_all_waits_again() -> None:
    departures = begun()
    departures.due(0)
    departures.unsent("uid-web-0", 7)
    assert (the(departures).stage, departures.next_due(), the(departures).attempts) == (Stage.WAITING, 7, 0)


def test_12_a_try_that_met_a_budget_on_its_way_out_is_free_but_not_for_ever() -> None:
    departures = begun()
    pauses = []
    for moment in (0.0, 100.0, 200.0, 300.0):
        (asked,) = departures.due(moment)
        asked.sent()
        departures.answered("uid-web-0", Outcome(Verdict.RETRY, 404, "no such budget"), moment)
        pauses.append((departures.next_due() or 0) - moment)
    assert pauses == [0.0, 0.0, 4.0, 8.0]


# -- words (rule 23) ------------------------------------------------------------------------------


def test_a_line_says_name_uid_answer_budget_phase_and_time() -> None:
    departures = begun()
    departures.due(0)[0].sent()
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
            gone(departures, "uid-web-0")
            ended = True
        elif step in ("seen", "terminating"):
            seen(departures, pod(deleted="2026-03-01T12:00:30Z" if step == "terminating" else None))
        departure = the(departures)
        assert (departure.stage is Stage.GONE) == ended
        assert (departure in departures.pending) == (departure.stage not in (Stage.GONE, Stage.REFUSED))
