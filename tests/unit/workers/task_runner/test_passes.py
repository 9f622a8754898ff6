"""One thread, a pass for whoever is due, and nobody forgotten."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar, copy_context

import pytest

from shared.basics.timing import SYSTEM_CLOCK
from tests.unit.conftest import eventually
from workers.task_runner.passes import Passes
from workers.task_runner.work.story import Story, until


@pytest.fixture
def passes() -> Iterator[Passes]:
    passes = Passes(SYSTEM_CLOCK)
    passes.start()
    yield passes
    passes.close()


def test_a_story_is_told_to_its_end(passes: Passes) -> None:
    said: list[str] = []

    async def tell() -> None:
        said.append("once upon a time")
        await until(SYSTEM_CLOCK.monotonic() + 0.05)
        said.append("the end")

    passes.begin(Story(), tell(), copy_context())
    eventually(lambda: said == ["once upon a time", "the end"])
    eventually(lambda: len(passes) == 0)


def test_a_story_that_waits_for_news_is_woken_by_them(passes: Passes) -> None:
    story, looks = Story(), list[int]()

    async def tell() -> None:
        while len(looks) < 3:
            looks.append(1)
            await until()

    passes.begin(story, tell(), copy_context())
    for count in (1, 2, 3):
        eventually(lambda count=count: len(looks) == count)  # type: ignore[misc]
        story.wake()
    eventually(lambda: len(passes) == 0)


def test_no_wake_is_lost_however_it_falls(passes: Passes) -> None:
    """Thousands of wakes from other threads, in and between passes: the last one is always looked at."""
    stories, wanted, seen = [Story() for _ in range(20)], [0] * 20, [0] * 20

    async def tell(number: int) -> None:
        while seen[number] < 500:
            seen[number] = wanted[number]
            if seen[number] < 500:
                await until()

    for number, story in enumerate(stories):
        passes.begin(story, tell(number), copy_context())

    def wake(number: int) -> None:
        for count in range(1, 501):
            wanted[number] = count
            stories[number].wake()

    threads = [threading.Thread(target=wake, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    eventually(lambda: len(passes) == 0)
    assert seen == [500] * 20


def test_a_story_that_is_woken_all_the_time_leaves_the_others_their_turn(passes: Passes) -> None:
    restless, done, turns = Story(), threading.Event(), list[int]()

    async def restlessly() -> None:
        while not done.is_set():
            restless.wake()
            await until()

    async def calmly() -> None:
        for turn in range(50):
            turns.append(turn)
            await until(SYSTEM_CLOCK.monotonic())

    passes.begin(restless, restlessly(), copy_context())
    passes.begin(Story(), calmly(), copy_context())
    eventually(lambda: len(turns) == 50)
    done.set()
    restless.wake()


def test_a_bug_ends_its_own_story_only(passes: Passes, caplog: pytest.LogCaptureFixture) -> None:
    ended: list[int] = []

    async def broken() -> None:
        raise ZeroDivisionError("oh")

    async def whole() -> None:
        ended.append(1)

    passes.begin(Story(), broken(), copy_context())
    passes.begin(Story(), whole(), copy_context())
    eventually(lambda: ended)
    assert "ZeroDivisionError: oh" in caplog.text


def test_what_nobody_waits_for_any_more_is_let_go_of(passes: Passes) -> None:
    """A story that is woken often is scheduled anew each time; the old moments do not pile up."""
    story, looks = Story(), list[int]()

    async def tell() -> None:
        while len(looks) < 2000:
            looks.append(1)
            await until(SYSTEM_CLOCK.monotonic() + 3600)

    passes.begin(story, tell(), copy_context())
    for count in range(2000):
        eventually(lambda count=count: len(looks) > count)  # type: ignore[misc]
        story.wake()
    assert len(passes._due) < 200


VARIABLE: ContextVar[str] = ContextVar("variable", default="")


@contextmanager
def said(word: str) -> Iterator[None]:
    token = VARIABLE.set(word)
    try:
        yield
    finally:
        VARIABLE.reset(token)


def test_a_story_that_is_abandoned_ends_where_it_began(passes: Passes) -> None:
    """What it set is set back in its own variables: elsewhere that is an error, and the close would fail."""
    begun, ended = threading.Event(), list[str]()

    async def tell() -> None:
        try:
            with said("something"):
                begun.set()
                await until()
        finally:
            ended.append(VARIABLE.get())

    passes.begin(Story(), tell(), copy_context())
    assert begun.wait(60)
    passes.close()
    assert ended == [""]


def test_closing_does_not_fail_for_one_that_will_not_end(passes: Passes) -> None:
    begun = threading.Event()

    async def stubborn() -> None:
        try:
            begun.set()
            await until()
        finally:
            await until()

    passes.begin(Story(), stubborn(), copy_context())
    passes.begin(Story(), stubborn(), copy_context())
    assert begun.wait(60)
    passes.close()
    assert len(passes) == 0
