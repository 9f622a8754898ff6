"""The owner's limits: variables, and mounted keys that take their place while the agent runs."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from shared.basics.errors import ConfigurationError
from shared.config import load
from shared.config.limits import KEYS, Limits, Share, key_of
from shared.schemas.parameters import PARAMETERS

REQUIRED = {"CENTRAL_SERVER_URL": "https://central.example.com", "CENTRAL_API_KEY": "key", "CLUSTER_ID": "demo"}


def limits(folder: Path | None = None, /, **variables: str) -> Limits:
    mounted = {"LIMITS_DIR": str(folder)} if folder else {}
    return load({**REQUIRED, **mounted, **variables}).tasks.limits


def test_without_a_word_of_the_owner_the_control_plane_is_refused_and_nothing_else() -> None:
    found = limits()
    assert found == Limits()
    assert not found.control_plane_allowed
    assert found.task_types == sorted(PARAMETERS)


@pytest.mark.parametrize(
    ("text", "shares"),
    [
        ("3", (Share(3),)),
        ("0", (Share(0),)),
        ("10%", (Share(10, True),)),
        ("10%/topology.kubernetes.io/zone", (Share(10, True, "topology.kubernetes.io/zone"),)),
        ("5, 1/pool", (Share(5), Share(1, label="pool"))),
    ],
)
def test_shares_of_nodes(text: str, shares: tuple[Share, ...]) -> None:
    assert limits(MAX_CORDONED_NODES=text).max_cordoned == shares
    assert ",".join(map(str, shares)) == text.replace(" ", "")


@pytest.mark.parametrize("text", ["-1", "x", "101%", "100001", "1.5", "5/", "%", "5 /zone", "5//zone"])
def test_what_is_no_share_is_refused_at_the_start(text: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        limits(MAX_CORDONED_NODES=text)
    (problem,) = refused.value.problems
    assert problem.startswith(f"MAX_CORDONED_NODES={text!r}; expected nodes or a percentage")


def test_a_mounted_key_takes_the_variables_place_and_is_read_anew(tmp_path: Path) -> None:
    found = limits(tmp_path, MAX_CORDONED_NODES="3", MAX_DRAINS_PER_HOUR="9")
    assert found.current().max_cordoned == (Share(3),)
    (tmp_path / "max-cordoned-nodes").write_text("5%\n")
    assert found.current().max_cordoned == (Share(5, True),)
    assert found.current().max_drains_per_hour == 9, "no key, so the variable"
    (tmp_path / "max-cordoned-nodes").write_text("\n")
    assert found.current().max_cordoned == (Share(3),), "an empty key says nothing"


def test_every_limit_can_be_mounted(tmp_path: Path) -> None:
    values = {
        "TASKS_PAUSED": "true",
        "READ_ONLY": "true",
        "ALLOWED_TASK_TYPES": "cordon_node",
        "MAINTENANCE_WINDOWS": "Mon 08:00-09:00",
        "PROTECTED_NAMESPACES": "shop",
        "PROTECTED_LABELS": "karpenter.sh",
        "ALLOW_CONTROL_PLANE_NODES": "true",
        "MAX_CORDONED_NODES": "1",
        "MAX_DRAINS_PER_HOUR": "2",
        "TASK_SIGNING_KEY": f"{'A' * 43}=",
        "MAX_EVICTIONS_PER_HOUR": "3",
    }
    assert {key_of(variable) for variable in values} == set(KEYS)
    by_variables = limits(**values)
    for variable, value in values.items():
        (tmp_path / key_of(variable)).write_text(value)
    mounted = dataclasses.replace(limits(tmp_path).current(), folder=None, paused_by=None)
    assert mounted == by_variables != limits()


def test_a_read_only_agent_has_no_types() -> None:
    assert limits(READ_ONLY="true").task_types == []


@pytest.mark.parametrize(
    ("content", "says"),
    [(b"ten", "expected nodes or a percentage"), (b"\xff", "UnicodeDecodeError"), (None, "Is a directory")],
    ids=["nonsense", "no text", "a directory"],
)
def test_a_key_that_cannot_be_read_lifts_nothing_and_is_named(tmp_path: Path, content: bytes | None, says: str) -> None:
    path = tmp_path / "max-cordoned-nodes"
    path.write_bytes(content) if content is not None else path.mkdir()
    found = limits(tmp_path, MAX_CORDONED_NODES="3").current()
    assert found.max_cordoned == (Share(3),)
    assert found.unreadable is not None
    assert found.unreadable.startswith(f"{path}: ")
    assert says in found.unreadable


def test_a_folder_that_is_not_there_mounts_nothing(tmp_path: Path) -> None:
    assert limits(tmp_path / "absent", MAX_CORDONED_NODES="3").current().unreadable is None


# -- the switch that pauses tasks -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, None),
        ("false", None),
        ("", None),
        ("0\n", None),
        ("true\n", "tasks-paused says so"),
        ("YES", "tasks-paused says so"),
        ("perhaps", "tasks-paused: expected true or false"),
        ("\udcff", "tasks-paused: UnicodeDecodeError"),
    ],
    ids=["absent", "false", "empty", "0", "true", "yes", "nonsense", "not text"],
)
def test_a_mounted_key_pauses_tasks_and_an_unreadable_one_too(
    tmp_path: Path, content: str | None, says: str | None
) -> None:
    if content is not None:
        (tmp_path / "tasks-paused").write_bytes(content.encode(errors="surrogateescape"))
    rule = limits(tmp_path).current().are_paused()
    assert (rule is None) == (says is None)
    assert says is None or says in str(rule)


def test_any_limit_that_cannot_be_read_pauses(tmp_path: Path) -> None:
    (tmp_path / "max-drains-per-hour").write_text("few")
    assert limits(tmp_path).current().are_paused() == (
        f"their limits cannot be read: {tmp_path}/max-drains-per-hour: expected a whole number from 0 to 100000"
    )


def test_the_variable_pauses_whatever_the_key_says(tmp_path: Path) -> None:
    (tmp_path / "tasks-paused").write_text("false")
    assert limits(tmp_path, TASKS_PAUSED="true").current().are_paused() == "TASKS_PAUSED is true"
