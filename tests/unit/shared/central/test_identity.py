"""What every call says about the caller."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from shared import __version__
from shared.basics.api_key import ApiKey
from shared.central.identity import QUOTED, Caller


def test_every_call_says_key_version_and_instance() -> None:
    assert Caller(ApiKey("k3y"), "instance-1").headers() == {
        "Authorization": "Bearer k3y",
        "User-Agent": f"cloudoptim-agent/{__version__}",
        "X-Agent-Instance": "instance-1",
    }


def test_a_rotated_key_is_used_at_once(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text("old")
    caller = Caller(ApiKey(path=path), "instance-1")
    assert caller.headers()["Authorization"] == "Bearer old"
    path.write_text("new")
    assert caller.headers()["Authorization"] == "Bearer new"


def test_the_key_does_not_show() -> None:
    assert "k3y" not in repr(Caller(ApiKey("k3y"), "instance-1"))


def test_what_central_said_is_quoted_shortly_on_one_line_and_without_the_key() -> None:
    caller = Caller(ApiKey("s3cr3t-key"), "instance-1")
    assert caller.quoted(b' {"you sent":\n "Bearer s3cr3t-key"} \xff') == '{"you sent": "Bearer ***"} \ufffd'
    assert caller.quoted("x" * 1000) == "x" * QUOTED + "..."


@given(st.integers(0, 12), st.integers(0, 200), st.sampled_from(["", " ", "x"]))
def test_no_part_of_the_key_is_quoted_wherever_the_quotation_ends(fine: int, keys: int, between: str) -> None:
    """Spaces are folded, and each key found leaves room for what comes after it."""
    caller = Caller(ApiKey("s3cr3t-key"), "instance-1")
    said = " " * (4096 - 10 * keys + fine) + f"s3cr3t-key{between}" * (keys + 3)
    assert "s3" not in caller.quoted(said.encode())
