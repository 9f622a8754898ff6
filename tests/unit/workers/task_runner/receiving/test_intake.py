"""From a payload to a task, a refusal, or a line in the log: whatever comes."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.schemas.parameters import PARAMETERS, CordonNode
from tests.unit.conftest import NOON
from tests.unit.workers.task_runner.conftest import payload, task
from workers.task_runner.receiving.intake import (
    MAX_PAYLOAD,
    MAX_TASK,
    Accepted,
    Dropped,
    Misfit,
    Rejected,
    by_urgency,
    decoded,
    is_late,
    judge,
)


def judged(**fields: Any) -> Accepted | Rejected | Dropped:
    return judge(payload(**fields), "demo")


def test_a_well_formed_task_is_accepted_with_its_parameters() -> None:
    found = judge(payload(), "demo")
    assert isinstance(found, Accepted)
    assert found.task.task_id == "task-1"
    assert found.parameters == CordonNode(node_name="node-1")


@pytest.mark.parametrize("raw", [None, 7, "task", ["task"], True, 1.5])
def test_what_is_no_object_is_dropped(raw: Any) -> None:
    found = judge(raw, "demo")
    assert isinstance(found, Dropped)
    assert found.kind == "no_id"
    assert "not an object" in found.reason


@pytest.mark.parametrize("task_id", [None, "", 7, [], "x" * 257, "two\nlines", "bell\x07", "\u2028", ".", ".."])
def test_what_has_no_usable_id_cannot_be_answered(task_id: Any) -> None:
    found = judged(task_id=task_id)
    assert isinstance(found, Dropped)
    assert found.kind == "no_id"
    assert len(found.reason) < 150
    missing = payload()
    del missing["task_id"]
    assert isinstance(judge(missing, "demo"), Dropped)


@pytest.mark.parametrize("fields", [{}, {"task_type": "reboot_node"}, {"parameters": 7}, {"deadline": "tomorrow"}])
def test_a_task_of_another_cluster_is_not_answered_however_malformed(fields: dict[str, Any]) -> None:
    """The answer could end the right agent's task."""
    found = judged(cluster_id="other", **fields)
    assert isinstance(found, Dropped)
    assert (found.kind, found.reason) == ("other_cluster", "task task-1 is for cluster 'other'")


@pytest.mark.parametrize("cluster_id", [None, 7, ["demo"]])
def test_a_task_that_says_no_cluster_is_malformed(cluster_id: Any) -> None:
    found = judged(cluster_id=cluster_id)
    assert isinstance(found, Rejected)
    assert found.reason.startswith("malformed task: cluster_id: ")


def test_an_unknown_type_is_refused_with_those_that_are_known() -> None:
    found = judged(task_type="reboot_node")
    assert found == Rejected(
        "task-1", "unknown", f"unknown task type 'reboot_node'; this agent knows {', '.join(PARAMETERS)}"
    )
    assert isinstance(judged(task_type="reboot_node", parameters=7, deadline=None), Rejected), "whatever else is wrong"


@pytest.mark.parametrize("task_type", [None, 7, ["drain_node"]])
def test_a_type_that_is_no_text_is_malformed(task_type: Any) -> None:
    found = judged(task_type=task_type)
    assert isinstance(found, Rejected)
    assert found.task_type == "unknown"
    assert found.reason.startswith("malformed task: task_type: ")


def test_an_empty_type_is_an_unknown_one() -> None:
    found = judged(task_type="")
    assert isinstance(found, Rejected)
    assert found.reason.startswith("unknown task type ''")


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"parameters": None}, "malformed task: parameters: Input should be a valid dictionary"),
        ({"priority": 11}, "malformed task: priority: Input should be less than or equal to 10"),
        ({"priority": True}, "malformed task: priority: Input should be a valid integer"),
        ({"priority": "1"}, "malformed task: priority: Input should be a valid integer"),
        ({"deadline": "tomorrow"}, "malformed task: deadline: Input should be a valid datetime"),
        ({"parameters": {}}, "bad parameters for cordon_node: node_name: is required"),
        ({"parameters": {"node_name": 7}}, "bad parameters for cordon_node: node_name: Input should be a valid string"),
        (
            {"parameters": {"node_name": "a", "dryrun": True}},
            "bad parameters for cordon_node: dryrun: unknown parameter",
        ),
    ],
)
def test_what_is_malformed_is_said_in_words(fields: dict[str, Any], reason: str) -> None:
    found = judged(**fields)
    assert isinstance(found, Rejected)
    assert (found.task_id, found.task_type) == ("task-1", "cordon_node")
    assert found.reason.startswith(reason)


