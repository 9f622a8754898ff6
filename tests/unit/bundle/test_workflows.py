"""What builds and releases it: workflows and scripts, as their linters see them, and against what they change."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import yaml

from tests.container.bundle import K8S
from tests.sim.agent import ROOT
from tests.tools import require
from tests.unit.bundle.conftest import Run

WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
RELEASE: dict[str, Any] = yaml.safe_load((ROOT / ".github" / "workflows" / "release.yml").read_text())


def test_actionlint_finds_nothing(run: Run) -> None:
    """With shellcheck for the commands in them."""
    run("actionlint", "-shellcheck", require("shellcheck"), "-pyflakes", "", *map(str, WORKFLOWS))


def test_shellcheck_finds_nothing_in_the_scripts(run: Run) -> None:
    scripts = [*(ROOT / "scripts").rglob("*.sh"), ROOT / ".ci" / "run"]
    assert len(scripts) > 4
    run("shellcheck", *map(str, scripts))


def test_nothing_is_published_that_was_not_tested() -> None:
    jobs = RELEASE["jobs"]
    assert {name: job.get("needs") for name, job in jobs.items()} == {"check": None, "image": "check", "chart": "image"}


def test_the_release_is_for_both_architectures_with_materials_and_provenance() -> None:
    (build,) = (step for step in RELEASE["jobs"]["image"]["steps"] if step.get("id") == "build")
    assert build["with"]["platforms"] == "linux/amd64,linux/arm64"
    assert (build["with"]["sbom"], build["with"]["provenance"]) == (True, "mode=max")
    arguments = set(re.findall(r"^(\w+)=", build["with"]["build-args"], re.MULTILINE))
    assert arguments == set(re.findall(r"^ARG (\w+)", (ROOT / "Dockerfile").read_text(), re.MULTILINE))
    said = " ".join(step.get("run", "") for step in RELEASE["jobs"]["image"]["steps"])
    assert "cosign sign" in said
    assert "cosign attest" in said


def test_what_the_release_replaces_is_there(tmp_path: Path, run: Run) -> None:
    """Its own sed lines, on the files they are for: each puts the digest in once."""
    (step,) = (step for step in RELEASE["jobs"]["chart"]["steps"] if "helm package" in step.get("run", ""))
    lines = step["run"].replace("\\\n", " ").splitlines()
    seds = [line for line in lines if line.startswith("sed -i")]
    digest = f"sha256:{'1' * 64}"
    values = {"REGISTRY": "registry.test", "IMAGE": "cloudoptim/client-agent", "DIGEST": digest}
    for line in seds:
        filled = re.sub(r"\$(\w+)", lambda match: values[match[1]], line)
        *command, file = shlex.split(filled)
        copy = tmp_path / Path(file).name
        copy.write_text((ROOT / file).read_text())
        run(*command, str(copy))
        assert copy.read_text().count(digest) == 1
        assert f"{values['REGISTRY']}/{values['IMAGE']}" in copy.read_text()
    assert {Path(shlex.split(line)[-1]) for line in seds} == {
        (K8S / "chart" / "values.yaml").relative_to(ROOT),
        (K8S / "install.yaml").relative_to(ROOT),
    }
