"""Every variable: what it means, what is said when it is missing or malformed, and that the key is never shown."""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from shared import config
from shared.basics.errors import ConfigurationError
from shared.config import Settings, load, reference
from shared.config.limits import Limits, Share
from shared.config.values import parse_flag
from shared.config.windows import parse_windows
from shared.schemas.events import EVENT_TYPES

REQUIRED = {"CENTRAL_SERVER_URL": "https://central.example.com", "CENTRAL_API_KEY": "k3y", "CLUSTER_ID": "prod-eu-1"}
ROOT = Path(__file__).resolve().parents[3]


def problems_of(environ: Mapping[str, str]) -> list[str]:
    with pytest.raises(ConfigurationError) as raised:
        load(environ)
    return raised.value.problems


def read(settings: Settings, path: str) -> Any:
    return functools.reduce(getattr, path.split("."), settings)


# -- what must be there ---------------------------------------------------------------------------


def test_three_variables_are_enough() -> None:
    settings = load(REQUIRED)
    assert settings.central.url == "https://central.example.com"
    assert settings.central.api_key.current() == "k3y"
    assert settings.agent.cluster_id == "prod-eu-1"


def test_all_that_is_missing_is_named_at_once() -> None:
    assert problems_of({}) == [
        "CENTRAL_API_KEY is not set; expected the key, or its file in CENTRAL_API_KEY_FILE",
        "CLUSTER_ID is not set; expected: The cluster's id at Central.",
        "CENTRAL_SERVER_URL is not set; expected: Base URL of the Central Server; HTTPS in production.",
    ]


def test_an_empty_variable_counts_as_unset() -> None:
    settings = load({**REQUIRED, "TASK_POLL_INTERVAL_SECONDS": "", "MAX_CORDONED_NODES": "  ", "LOG_LEVEL": " "})
    assert settings == dataclasses.replace(load(REQUIRED), central=settings.central)
    assert settings.central.poll_seconds == 10
    assert problems_of({**REQUIRED, "CLUSTER_ID": " "}) == [
        "CLUSTER_ID is not set; expected: The cluster's id at Central."
    ]


def test_other_variables_do_not_matter() -> None:
    assert load({**REQUIRED, "SOMETHING_ELSE": "x"}).agent == load(REQUIRED).agent


def test_settings_are_frozen() -> None:
    settings = load(REQUIRED)
    with pytest.raises(dataclasses.FrozenInstanceError):
        settings.agent.cluster_id = "other"  # type: ignore[misc]


# -- what may be there ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "default"),
    [
        ("central.poll_seconds", 10),
        ("central.heartbeat_seconds", 30),
        ("central.ca_bundle", None),
        ("metrics.interval_seconds", 60),
        ("metrics.spot_label", None),
        ("metrics.prices_file", None),
        ("metrics.spot_price_factor", 0.35),
        ("metrics.live_prices", None),
        ("agent.log_level", "INFO"),
        ("agent.log_format", "json"),
        ("agent.run_dir", Path("/run/cloudoptim")),
        ("agent.termination_log", Path("/dev/termination-log")),
        ("kubernetes.kubeconfig", None),
        ("kubernetes.evictions_per_second", 100),
        ("kubernetes.eviction_burst", 200),
        ("tasks.limits", Limits()),
        ("tasks.kubernetes_events", False),
        ("events.namespaces", ()),
        ("events.types", frozenset(EVENT_TYPES)),
        ("health.port", 8080),
        ("health.address", "0.0.0.0"),
        ("pod.name", None),
        ("pod.namespace", None),
        ("pod.uid", None),
        ("pod.node_name", None),
    ],
)
def test_defaults(path: str, default: Any) -> None:
    assert read(load(REQUIRED), path) == default


