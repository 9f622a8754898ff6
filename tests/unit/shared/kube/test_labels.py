"""Label keys and values, checked before the API server is asked."""

from __future__ import annotations

import pytest

from shared.kube.labels import problem_with, system_labels

NAME = "the name must be 1 to 63 letters, digits, '-', '_', '.', with a letter or digit at both ends"


@pytest.mark.parametrize(
    "key",
    ["team", "a", "A_b-c.9", "x" * 63, "example.com/team", "a-b.c/team", "1.2/3", "x" * 253 + "/team"],
)
@pytest.mark.parametrize("value", [None, "", "a", "0", "A_b-c.9", "x" * 63])
def test_these_can_be_set(key: str, value: str | None) -> None:
    assert problem_with({key: value}) is None


@pytest.mark.parametrize("key", ["", "-team", "team-", "te am", "téam", "x" * 64, "a/", "example.com/-x", "team\n"])
def test_a_name_that_is_none(key: str) -> None:
    assert problem_with({key: "a"}) == f"label {key!r}: {NAME}"


@pytest.mark.parametrize("prefix", ["", "Example.com", "example..com", "-a", "a_b", "a/b", "x" * 254])
def test_a_prefix_that_is_no_subdomain(prefix: str) -> None:
    problem = problem_with({f"{prefix}/team": "a"})
    assert problem is not None
    assert "must be a DNS subdomain of at most 253 characters" in problem


@pytest.mark.parametrize("value", ["-a", "a-", "a b", "a/b", "é", "x" * 64, " ", "a\n"])
def test_a_value_that_is_none(value: str) -> None:
    problem = problem_with({"ok": "fine", "team": value})
    assert problem is not None
    assert problem.startswith(f"label 'team': the value {value!r} must be at most 63 letters")


def test_a_long_value_is_not_repeated_whole() -> None:
    assert len(problem_with({"team": "x" * 10_000}) or "") < 300


@pytest.mark.parametrize(
    "key",
    [
        "kubernetes.io/os",
        "node.kubernetes.io/exclude-from-external-load-balancers",
        "k8s.io/cluster",
        "node-role.kubernetes.io/control-plane",
        "a.b.k8s.io/c",
    ],
)
def test_these_steer_kubernetes_itself(key: str) -> None:
    assert system_labels({"team": "a", key: None}) == [key]


@pytest.mark.parametrize(
    "key", ["kubernetes.io", "team", "example.com/kubernetes.io", "mykubernetes.io/x", "kubernetes.io.example.com/x"]
)
def test_these_do_not(key: str) -> None:
    assert system_labels({key: "a"}) == []
