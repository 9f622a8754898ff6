"""The items of a list, cut out of its text: what is sent decides nothing about our memory."""

from __future__ import annotations

import json
import tracemalloc
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.central.items import MAX_ITEMS, MAX_STEPS, Malformed, Offered, members, offered

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=15,
)
TASKS = st.lists(st.dictionaries(st.text(), JSON, max_size=3).map(lambda some: {**some, "task_id": "t1"}), max_size=5)
STYLES = st.sampled_from([{}, {"indent": 2}, {"separators": (",", ":")}, {"ensure_ascii": False}])


def decoded(found: Offered) -> list[Any]:
    return [json.loads(task) for task in found.tasks]


@given(TASKS, STYLES)
def test_each_task_is_there_as_it_was_written(tasks: list[Any], style: dict[str, Any]) -> None:
    text = json.dumps(tasks, **style).encode("utf-8", "surrogatepass")
    found = offered(text)
    assert all(task in text for task in found.tasks)
    assert decoded(found) == tasks
    assert (found.junk, found.more) == (0, False)


@given(TASKS, JSON, JSON)
def test_the_list_may_be_a_member_of_an_object(tasks: list[Any], before: Any, after: Any) -> None:
    text = json.dumps({"before": before, "tasks": tasks, "after": after})
    assert decoded(offered(text.encode())) == tasks


@given(TASKS, st.integers(0))
def test_of_a_list_that_was_cut_those_that_came_whole_are_there(tasks: list[Any], at: int) -> None:
    text = json.dumps(tasks).encode()
    at %= len(text)
    found = offered(b"[" + text[1:at], cut=True)
    assert found.more
    assert decoded(found) == tasks[: len(found.tasks)]
    whole = [len(json.dumps(tasks[:number])) - 1 for number in range(1, len(tasks) + 1)]
    assert len(found.tasks) == sum(end <= at for end in whole)


@pytest.mark.parametrize(
    ("text", "junk"),
    [
        (b"[]", 0),
        (b" [ ] ", 0),
        (b'\xef\xbb\xbf{"tasks": []}', 0),
        (b"[{},{},{}]", 3),
        (b'[7, null, "task_id", [{"task_id": 1}], {}, true, -1.5e3]', 7),
        (b'[{"text": "]}[{\\"\\\\"}, [[[[]]]]]', 2),
    ],
)
def test_what_is_no_task_is_counted(text: bytes, junk: int) -> None:
    assert offered(text) == Offered([], junk, more=False)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"html",
        b"null",
        b"7",
        b"{}",
        b'{"error": 1}',
        b'{"tasks": 7}',
        b'{"tasks"',
        b"{7: []}",
        b'{"a" "b"}',
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"a":' * 50_000,
        b"[{}",
        b"[{} {}]",
        b"[,]",
        b"[}",
        b'["',
        b'["\\',
    ],
)
def test_nonsense_is_malformed(text: bytes) -> None:
    with pytest.raises(Malformed):
        offered(text)


@given(st.binary() | st.text(alphabet='[]{}",:\\ 1aé', max_size=60).map(str.encode), st.booleans())
def test_no_text_is_too_odd(text: bytes, cut: bool) -> None:
    try:
        offered(text, cut)
    except Malformed:
        pass
    try:
        members(text, "type")
    except Malformed:
        pass


def test_no_more_are_handed_on_than_may_wait() -> None:
    text = json.dumps([{"task_id": str(number)} for number in range(MAX_ITEMS + 1)]).encode()
    found = offered(text)
    assert (len(found.tasks), found.more) == (MAX_ITEMS, True)
    assert not offered(json.dumps(json.loads(text)[1:]).encode()).more


def test_junk_takes_no_good_tasks_place() -> None:
    found = offered(b"[" + b"{}," * 10 * MAX_ITEMS + b'{"task_id":"t1"}]')
    assert (found.tasks, found.junk, found.more) == ([b'{"task_id":"t1"}'], 10 * MAX_ITEMS, False)


@pytest.mark.parametrize("item", [b"{},", b"[],", b'"\\"",', b'{"a":{"b":[]}},', b'{"task_id":1},'])
def test_what_is_looked_at_is_bounded_and_so_is_what_it_costs(item: bytes) -> None:
    """As dicts, 7.8 MB of empty objects were more than the pod's limit."""
    text = b"[" + item * (8 * 1024 * 1024 // len(item))
    tracemalloc.start()
    found = offered(text, cut=True)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert found.more
    assert len(found.tasks) + found.junk <= MAX_STEPS
    assert peak < 1024 * 1024


def test_members_are_found_as_they_are_written_and_the_last_counts() -> None:
    text = b' {"type": "x", "other": {"type": "y"}, "task" : {"a": [1, 2]}, "type":"task"}'
    assert members(text, "type", "task", "none") == {"type": b'"task"', "task": b'{"a": [1, 2]}'}


@pytest.mark.parametrize("text", [b"[]", b"", b'{"a": 1', b'{"a"}', b'{"a": [' + b"[]," * MAX_STEPS])
def test_what_is_no_object_has_no_members(text: bytes) -> None:
    with pytest.raises(Malformed):
        members(text, "a")
