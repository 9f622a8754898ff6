"""What a check found, and how it is shown."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from enum import Enum


class Verdict(str, Enum):
    """How bad it is."""

    OK = "ok"
    WARN = "warn"
    """It works, but not as well as it could."""
    FAIL = "FAIL"
    UNKNOWN = "unknown"
    """It could not be looked at from here."""


@dataclass(frozen=True)
class Finding:
    """One line of the report."""

    topic: str
    verdict: Verdict
    detail: str
    advice: str = ""
    """What to do; empty where there is nothing to do."""


def ok(topic: str, detail: str) -> Finding:
    return Finding(topic, Verdict.OK, detail)


def warn(topic: str, detail: str, advice: str) -> Finding:
    return Finding(topic, Verdict.WARN, detail, advice)


def fail(topic: str, detail: str, advice: str) -> Finding:
    return Finding(topic, Verdict.FAIL, detail, advice)


def unknown(topic: str, detail: str, advice: str = "") -> Finding:
    return Finding(topic, Verdict.UNKNOWN, detail, advice)


def exit_status(findings: Sequence[Finding]) -> int:
    """1 when anything failed, else 0: warnings and what could not be seen are no reason to stop a roll-out."""
    return int(any(finding.verdict is Verdict.FAIL for finding in findings))


def as_json(findings: Sequence[Finding]) -> str:
    return json.dumps([{**asdict(finding), "verdict": finding.verdict.value} for finding in findings], indent=1)


def as_table(findings: Sequence[Finding], width: int = 110) -> str:
    """Verdict, topic and detail, with the advice under each that needs one, and a count at the end."""
    column = max((len(finding.topic) for finding in findings), default=0)
    indent = " " * (9 + column + 2)
    lines = []
    for finding in findings:
        head = f"{finding.verdict.value:8} {finding.topic:{column}}  "
        lines += _wrapped(finding.detail, width, head, indent) or [head]
        if finding.advice:
            lines += _wrapped(finding.advice, width, f"{indent}→ ", f"{indent}  ")
    counts = {verdict: sum(finding.verdict is verdict for finding in findings) for verdict in Verdict}
    lines.append(", ".join(f"{count} {verdict.value}" for verdict, count in counts.items() if count))
    return "\n".join(lines)


def _wrapped(text: str, width: int, first: str, further: str) -> list[str]:
    """Lines that leave names whole: they are there to be copied."""
    return textwrap.wrap(
        text, width, initial_indent=first, subsequent_indent=further, break_on_hyphens=False, break_long_words=False
    )
