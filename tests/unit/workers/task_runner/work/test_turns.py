"""Whose pod is asked next (rule 24)."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from workers.task_runner.work.turns import Turns


@dataclass(frozen=True)
class Ask:
    task_id: str
    namespace: str = "shop"
    rank: tuple[int, float] = (5, 0.0)
    number: int = 0


def turns(*asks: Ask, places: int = 100) -> Turns[Ask]:
    made: Turns[Ask] = Turns(places)
    for ask in asks:
        made.add(ask)
    return made


def order(made: Turns[Ask]) -> list[str]:
    found = []
    while (ask := made.take()) is not None:
        found.append(ask.task_id)
    return found


def test_the_most_urgent_tasks_pods_go_first() -> None:
    made = turns(
        Ask("b", rank=(5, 2.0)), Ask("c", rank=(9, 0.0)), Ask("a", rank=(5, 1.0)), Ask("urgent", rank=(1, 9.0))
    )
    assert order(made) == ["urgent", "a", "b", "c"]


def test_equals_take_turns() -> None:
    assert order(turns(Ask("a"), Ask("a"), Ask("a"), Ask("b"), Ask("c"), Ask("b"))) == ["a", "b", "c", "a", "b", "a"]


def test_one_namespace_leaves_half_of_the_places_to_others() -> None:
    made = turns(*[Ask("a", number=number) for number in range(10)], places=6)
    assert order(made) == ["a"] * 3
    made.add(Ask("b", namespace="other"))
    assert order(made) == ["b"]


def test_all_slow_namespaces_together_leave_half_of_the_places_to_others() -> None:
    made = turns(*[Ask(space, space, number=number) for space in "xyz" for number in range(9)], places=8)
    first = [made.take() for _ in range(8)]
    for ask in first:
        assert ask is not None
        made.done(ask, seconds=10.0)
    assert len(order(made)) == 4
    made.add(Ask("quick", "quick"))
    assert order(made) == ["quick"]


def test_a_namespace_that_is_quick_again_counts_as_quick() -> None:
    made = turns(*[Ask("a", "x", number=number) for number in range(9)], places=4)
    slow = made.take()
    assert slow is not None
    made.done(slow, seconds=10.0)
    quick = made.take()
    assert quick is not None
    made.done(quick, seconds=0.1)
    made.add(Ask("b", "y"))
    assert len(order(made)) == 3


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("xy"), st.integers(1, 3)), max_size=40))
def test_everything_that_waits_has_its_turn_once(asked: list[tuple[str, str, int]]) -> None:
    asks = [Ask(task, space, (priority, 0.0), number) for number, (task, space, priority) in enumerate(asked)]
    made, found = turns(*asks, places=2), []
    while (ask := made.take()) is not None:
        found.append(ask)
        made.done(ask, 0.1)
    assert sorted(found, key=lambda ask: ask.number) == asks
    assert [ask.rank for ask in found] == sorted(ask.rank for ask in asks)
    assert len(made) == 0
