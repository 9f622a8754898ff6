"""Tools that check the bundle. Where one is missing its tests do not run, and say so; in CI that is a failure."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.tools import require

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def run() -> Run:
    """Runs a tool in a directory; what it says when it fails is in the error."""

    def run_tool(name: str, *arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        done = subprocess.run([require(name), *arguments], cwd=cwd, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, f"{name} {' '.join(arguments)}\n{done.stdout}{done.stderr}"
        return done

    return run_tool


@pytest.fixture
def kubectl(run: Run) -> None:
    """Only where there is a kubectl."""
    run("kubectl", "version", "--client")
