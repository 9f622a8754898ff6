"""The pods a task has its eye on, put together from lists and changes in any order."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.basics.errors import PermanentError
from shared.kube.pods import Pod
from tests.unit.workers.task_runner.conftest import pod
from workers.task_runner.work.room import Room


def room() -> Room:
    return Room(lambda: None)


def names(room: Room) -> list[str]:
    return sorted(one.metadata.name for one in room.pods.values())


def test_who_is_missing_from_a_newer_list_is_gone() -> None:
    found = room()
    found.listed([pod("a", version="10"), pod("b", version="10")], "10")
    found.listed([pod("b", version="10")], "11")
    assert names(found) == ["b"]


@pytest.mark.parametrize(("version", "there"), [("9", True), ("10", False), ("100", False), ("odd", False)])
def test_an_older_list_from_another_api_servers_cache_proves_nothing(version: str, there: bool) -> None:
    """Compared as numbers: 9 is older than 10."""
    found = room()
    found.changed(pod(version="10"), gone=False)
    found.listed([], version)
    assert names(found) == (["web-0"] if there else [])


def test_what_was_seen_to_go_stays_gone_whatever_an_older_list_says() -> None:
    """The watch was faster than the list that was on its way."""
    found = room()
    found.changed(pod(version="12"), gone=True)
    found.listed([pod(version="10")], "11")
    found.changed(pod(version="9"), gone=False)
    assert names(found) == []


def test_an_older_look_does_not_replace_a_newer_one() -> None:
    found = room()
    found.changed(pod(version="20", phase="Failed"), gone=False)
    found.listed([pod(version="10")], "30")
    found.changed(pod(version="9"), gone=False)
    assert found.pods["uid-web-0"].status.phase == "Failed"


def test_a_list_is_due_at_the_beginning_and_when_the_watch_began_anew() -> None:
    woken: list[int] = []
    found = Room(lambda: woken.append(1))
    assert found.stale
    found.begins("100")
    assert (found.stale, found.since, len(woken)) == (True, "100", 1)
    found.listed([], "100")
    assert not found.stale


@pytest.mark.parametrize(("version", "taken"), [("99", False), ("100", True), ("1000", True)])
def test_a_list_from_before_the_watch_leaves_something_out(version: str, taken: bool) -> None:
    found = room()
    found.begins("100")
    assert found.takes(version) is taken


def test_a_watch_that_works_again_mends_what_was_broken() -> None:
    found = room()
    found.breaks(PermanentError("no"))
    assert str(found.broken) == "no"
    found.begins("1")
    assert found.broken is None


@given(st.permutations(range(6)))
def test_in_whatever_order_news_arrive_the_newest_counts(order: list[int]) -> None:
    """Five looks at one pod, the last of which is its end, and a list in the middle of them."""
    looks: list[Pod] = [pod(version=str(number)) for number in range(1, 6)]
    found = room()
    for step in order:
        if step == 5:
            found.listed([looks[2]], "3")
        else:
            found.changed(looks[step], gone=step == 4)
    assert names(found) == []
