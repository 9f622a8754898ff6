"""What every call says about the caller."""

from __future__ import annotations

from pathlib import Path

from shared import __version__
from shared.central.identity import Caller
from shared.config import ApiKey


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
