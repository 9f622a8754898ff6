"""First sight at once, repeats in a window, storms bounded."""

from __future__ import annotations

import gc
import tracemalloc
from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from tests.unit.conftest import NOON
from tests.unit.workers.event_watcher.conftest import occurrence
from workers.event_watcher.aggregate import REMEMBERED, STORM_BURST, Aggregator, Allowance, merge


def test_first_sight_is_forwarded_at_once() -> None:
    event = occurrence()
    assert Aggregator().offer(event, 0) == event


def test_a_repeat_waits_for_its_window_and_comes_once_with_its_count() -> None:
    aggregator = Aggregator(window=60)
    aggregator.offer(occurrence(count=1), 0)
    for count in (2, 3, 4):
        assert aggregator.offer(occurrence(count=count), 10 * count) is None
    assert aggregator.due(59) == []
    (repeat,) = aggregator.due(60)
    assert repeat.count == 4
    assert aggregator.due(600) == []


def test_windows_follow_one_another() -> None:
    aggregator = Aggregator(window=60)
    aggregator.offer(occurrence(count=1), 0)
    aggregator.offer(occurrence(count=2), 50)
    assert len(aggregator.due(100)) == 1
    aggregator.offer(occurrence(count=3), 110)
    assert aggregator.due(159) == []
    assert [event.count for event in aggregator.due(160)] == [3]


def test_seeing_the_very_same_again_is_nothing_to_tell() -> None:
    aggregator = Aggregator(window=60)
    aggregator.offer(occurrence(count=5), 0)
    aggregator.offer(occurrence(count=5), 1)
    aggregator.offer(occurrence(count=3), 2)
    assert aggregator.due(1000) == []


def test_another_sight_of_it_is_nothing_to_tell_even_if_the_clocks_differ_a_little() -> None:
    aggregator = Aggregator(window=60)
    aggregator.offer(occurrence(), 0)
    aggregator.offer(occurrence(last_seen=NOON + timedelta(seconds=2)), 1)
    assert aggregator.due(1000) == []


def test_it_happened_again_if_it_was_seen_much_later_whoever_counts() -> None:
    """A scheduler with another reason writes another event, which begins at one."""
    aggregator = Aggregator(window=60)
    aggregator.offer(occurrence(), 0)
    for seconds in (30, 59, 60):
        aggregator.offer(occurrence(last_seen=NOON + timedelta(seconds=seconds)), seconds)
    (repeat,) = aggregator.due(61)
    assert repeat.last_seen == NOON + timedelta(seconds=60)


def test_each_id_has_a_window_of_its_own() -> None:
    aggregator = Aggregator(window=60)
    aggregator.offer(occurrence("a"), 0)
    aggregator.offer(occurrence("b"), 30)
    aggregator.offer(occurrence("a", count=2), 31)
    aggregator.offer(occurrence("b", count=2), 31)
    assert [event.event_id for event in aggregator.due(60)] == ["a"]
    assert [event.event_id for event in aggregator.due(90)] == ["b"]


def test_the_longest_unseen_is_forgotten_first() -> None:
    aggregator = Aggregator(remembered=2)
    aggregator.offer(occurrence("a"), 0)
    aggregator.offer(occurrence("b"), 1)
    assert aggregator.offer(occurrence("a", count=2), 2) is None
    aggregator.offer(occurrence("c"), 3)
    assert aggregator.offer(occurrence("b", count=2), 4) is not None, "forgotten, so seen for the first time"
    assert REMEMBERED >= STORM_BURST, "what a storm lets through is remembered"


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 9), st.floats(0, 50)), max_size=30))
def test_nothing_is_lost_whatever_comes_when(sights: list[tuple[str, int, float]]) -> None:
    aggregator, now = Aggregator(window=60), 0.0
    told: dict[str, list[int]] = {}
    for event_id, count, pause in sights:
        now += pause
        first = aggregator.offer(occurrence(event_id, count=count), now)
        for event in [*([first] if first else []), *aggregator.due(now)]:
            told.setdefault(event.event_id, []).append(event.count)
    for event in aggregator.due(float("inf")):
        told.setdefault(event.event_id, []).append(event.count)
    for event_id in {sight[0] for sight in sights}:
        seen = [count for other, count, _ in sights if other == event_id]
        assert told[event_id][0] == seen[0]
        assert told[event_id][-1] == max(seen)
        assert told[event_id] == sorted(set(told[event_id])), "each count is told once, and they only grow"