GIVEN: list[tuple[str, str, str, Any]] = [
    ("CENTRAL_SERVER_URL", "http://10.0.0.1:9000/base/", "central.url", "http://10.0.0.1:9000/base"),
    ("TASK_POLL_INTERVAL_SECONDS", "2.5", "central.poll_seconds", 2.5),
    ("HEARTBEAT_INTERVAL_SECONDS", "15", "central.heartbeat_seconds", 15),
    ("REQUESTS_CA_BUNDLE", "/etc/ca.pem", "central.ca_bundle", "/etc/ca.pem"),
    ("CLUSTER_ID", " demo ", "agent.cluster_id", "demo"),
    ("AGENT_RUN_DIR", "/tmp/agent", "agent.run_dir", Path("/tmp/agent")),
    ("LOG_LEVEL", "debug", "agent.log_level", "DEBUG"),
    ("LOG_FORMAT", "Text", "agent.log_format", "text"),
    ("TERMINATION_LOG", "/tmp/term", "agent.termination_log", Path("/tmp/term")),
    ("KUBECONFIG", f"/nowhere:{__file__}", "kubernetes.kubeconfig", f"/nowhere:{__file__}"),
    ("EVICTIONS_PER_SECOND", "0.5", "kubernetes.evictions_per_second", 0.5),
    ("EVICTION_BURST", "1", "kubernetes.eviction_burst", 1),
    ("TASKS_PAUSED", "yes", "tasks.limits.paused", True),
    ("LIMITS_DIR", "/etc/limits", "tasks.limits.folder", Path("/etc/limits")),
    ("READ_ONLY", "true", "tasks.limits.read_only", True),
    ("ALLOWED_TASK_TYPES", "drain_node, cordon_node,", "tasks.limits.task_types", ["cordon_node", "drain_node"]),
    ("MAINTENANCE_WINDOWS", "Sat 08:00-09:00", "tasks.limits.windows", parse_windows("Sat 08:00-09:00")),
    ("PROTECTED_NAMESPACES", "shop, bank", "tasks.limits.protected_namespaces", ("shop", "bank")),
    ("PROTECTED_LABELS", "karpenter.sh", "tasks.limits.protected_labels", ("karpenter.sh",)),
    ("ALLOW_CONTROL_PLANE_NODES", "true", "tasks.limits.control_plane_allowed", True),
    ("MAX_CORDONED_NODES", "0", "tasks.limits.max_cordoned", (Share(0),)),
    ("TASK_SIGNING_KEY", f"{'A' * 43}=", "tasks.limits.signing_keys", (f"{'A' * 43}=",)),
    ("MAX_DRAINS_PER_HOUR", "4", "tasks.limits.max_drains_per_hour", 4),
    ("MAX_EVICTIONS_PER_HOUR", "0", "tasks.limits.max_evictions_per_hour", 0),
    ("KUBERNETES_EVENTS", "true", "tasks.kubernetes_events", True),
    ("METRICS_POLL_INTERVAL_SECONDS", "60", "metrics.interval_seconds", 60),
    ("SPOT_NODE_LABEL", "team.io/pool=a=b", "metrics.spot_label", ("team.io/pool", "a=b")),
    ("PRICES_FILE", "/etc/prices.json", "metrics.prices_file", Path("/etc/prices.json")),
    ("SPOT_PRICE_FACTOR", "1", "metrics.spot_price_factor", 1),
    ("LIVE_PRICES", "Azure", "metrics.live_prices", "azure"),
    ("COST_INTERVAL_SECONDS", "60", "costs.interval_seconds", 60),
    ("COST_LABELS", "team, app.kubernetes.io/part-of,team", "costs.labels", ("team", "app.kubernetes.io/part-of")),
    ("COST_USAGE", "false", "costs.usage", False),
    ("COST_PROMETHEUS", "true", "costs.prometheus", True),
    ("EVENT_NAMESPACES", "shop, ,batch", "events.namespaces", ("shop", "batch")),
    ("EVENT_TYPES", "oom_killed", "events.types", frozenset({"oom_killed"})),
    ("HEALTH_CHECK_PORT", "0", "health.port", 0),
    ("HEALTH_CHECK_ADDRESS", "127.0.0.1", "health.address", "127.0.0.1"),
    ("POD_NAME", "agent-0", "pod.name", "agent-0"),
    ("POD_NAMESPACE", "kube-system", "pod.namespace", "kube-system"),
    ("POD_UID", "uid-1", "pod.uid", "uid-1"),
    ("NODE_NAME", "node-1", "pod.node_name", "node-1"),
]


