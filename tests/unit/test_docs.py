"""The pages hold what the code has."""

from __future__ import annotations

import re
import subprocess

from shared import config
from shared.basics import telemetry
from shared.schemas.metrics import ClusterMetrics
from shared.schemas.parameters import PARAMETERS
from tests.sim.agent import ROOT

DOCS = ROOT / "docs"


def test_the_page_of_settings_is_made_from_the_code() -> None:
    assert (DOCS / "configuration.md").read_text() == config.reference(), "run `make docs`"


def test_every_field_of_a_sample_is_explained() -> None:
    page = (DOCS / "metrics.md").read_text()
    assert [field for field in ClusterMetrics.model_fields if f"`{field}`" not in page] == []


def test_every_prometheus_metric_is_explained_and_no_other() -> None:
    declared = {metric.name + ("_total" if metric.type == "counter" else "") for metric in telemetry.REGISTRY.collect()}
    assert set(re.findall(r"`(cloudoptim_\w+)`", (DOCS / "metrics.md").read_text())) == declared


def test_every_link_between_the_pages_leads_somewhere() -> None:
    broken = []
    for page in [ROOT / "README.md", *DOCS.glob("*.md")]:
        for target in re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", page.read_text()):
            if not target.startswith("http") and not (page.parent / target).exists():
                broken.append(f"{page.name}: {target}")
    assert broken == []


def test_nothing_is_cited_that_a_reader_cannot_look_up() -> None:
    """Documents that are not in the repository: what follows from them is written here, or said to follow from us."""
    elsewhere = re.compile(r"\bSPEC(ification)? section|\b(DESIGN|DRAIN|KUBERNETES|SPEC|STYLE|TARGETS)\.md")
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    texts = {name: (ROOT / name).read_text(errors="replace") for name in listed if (ROOT / name).is_file()}
    assert [name for name, text in texts.items() if elsewhere.search(text) and name != "tests/unit/test_docs.py"] == []


def test_every_task_type_and_its_parameters_are_explained() -> None:
    page = (DOCS / "tasks.md").read_text()
    for task_type, parameters in PARAMETERS.items():
        assert f"`{task_type}`" in page
        for name in parameters.model_fields:
            assert f"`{name}`" in page, f"{task_type}: {name}"
