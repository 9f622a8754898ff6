"""What is in the image, and what is not."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from testcontainers.core.docker_client import DockerClient

from shared import __version__
from tests.container.conftest import build
from tests.sim.agent import ROOT

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
    total, base = (engine.client.images.get(name).attrs["Size"] / 1e6 for name in (image, base_image))
    figures["image"] = f"{total:.0f} MB, {total - base:.0f} MB of them over {base_image}"
    assert total - base <= 60


def test_labels_say_what_it_is_made_of(engine: DockerClient, image: str) -> None:
    labels = engine.client.images.get(image).attrs["Config"]["Labels"]
    said = {name.removeprefix("org.opencontainers.image."): value for name, value in labels.items()}
    assert (said["version"], said["revision"], said["source"]) == (__version__, "0123abc", "https://git.test/agent")
    (default,) = re.findall(r"^ARG VERSION=(.+)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    assert default == __version__


def test_bill_of_materials_lists_what_is_installed(engine: DockerClient, image: str) -> None:
    """CycloneDX, and each package in it at the version that Python finds; none that was taken out again."""
    bill = json.loads(run(engine, image, "cat", "/opt/cloudoptim/sbom.cdx.json"))
    assert (bill["bomFormat"], "timestamp" in bill["metadata"]) == ("CycloneDX", False)
    listed = {component["name"].lower().replace("_", "-"): component["version"] for component in bill["components"]}
    installed = json.loads(run(engine, image, "python", "-c", _INSTALLED))
    assert listed == {name.lower().replace("_", "-"): version for name, version in installed}
    assert listed["cloudoptim-agent"] == __version__
    pinned = dict(re.findall(r"^([\w.-]+)==(\S+)", (ROOT / "constraints.txt").read_text(), re.MULTILINE))
    assert listed.items() - pinned.items() == {("cloudoptim-agent", __version__)}
    assert [each for each in bill["components"] if "purl" not in each] == []


_INSTALLED = """
import importlib.metadata as m, json
print(json.dumps([(each.metadata["Name"], each.version) for each in m.distributions()]))
"""


@pytest.mark.parametrize("platform", ["x86_64", "aarch64"])
def test_every_package_has_a_wheel_for_the_architecture(tmp_path: Path, platform: str) -> None:
    """By its hash, so that both architectures install what was looked at; nothing is compiled in a build."""
    where = [f"--platform=manylinux_{glibc}_{platform}" for glibc in ("2_17", "2_28")] + [
        f"--platform=linux_{platform}"
    ]
    command = [sys.executable, "-m", "pip", "install", "--dry-run", "--quiet", "--disable-pip-version-check"]
    command += [*where, f"--platform=manylinux2014_{platform}", "--python-version=3.12", "--implementation=cp"]
    command += ["--only-binary=:all:", "--no-deps", "--ignore-installed", f"--target={tmp_path}"]
    done = subprocess.run(
        [*command, "--require-hashes", "--requirement", str(ROOT / "constraints.txt")],
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr


def test_a_second_build_gives_the_same_files(engine: DockerClient, image: str, base_image: str) -> None:
    """Only their times differ: names, modes, owners and contents are the same to the byte."""
    if "AGENT_IMAGE" in os.environ:
        pytest.skip("AGENT_IMAGE was built elsewhere")
    again = build(base_image, "cloudoptim/client-agent:again", no_cache=True)
    first, second = (run(engine, name, "sh", "-c", _EVERY_FILE).splitlines() for name in (image, again))
    engine.client.images.remove(again)
    assert len(first) > 3000
    assert set(first) ^ set(second) == set()


_EVERY_FILE = (
    "find /opt /usr/lib /usr/local /run/cloudoptim -printf '%M %U %G %p %l\\n' 2>/dev/null | sort;"
    " find /opt /usr/lib/python3* /usr/local -type f -print0 | sort -z | xargs -0 sha256sum"
)