@pytest.mark.parametrize(("variable", "text", "path", "value"), GIVEN, ids=[case[0] for case in GIVEN])
def test_given(variable: str, text: str, path: str, value: Any) -> None:
    assert read(load({**REQUIRED, variable: text}), path) == value


CA_VARIABLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE")


def test_no_variable_is_left_out_of_these_tests() -> None:
    documented = {word for word in reference().split("`") if (word.isupper() and "_" in word) or word == "KUBECONFIG"}
    elsewhere = {"HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY", *CA_VARIABLES[1:]}
    assert documented - elsewhere == {case[0] for case in GIVEN} | {"CENTRAL_API_KEY", "CENTRAL_API_KEY_FILE"}


URL = "a URL such as https://central.example.com"
SECONDS = "a number from 0.1 to 86400"


@pytest.mark.parametrize(
    ("variable", "text", "expected"),
    [
        ("CENTRAL_SERVER_URL", "central.example.com", URL),
        ("CENTRAL_SERVER_URL", "ftp://central.example.com", URL),
        ("CENTRAL_SERVER_URL", "https://", URL),
        ("CENTRAL_SERVER_URL", "https://central.example.com/?a=b", URL),
        ("CENTRAL_SERVER_URL", "https://central.example.com/#top", URL),
        ("TASK_POLL_INTERVAL_SECONDS", "ten", SECONDS),
        ("TASK_POLL_INTERVAL_SECONDS", "0", SECONDS),
        ("HEARTBEAT_INTERVAL_SECONDS", "1e9", SECONDS),
        ("METRICS_POLL_INTERVAL_SECONDS", "nan", SECONDS),
        ("METRICS_POLL_INTERVAL_SECONDS", "inf", SECONDS),
        ("CLUSTER_ID", "two words", "1 to 253 visible ASCII characters without spaces, such as prod-eu-1"),
        ("CLUSTER_ID", "x" * 254, "1 to 253 visible ASCII characters without spaces, such as prod-eu-1"),
        ("AGENT_RUN_DIR", "/" + "x" * 80, "a path of at most 80 characters: sockets live in it"),
        ("LOG_LEVEL", "LOUD", "one of DEBUG, INFO, WARNING, ERROR, CRITICAL"),
        ("LOG_FORMAT", "xml", "one of json, text"),
        ("EVICTIONS_PER_SECOND", "0", "a number from 0.1 to 10000"),
        ("EVICTION_BURST", "1.5", "a whole number from 1 to 10000"),
        ("TASKS_PAUSED", "maybe", "true or false"),
        ("KUBERNETES_EVENTS", "2", "true or false"),
        ("SPOT_NODE_LABEL", "spot", "key=value"),
        ("SPOT_NODE_LABEL", "=true", "key=value"),
        ("SPOT_PRICE_FACTOR", "1.5", "a number from 0 to 1"),
        (
            "COST_LABELS",
            "team=blue",
            "at most five comma-separated names of pod labels, such as team,app.kubernetes.io/part-of",
        ),
        (
            "COST_LABELS",
            "a,b,c,d,e,f",
            "at most five comma-separated names of pod labels, such as team,app.kubernetes.io/part-of",
        ),
        (
            "EVENT_TYPES",
            "oom,oom_killed",
            "a comma-separated list of pod_scheduling_failed, node_not_ready, pod_evicted, oom_killed,"
            " node_disruption_notice; unknown: oom",
        ),
        ("HEALTH_CHECK_PORT", "eighty", "a whole number from 0 to 65535"),
        ("HEALTH_CHECK_PORT", "65536", "a whole number from 0 to 65535"),
    ],
)
def test_a_malformed_value_is_said_with_what_was_found_and_what_is_expected(
    variable: str, text: str, expected: str
) -> None:
    assert problems_of({**REQUIRED, variable: text}) == [f"{variable}={text!r}; expected {expected}"]