def test_a_missing_field_is_required() -> None:
    raw = payload()
    del raw["priority"]
    found = judge(raw, "demo")
    assert isinstance(found, Rejected)
    assert found.reason == "malformed task: priority: is required"


def test_the_payloads_values_do_not_show() -> None:
    """They may be long, or secret."""
    found = judged(parameters={"node_name": "s3cr3t " * 100, "token": "s3cr3t"})
    assert isinstance(found, Rejected)
    assert "s3cr3t" not in found.reason


def test_the_reason_is_short_however_much_is_wrong() -> None:
    found = judged(parameters={f"wrong-{number}" * 50: 1 for number in range(100)})
    assert isinstance(found, Rejected)
    assert len(found.reason) <= 1100


def test_a_deadline_at_the_end_of_time_is_malformed() -> None:
    found = judged(deadline="9999-12-31T23:59:59-12:00")
    assert isinstance(found, Rejected)
    assert found.reason == "malformed task: deadline: Value error, there is no such moment in UTC"


def test_what_is_not_utf8_does_not_get_into_the_answer() -> None:
    """Half a surrogate pair is fine with JSON, and no text: it could not be sent on."""
    label = {"node_name": "a", "labels": {"team": "\ud800"}}
    for fields in (
        {"parameters": {"node_name": "a", "\ud800": 1}},
        {"parameters": {"node_name": "a", "node_uid": "\ud800"}},
        {"task_type": "label_node", "parameters": label},
        {"task_type": "\ud800"},
        {"deadline": "\ud800"},
    ):
        found = judged(**fields)
        assert isinstance(found, Rejected)
        found.reason.encode()
        found.task_type.encode()


