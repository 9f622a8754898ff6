"""Signed tasks: what is signed, and what is refused."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nacl.signing import SigningKey

from shared.config.limits import Limits
from shared.config.signing import parse_signing_keys
from shared.config.values import Malformed
from tests.unit.workers.task_runner.conftest import payload
from workers.task_runner.receiving.intake import Accepted, Rejected, decoded, judge
from workers.task_runner.receiving.signatures import canonical, refusal

KEY = SigningKey(bytes(range(32)))
PUBLIC = base64.b64encode(bytes(KEY.verify_key)).decode()

PEM = f"""-----BEGIN PUBLIC KEY-----
{base64.b64encode(bytes.fromhex("302a300506032b6570032100") + bytes(KEY.verify_key)).decode()}
-----END PUBLIC KEY-----
"""


def signed(task: dict[str, Any], key: SigningKey = KEY) -> dict[str, Any]:
    return {**task, "signature": base64.b64encode(key.sign(canonical(task)).signature).decode()}


def test_a_task_signed_by_the_key_is_taken() -> None:
    assert isinstance(judge(signed(payload()), "demo", [PUBLIC]), Accepted)


def test_without_a_key_nobody_looks_at_signatures() -> None:
    assert isinstance(judge(payload(), "demo"), Accepted)
    assert isinstance(judge({**payload(), "signature": "bm8="}, "demo"), Accepted)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({}, None),
        ({"signature": None}, "is not signed"),
        ({"signature": ""}, "is not signed"),
        ({"signature": 7}, "is not signed"),
        ({"signature": "not base64!"}, "cannot be checked"),
        ({"signature": "c2hvcnQ="}, "not by a key"),
        ({"signature": base64.b64encode(bytes(64)).decode()}, "not by a key"),
        ({"task_id": "another"}, "not by a key"),
        ({"parameters": {"node_name": "node-2"}}, "not by a key"),
        ({"deadline": "2099-01-01T00:00:00Z"}, "not by a key"),
        ({"more": 1}, "not by a key"),
        ({"priority": float("nan")}, "cannot be checked"),
        ({"priority": 2**60}, "cannot be checked"),
        ({"more": "\ud800"}, "cannot be checked"),
    ],
)
def test_whatever_is_changed_afterwards_is_refused(change: dict[str, Any], says: str | None) -> None:
    task = {**signed(payload()), **change}
    said = refusal(task, [PUBLIC])
    assert (said is None) == (says is None)
    assert says is None or says in str(said)
    assert isinstance(judge(task, "demo", [PUBLIC]), Accepted if says is None else Rejected)


def test_another_key_does_not_do_and_one_of_several_does() -> None:
    other = SigningKey.generate()
    task = signed(payload(), other)
    assert "not by a key" in str(refusal(task, [PUBLIC]))
    assert refusal(task, [PUBLIC, base64.b64encode(bytes(other.verify_key)).decode()]) is None


def test_reformatting_on_the_way_does_not_matter() -> None:
    task = signed(payload(parameters={"node_name": "node-1", "grace_period": 30, "eviction_interval_seconds": 1e-7}))
    backwards = dict(reversed(task.items()))
    assert refusal(decoded(json.dumps(backwards, indent=3, ensure_ascii=True).encode()), [PUBLIC]) is None


def test_of_a_key_that_stands_twice_the_one_that_counts_is_the_one_that_is_checked() -> None:
    text = json.dumps(signed(payload())).replace('"task_id"', '"task_id": "evil", "task_id"', 1)
    assert isinstance(judge(decoded(text.encode()), "demo", [PUBLIC]), Accepted)
    text = json.dumps(signed(payload())).replace("}", ', "task_id": "evil"}', 2)
    assert isinstance(judge(decoded(text.encode()), "demo", [PUBLIC]), Rejected)


def test_an_unsigned_task_of_another_cluster_stays_unanswered() -> None:
    assert not isinstance(judge(payload(cluster_id="other"), "demo", [PUBLIC]), Accepted | Rejected)


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
        lambda c: st.lists(c) | st.dictionaries(st.text(), c),
    )
)
def test_nothing_in_a_task_makes_the_check_fail(value: Any) -> None:
    refusal({"signature": base64.b64encode(bytes(64)).decode(), "value": value}, [PUBLIC])


def test_what_is_signed_is_as_documented() -> None:
    """The example of docs/central-api.md, byte by byte."""
    task = {"b": [1.0, True, None], "a": "ü", "signature": "left out"}
    assert canonical(task) == '{"a":"ü","b":[1,true,null]}'.encode()


# -- keys -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", [PUBLIC, PEM, PEM.replace("\n", ""), PEM.splitlines()[1], f" {PUBLIC} ,"])
def test_keys_as_people_have_them(text: str) -> None:
    assert parse_signing_keys(text) == (PUBLIC,)


def test_two_keys_while_one_replaces_the_other() -> None:
    assert parse_signing_keys(f"{PUBLIC},{PEM}") == (PUBLIC, PUBLIC)


@pytest.mark.parametrize(
    "text", ["", ",", "key", "AAAA", PUBLIC[:-4], PEM.replace("MCow", "MCoq"), "-----BEGIN PUBLIC KEY-----"]
)
def test_what_is_no_key_is_refused(text: str) -> None:
    with pytest.raises(Malformed, match="a public Ed25519 key"):
        parse_signing_keys(text)


def test_nothing_of_it_is_loaded_while_there_is_no_key() -> None:
    code = "import sys, workers.task_runner.__main__; print({'nacl', 'rfc8785', 'cffi'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.strip() == "set()"
    assert Limits().signing_keys == ()