def test_an_unknown_task_type_is_named() -> None:
    (problem,) = problems_of({**REQUIRED, "ALLOWED_TASK_TYPES": "drain_node,reboot_node"})
    assert problem.startswith("ALLOWED_TASK_TYPES='drain_node,reboot_node'; expected a comma-separated list of ")
    assert problem.endswith("; unknown: reboot_node")


@pytest.mark.parametrize("url", ["https://[central", "https://a:eighty", "https://a:65536", "https://a:0"])
def test_a_url_that_cannot_be_split_or_with_an_impossible_port_is_a_problem_like_any_other(url: str) -> None:
    (problem,) = problems_of({**REQUIRED, "CENTRAL_SERVER_URL": url})
    assert problem.startswith(f"CENTRAL_SERVER_URL={url!r}; expected a URL such as https://central.example.com")


def test_several_problems_are_said_together() -> None:
    problems = problems_of({**REQUIRED, "LOG_LEVEL": "LOUD", "HEALTH_CHECK_PORT": "x", "SPOT_NODE_LABEL": "x"})
    assert [problem.partition("=")[0] for problem in problems] == ["LOG_LEVEL", "SPOT_NODE_LABEL", "HEALTH_CHECK_PORT"]


# -- private authorities --------------------------------------------------------------------------


@pytest.mark.parametrize("number", range(3))
def test_of_the_variables_for_authorities_the_first_that_is_set_is_the_answer(number: int) -> None:
    environ = {name: f"/etc/{name}.pem" for name in CA_VARIABLES[number:]}
    before = dict.fromkeys(CA_VARIABLES[:number], "")
    settings = load({**REQUIRED, **environ, **before})
    assert settings.central.ca_bundle == f"/etc/{CA_VARIABLES[number]}.pem"


# -- the key --------------------------------------------------------------------------------------


def test_the_key_may_come_from_a_file_and_the_file_wins(tmp_path: Path) -> None:
    path = tmp_path / "api-key"
    path.write_text("from-file\n")
    settings = load({**REQUIRED, "CENTRAL_API_KEY_FILE": str(path)})
    assert settings.central.api_key.current() == "from-file"


def test_a_key_in_a_file_rotates_without_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "api-key"
    path.write_text("old")
    key = load({**REQUIRED, "CENTRAL_API_KEY_FILE": str(path)}).central.api_key
    path.write_text("new")
    assert key.current() == "new"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, " (No such file or directory); expected a file with the key"),
        (b"", " holds no usable key; expected a key of visible ASCII characters without spaces"),
        (b"sec ret", " holds no usable key; expected a key of visible ASCII characters without spaces"),
        (b"\xff\xfe", " (UnicodeDecodeError); expected a file with the key"),
    ],
    ids=["absent", "empty", "with a space", "not text"],
)
def test_a_key_file_that_cannot_be_used_at_the_start_is_a_problem(
    tmp_path: Path, content: bytes | None, said: str
) -> None:
    path = tmp_path / "api-key"
    if content is not None:
        path.write_bytes(content)
    (problem,) = problems_of({**REQUIRED, "CENTRAL_API_KEY_FILE": str(path)})
    assert problem == f"CENTRAL_API_KEY_FILE={str(path)!r}{said}"