# -- merging --------------------------------------------------------------------------------------


def test_two_sights_become_one_with_all_that_either_names() -> None:
    by_event = occurrence(count=3, first_seen=NOON, last_seen=NOON + timedelta(minutes=5), owner=None, node_name="n")
    by_status = occurrence(
        count=1, first_seen=NOON - timedelta(minutes=1), last_seen=NOON, owner="ReplicaSet/web", node_name=None
    )
    merged = merge(by_event, by_status)
    assert merged.count == 3
    assert (merged.first_seen, merged.last_seen) == (NOON - timedelta(minutes=1), NOON + timedelta(minutes=5))
    assert (merged.owner, merged.node_name) == ("ReplicaSet/web", "n")


def test_why_it_happens_is_as_the_later_sight_says() -> None:
    """A pod that waited for CPU is kept off by a taint now."""
    aggregator = Aggregator(window=60)
    aggregator.offer(occurrence(message="Insufficient cpu"), 0)
    later = {"reason": "FailedScheduling", "severity": "warning", "message": "untolerated taint"}
    aggregator.offer(occurrence(count=2, last_seen=NOON + timedelta(minutes=2), **later), 1)
    aggregator.offer(occurrence(count=1, message="an old sight that comes late"), 2)
    (repeat,) = aggregator.due(60)
    assert {key: getattr(repeat, key) for key in later} == later


SIGHTS = st.builds(
    lambda count, first, last, message: occurrence(
        count=count,
        first_seen=NOON + timedelta(minutes=first),
        last_seen=NOON + timedelta(minutes=first + last),
        message=message,
    ),
    st.integers(1, 9),
    st.integers(0, 9),
    st.integers(0, 9),
    st.sampled_from(["cpu", "taint", "volume"]),
)


@given(SIGHTS, SIGHTS, SIGHTS)
def test_the_order_of_sights_does_not_matter(one: object, other: object, third: object) -> None:
    a, b, c = (occurrence(**vars(sight)) for sight in (one, other, third))
    assert merge(a, b) == merge(b, a)
    assert merge(merge(a, b), c) == merge(a, merge(b, c))
    assert merge(a, a) == a


# -- storms ---------------------------------------------------------------------------------------


def test_a_burst_goes_through_and_then_so_many_a_second() -> None:
    allowance = Allowance(rate=2, burst=5)
    assert [allowance.lets_through("oom_killed", 0) for _ in range(7)] == [True] * 5 + [False] * 2
    assert not allowance.lets_through("oom_killed", 0.4)
    assert allowance.lets_through("oom_killed", 0.5)
    assert [allowance.lets_through("oom_killed", 1.5) for _ in range(3)] == [True, True, False]


def test_what_was_saved_up_is_no_more_than_the_burst() -> None:
    allowance = Allowance(rate=2, burst=5)
    allowance.lets_through("oom_killed", 0)
    assert sum(allowance.lets_through("oom_killed", 3600) for _ in range(100)) == 5


def test_a_storm_of_one_type_holds_up_no_other() -> None:
    allowance = Allowance(rate=1, burst=1)
    assert allowance.lets_through("oom_killed", 0)
    assert not allowance.lets_through("oom_killed", 0)
    assert allowance.lets_through("pod_evicted", 0)


@given(st.lists(st.floats(0, 3), max_size=100))
def test_no_more_goes_through_than_burst_and_rate_allow(pauses: list[float]) -> None:
    allowance, now, passed = Allowance(rate=3, burst=4), 0.0, 0
    for pause in pauses:
        now += pause
        passed += allowance.lets_through("oom_killed", now)
    assert passed <= 4 + 3 * now + 1e-6


def test_what_is_remembered_takes_less_room_than_the_events_themselves() -> None:
    """Five thousand known ids, each told once and seen again, held two events each: twenty mebibytes."""
    gc.collect()
    tracemalloc.start()
    events = [occurrence(f"e{number}", message=f"{number} " + "why " * 50) for number in range(500)]
    alone = tracemalloc.get_traced_memory()[0]
    aggregator = Aggregator()
    for event in events:
        aggregator.offer(event, 0.0)
        aggregator.offer(event.model_copy(update={"count": 2}), 1.0)
    held = tracemalloc.get_traced_memory()[0] - alone
    tracemalloc.stop()
    assert held < alone / 2
