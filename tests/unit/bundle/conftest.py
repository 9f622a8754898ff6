"""Tools that check the bundle. Where one is missing its tests do not run, and say so; in CI that is a failure."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.container.bundle import tool

Run = Callable[..., "subprocess.CompletedProcess[str]"]

_FROM = {"promtool": "Debian's package prometheus has it", "kubectl": "`make tools` installs it"}


@pytest.fixture
def run() -> Run:
    """Runs a tool in a directory; what it says when it fails is in the error."""

    def run_tool(name: str, *arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        command = tool(name)
        if command is None:
            missing = f"{name} is not installed: {_FROM.get(name, _FROM['kubectl'])}"
            if os.environ.get("CI") == "true":
                pytest.fail(missing)
            pytest.skip(missing)
        done = subprocess.run([command, *arguments], cwd=cwd, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, f"{name} {' '.join(arguments)}\n{done.stdout}{done.stderr}"
        return done

    return run_tool


@pytest.fixture
def kubectl(run: Run) -> None:
    """Only where there is a kubectl."""
    run("kubectl", "version", "--client")