@pytest.mark.parametrize("key", ["sec ret", "sec\tret", "sécret", "secret\x7f"])
def test_a_malformed_key_is_not_shown(key: str) -> None:
    assert problems_of({**REQUIRED, "CENTRAL_API_KEY": key}) == [
        "CENTRAL_API_KEY is malformed (value not shown); expected a key of visible ASCII characters without spaces"
    ]


def test_the_key_shows_in_no_form_of_the_settings() -> None:
    settings = load({**REQUIRED, "CENTRAL_API_KEY": "s3cr3t"})
    assert "s3cr3t" not in f"{settings!r} {settings.central} {settings.central.api_key}"


@pytest.mark.parametrize(
    "url",
    [
        "https://agent:s3cr3t@central.example.com",
        "https://:s3cr3t@central.example.com:eighty",
        "agent:s3cr3t@central.example.com",
        "https://agent:s3cr3t@other@[central",
        "https://agent:s3cr3t/more@central.example.com",
        "s3cr3t@",
    ],
)
def test_a_password_in_the_url_is_refused_and_not_shown(url: str) -> None:
    (problem,) = problems_of({**REQUIRED, "CENTRAL_SERVER_URL": url})
    assert "without a user or password" in problem
    assert "s3cr3t" not in problem


def test_a_user_in_the_url_is_refused() -> None:
    (problem,) = problems_of({**REQUIRED, "CENTRAL_SERVER_URL": "https://agent@central.example.com"})
    assert problem.endswith("a URL without a user or password in it; the key goes into CENTRAL_API_KEY")


@pytest.mark.parametrize("text", ["true", "1", "yes", "on", " TRUE\n"])
def test_spellings_of_true(text: str) -> None:
    assert parse_flag(text) is True


@pytest.mark.parametrize("text", ["false", "0", "no", "off", "", " Off "])
def test_spellings_of_false(text: str) -> None:
    assert parse_flag(text) is False


# -- paths and the page of settings ---------------------------------------------------------------


def test_every_socket_and_file_of_the_agent_lives_in_its_run_directory() -> None:
    agent = load({**REQUIRED, "AGENT_RUN_DIR": "/tmp/agent"}).agent
    paths = (agent.queue_socket, agent.spool, agent.supervisor_socket, agent.fatal_file)
    assert {path.parent for path in paths} == {Path("/tmp/agent")}
    assert len(set(paths)) == len(paths)


def test_a_relative_run_directory_becomes_absolute() -> None:
    assert load({**REQUIRED, "AGENT_RUN_DIR": "run"}).agent.run_dir == Path(os.getcwd(), "run")


def test_the_longest_run_directory_leaves_room_for_supervisords_socket() -> None:
    path = "/" + "x" * 79
    socket_of_supervisord = f"{path}/supervisor.sock.{2**22}"  # it appends its pid for a moment
    assert load({**REQUIRED, "AGENT_RUN_DIR": path}).agent.run_dir == Path(path)
    assert len(socket_of_supervisord) <= 107


def test_the_published_page_is_the_one_made_of_the_code() -> None:
    assert (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8") == reference()


def test_the_page_shows_defaults_as_they_are_written() -> None:
    page = reference()
    assert "| `CLUSTER_ID` | required |" in page
    assert "| `TASK_POLL_INTERVAL_SECONDS` | `10` |" in page
    assert "| `SPOT_PRICE_FACTOR` | `0.35` |" in page
    assert "| `TASKS_PAUSED` | `false` |" in page
    assert "| `ALLOWED_TASK_TYPES` | unset |" in page
    assert "| `EVENT_NAMESPACES` | unset |" in page


def test_every_field_but_the_key_says_its_variable() -> None:
    for group in dataclasses.fields(Settings):
        kind = getattr(config, str(group.type))
        silent = [entry.name for entry in dataclasses.fields(kind) if "variable" not in entry.metadata]
        assert silent == {"central": ["api_key"], "tasks": ["limits"]}.get(group.name, [])