@pytest.mark.parametrize(("size", "taken"), [(1000, True), (40_000, False)])
def test_a_task_too_large_for_the_journal_is_refused(size: int, taken: bool) -> None:
    labels = {f"team-{number}": "x" * 50 for number in range(size // 64)}
    found = judged(task_type="label_node", parameters={"node_name": "node-1", "labels": labels})
    assert isinstance(found, Accepted if taken else Rejected)
    if isinstance(found, Rejected):
        assert found.reason.endswith("at most 32768 are taken")


def deep(levels: int) -> Any:
    nested: Any = 1
    for _ in range(levels):
        nested = [nested]
    return nested


def test_what_is_nested_deeply_is_refused_or_ignored() -> None:
    assert isinstance(judged(parameters={"node_name": deep(5000)}), Rejected)
    assert isinstance(judged(extra=deep(5000)), (Accepted, Rejected))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=True) | st.text(st.characters(), max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
MOMENTS = st.sampled_from(["2037-01-01T00:00:00Z", "2037-01-01", 1e9, -1, "", "0001-01-01T00:00:00Z", None])
FIELDS = st.fixed_dictionaries(
    {},
    optional={
        "task_id": st.just("t") | JSON,
        "cluster_id": st.just("demo") | JSON,
        "task_type": st.sampled_from([*PARAMETERS, "x"]) | JSON,
        "parameters": st.dictionaries(st.sampled_from(["node_name", "pod_name", "namespace", "labels"]), JSON) | JSON,
        "priority": st.integers(0, 11) | JSON,
        "deadline": MOMENTS | JSON,
        "created_at": MOMENTS | JSON,
    },
)


@given(FIELDS | JSON)
def test_whatever_comes_it_is_judged(raw: Any) -> None:
    found = judge(raw, "demo")
    if isinstance(found, Accepted):
        assert found.task.cluster_id == "demo"
    else:
        assert found.reason
        assert isinstance(found, Dropped) or found.task_id == raw["task_id"]


def test_what_comes_together_is_taken_in_by_priority_then_deadline() -> None:
    late, soon = "2037-01-02T00:00:00Z", "2037-01-02T00:00:00+01:00"
    given = [(10, late), (2, late), (2, soon), (1, late)]
    payloads = [payload(task_id=str(number), priority=p, deadline=d) for number, (p, d) in enumerate(given)]
    texts = [json.dumps(one).encode() for one in payloads]
    assert [json.loads(one)["task_id"] for one in by_urgency(texts)] == ["3", "2", "1", "0"]


@given(st.lists((FIELDS | JSON).map(lambda some: json.dumps(some).encode()) | st.binary(), max_size=5))
def test_whatever_comes_it_has_an_order(payloads: list[bytes]) -> None:
    assert len(by_urgency(payloads)) == len(payloads)


# -- as it was written ----------------------------------------------------------------------------


def text_of(**fields: Any) -> bytes:
    return json.dumps({**payload(), **fields}).encode()


def test_a_task_is_judged_as_it_was_written() -> None:
    assert isinstance(judge(decoded(text_of()), "demo"), Accepted)


@pytest.mark.parametrize("parameters", [{"x": "y" * MAX_PAYLOAD}, {"x": [{}] * (MAX_PAYLOAD // 3)}])
def test_one_that_is_much_too_large_is_answered_and_not_taken_apart(parameters: dict[str, Any]) -> None:
    raw = decoded(text_of(parameters=parameters))
    found = judge(raw, "demo")
    assert isinstance(raw, Misfit)
    assert set(raw.head) == {"task_id", "cluster_id", "task_type"}
    assert isinstance(found, Rejected)
    assert (found.task_id, found.task_type) == ("task-1", "cordon_node")
    assert re.fullmatch(rf"the task has \d+ bytes; at most {MAX_TASK} are taken", found.reason)
    assert isinstance(judge(decoded(text_of(parameters=parameters, cluster_id="other")), "demo"), Dropped)


@pytest.mark.parametrize("odd", [[], {}, None, 7, "\ud800", float("nan"), "x" * 300])
@pytest.mark.parametrize("field", ["task_type", "priority", "parameters"])
def test_one_that_is_much_too_large_is_answered_whatever_else_is_wrong_with_it(field: str, odd: Any) -> None:
    found = judge(decoded(text_of(**{field: odd, "extra": "y" * MAX_PAYLOAD})), "demo")
    assert isinstance(found, Rejected)
    assert found.task_id == "task-1"
    assert found.task_type == ("unknown" if field == "task_type" else "cordon_node")


@pytest.mark.parametrize("cluster_id", [[], None, 7])
def test_one_that_is_much_too_large_and_names_no_cluster_is_answered(cluster_id: Any) -> None:
    assert isinstance(judge(decoded(text_of(cluster_id=cluster_id, extra="y" * MAX_PAYLOAD)), "demo"), Rejected)


@pytest.mark.parametrize("cluster_id", [b'"other"', b'"\xff"', b'"\n"', b'"' + b"x" * MAX_PAYLOAD + b'"'])
def test_one_that_is_not_taken_apart_and_may_be_another_clusters_is_not_answered(cluster_id: bytes) -> None:
    text = b'{"task_id":"task-1","cluster_id":%b,"parameters":[1,]}' % cluster_id
    assert isinstance(judge(decoded(text), "demo"), Dropped)


@pytest.mark.parametrize("bad", [b"[1,]", b"NaNa", b"9" * 10_000, b"[" * 10_000 + b"]" * 10_000, b'"\xff"'])
def test_what_is_no_json_is_answered_if_it_says_by_which_id(bad: bytes) -> None:
    found = judge(decoded(b'{"task_id":"task-1","task_type":"cordon_node","parameters":%b}' % bad), "demo")
    assert isinstance(found, Rejected)
    assert (found.task_id, found.task_type) == ("task-1", "cordon_node")
    assert len(found.reason) < 400


@pytest.mark.parametrize("broken", [b'"a"', b'"a":}', b'"a":[}', b'"a":"'])
def test_where_it_cannot_be_seen_what_belongs_to_it_there_is_no_id(broken: bytes) -> None:
    """Another id, or another cluster, could follow."""
    found = judge(decoded(b'{"task_id":"task-1",%b' % broken), "demo")
    assert isinstance(found, Dropped)
    assert found.kind == "no_id"


@given(st.binary() | (FIELDS | JSON).map(lambda some: json.dumps(some).encode()))
def test_no_payload_is_too_odd(text: bytes) -> None:
    assert judge(decoded(text), "demo")


def test_a_task_is_late_from_its_deadline_on() -> None:
    given = task(deadline=NOON.isoformat())
    assert not is_late(given, NOON - timedelta(seconds=1))
    assert is_late(given, NOON)
    assert is_late(given, NOON + timedelta(seconds=1))
