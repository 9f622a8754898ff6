"""The audit's exit status says what was found, and whether all of it was looked at."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).resolve().parents[3] / "scripts" / "audit.sh"

SAFE: dict[str, Any] = {"name": "safe", "version": "1.0", "vulns": []}
BAD: dict[str, Any] = {"name": "bad", "version": "2.0", "vulns": [{"id": "PYSEC-1", "fix_versions": ["2.1"]}]}
UNKNOWN: dict[str, Any] = {"name": "unknown", "skip_reason": "Dependency not found on PyPI"}


def audited(folder: Path, report: str, log: str = "") -> tuple[int, str]:
    """Status and words for this report of pip-audit."""
    path = folder / "report"
    path.write_text(report)
    path.with_name("report.log").write_text(log)
    done = subprocess.run([str(SCRIPT), str(path)], capture_output=True, text=True, timeout=60)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("dependencies", "status", "words"),
    [
        ([SAFE], 0, ["audit: 1 packages looked at, 0 known vulnerabilities"]),
        ([SAFE, BAD], 1, ["audit: bad 2.0: PYSEC-1, fixed by 2.1", "2 packages looked at, 1 known"]),
        ([SAFE, UNKNOWN], 3, ["!!! audit: not known to the vulnerability service: unknown", "1 packages looked at"]),
        ([BAD, UNKNOWN], 1, ["audit: bad 2.0: PYSEC-1", "service: unknown"]),
        ([UNKNOWN], 3, ["!!! NOTHING WAS AUDITED"]),
    ],
    ids=["safe", "found", "one unknown", "found, one unknown", "a mirror that knows none"],
)
def test_findings_fail_and_gaps_are_named(
    tmp_path: Path, dependencies: list[dict[str, Any]], status: int, words: list[str]
) -> None:
    ended, said = audited(tmp_path, json.dumps({"dependencies": dependencies}))
    assert ended == status
    assert [word for word in words if word not in said] == []


def test_a_service_that_is_away_is_neither_a_finding_nor_none(tmp_path: Path) -> None:
    status, said = audited(tmp_path, "", "requests.exceptions.ConnectionError: Failed to resolve the name")
    assert status == 3
    assert "!!! NOTHING WAS AUDITED" in said


def test_a_tool_that_was_called_wrongly_fails(tmp_path: Path) -> None:
    status, said = audited(tmp_path, "", "usage: pip-audit [-h]")
    assert status == 1
    assert "usage: pip-audit" in said
