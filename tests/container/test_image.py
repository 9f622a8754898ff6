"""What is in the image, and what is not."""

from __future__ import annotations

import json

import pytest
from testcontainers.core.docker_client import DockerClient

from shared import __version__

_LOADED_BUT_NOT_COMPILED = """
import json, os, sys
from shared.process import supervise
from workers.commands.__main__ import WORKERS
supervise.preload([f"workers.{worker}.__main__" for worker in WORKERS])
loaded = [getattr(module, "__cached__", None) for module in list(sys.modules.values())]
print(json.dumps([len(loaded), [path for path in loaded if path and not os.path.exists(path)]]))
"""


def run(engine: DockerClient, image: str, *command: str) -> str:
    """Output of a command in a fresh container; its failure fails the test."""
    output = engine.client.containers.run(
        image, list(command[1:]), entrypoint=command[0], remove=True, stderr=True, network_mode="host"
    )
    return str(output.decode()).strip()


def test_says_its_version(engine: DockerClient, image: str) -> None:
    assert run(engine, image, "cloudoptim-agent", "version") == __version__


def test_is_made_for_running_only(engine: DockerClient, image: str) -> None:
    """No pip, neither in the agent's environment nor in the interpreter's own; no compiler."""
    python = run(engine, image, "python", "-c", "import sys; print(sys._base_executable)")
    for interpreter in ("python", python):
        for package in ("pip", "setuptools", "ensurepip"):
            probe = f"import importlib.util as u; print(u.find_spec({package!r}))"
            assert run(engine, image, interpreter, "-c", probe) == "None", f"{package} in {interpreter}"
    found = run(engine, image, "sh", "-c", "command -v pip pip3 gcc cc make ld git || true")
    assert found == ""


def test_everything_it_loads_is_compiled(engine: DockerClient, image: str) -> None:
    """A read-only root keeps no cache: each of five processes would compile into memory at each start."""
    modules, missing = json.loads(run(engine, image, "python", "-c", _LOADED_BUT_NOT_COMPILED))
    assert modules > 300
    assert missing == []


@pytest.mark.parametrize("folder", ["/opt/cloudoptim", "/usr", "/etc"])
def test_the_agent_owns_nothing_it_runs(engine: DockerClient, image: str, folder: str) -> None:
    assert run(engine, image, "sh", "-c", f"find {folder} -writable -not -type l 2>/dev/null | head") == ""


def test_runs_as_nobody_in_particular(engine: DockerClient, image: str) -> None:
    settings = engine.client.images.get(image).attrs["Config"]
    assert settings["User"] == "10001:10001"
    assert settings["Healthcheck"]["Test"][0] == "CMD"
    assert settings["Entrypoint"] + settings["Cmd"] == ["cloudoptim-agent", "run"]


def test_size(engine: DockerClient, image: str, base_image: str, figures: dict[str, str]) -> None:
    """Recorded, not judged: most of it is the base image's."""
    total, base = (engine.client.images.get(name).attrs["Size"] / 1e6 for name in (image, base_image))
    figures["image"] = f"{total:.0f} MB, {total - base:.0f} MB of them over {base_image}"
