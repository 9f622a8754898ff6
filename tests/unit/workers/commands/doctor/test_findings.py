"""What the doctor shows, and what it ends with."""

from __future__ import annotations

import json

import pytest

from workers.commands.doctor.findings import Finding, as_json, as_table, exit_status, fail, ok, unknown, warn

FINDINGS = [
    ok("settings", "cluster demo"),
    warn("central tls", "the URL is http", "use https in production"),
    fail("rbac", "not allowed: create pods/eviction", "apply k8s/ again"),
    unknown("secret", "may not be read"),
]


@pytest.mark.parametrize(
    ("findings", "status"),
    [([], 0), (FINDINGS[:1], 0), (FINDINGS[:2], 0), (FINDINGS[3:], 0), (FINDINGS, 1)],
    ids=["none", "ok", "warning", "unknown", "failure"],
)
def test_only_what_failed_fails(findings: list[Finding], status: int) -> None:
    assert exit_status(findings) == status


def test_the_table_has_a_line_each_what_to_do_and_a_count() -> None:
    assert as_table(FINDINGS).splitlines() == [
        "ok       settings     cluster demo",
        "warn     central tls  the URL is http",
        "                      → use https in production",
        "FAIL     rbac         not allowed: create pods/eviction",
        "                      → apply k8s/ again",
        "unknown  secret       may not be read",
        "1 ok, 1 warn, 1 FAIL, 1 unknown",
    ]


def test_a_long_line_is_wrapped_under_itself_and_names_stay_whole() -> None:
    name = "configmaps/cloudoptim-client-config-of-a-very-long-name"
    table = as_table([ok("settings", f"some words before {name} some words after")], width=60)
    assert table.splitlines() == [
        "ok       settings  some words before",
        f"                   {name}",
        "                   some words after",
        "1 ok",
    ]


def test_as_json_it_is_a_list_for_machines() -> None:
    assert json.loads(as_json(FINDINGS))[2] == {
        "topic": "rbac",
        "verdict": "FAIL",
        "detail": "not allowed: create pods/eviction",
        "advice": "apply k8s/ again",
    }
