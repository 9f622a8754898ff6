"""Alerts and dashboard, against promtool and against the metrics that the agent declares."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from shared.basics import telemetry
from tests.container.bundle import COMPONENTS
from tests.unit.bundle.conftest import Run

SPEC: dict[str, Any] = yaml.safe_load((COMPONENTS / "monitoring" / "alerts.yaml").read_text())["spec"]
RULES: list[dict[str, Any]] = [rule for group in SPEC["groups"] for rule in group["rules"]]
TESTS = Path(__file__).with_name("alerts_test.yaml")

DASHBOARD: dict[str, Any] = json.loads((COMPONENTS / "monitoring" / "dashboard.json").read_text())
TARGETS = [target["expr"] for panel in DASHBOARD["panels"] for target in panel.get("targets", [])]

FAMILIES = {family.name for family in telemetry.REGISTRY.collect()}


def families_in(expression: str) -> set[str]:
    """The metrics an expression reads, without the endings that samples have."""
    names = set(re.findall(r"\bcloudoptim_\w+", expression))
    return {re.sub(r"_(total|bucket|count|sum)$", "", name) for name in names}


def test_alerts_are_well_formed(tmp_path: Path, run: Run) -> None:
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump(SPEC))
    run("promtool", "check", "rules", "rules.yaml", cwd=tmp_path)


def test_alerts_fire_when_they_should(tmp_path: Path, run: Run) -> None:
    """Without their texts, which promtool would want repeated word for word."""
    bare = [{key: value for key, value in rule.items() if key != "annotations"} for rule in RULES]
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump({"groups": [{"name": "cloudoptim-agent", "rules": bare}]}))
    (tmp_path / "tests.yaml").write_text(TESTS.read_text())
    run("promtool", "test", "rules", "tests.yaml", cwd=tmp_path)


@pytest.mark.parametrize("alert", [rule["alert"] for rule in RULES])
def test_each_alert_is_tried_both_ways(alert: str) -> None:
    tries = [each for test in yaml.safe_load(TESTS.read_text())["tests"] for each in test["alert_rule_test"]]
    assert {bool(each.get("exp_alerts")) for each in tries if each["alertname"] == alert} == {True, False}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_each_alert_says_what_it_means_and_what_to_do(rule: dict[str, Any]) -> None:
    assert set(rule["annotations"]) == {"summary", "description"}
    assert rule["labels"]["severity"] in ("warning", "critical")


def test_alerts_read_metrics_that_exist() -> None:
    assert set().union(*(families_in(rule["expr"]) for rule in RULES)) <= FAMILIES


def test_dashboard_shows_every_metric_and_no_other() -> None:
    assert set().union(*map(families_in, TARGETS)) == FAMILIES


def test_dashboard_expressions_are_well_formed(tmp_path: Path, run: Run) -> None:
    plain = [re.sub(r"\$\w+", "any", expr.replace("$__rate_interval", "5m")) for expr in TARGETS]
    rules = [{"record": f"panel:{number}", "expr": expr} for number, expr in enumerate(plain)]
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}))
    run("promtool", "check", "rules", "--lint=none", "rules.yaml", cwd=tmp_path)
