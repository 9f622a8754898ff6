"""Settings: the one place that reads os.environ and mounted files. Everything here is frozen.

Each field says its variable, default and meaning; ``reference()`` turns that into the operators' table.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Any

from shared.basics.api_key import ApiKey, key_problem
from shared.basics.errors import ConfigurationError
from shared.config.limits import Limits
from shared.config.values import (
    SECONDS,
    Malformed,
    existing_file,
    names_of,
    number,
    one_of,
    parse_flag,
    parse_identifier,
    parse_label,
    parse_label_names,
    parse_run_dir,
    parse_url,
    parse_words,
    setting,
)
from shared.schemas.events import EVENT_TYPES
from shared.schemas.parameters import PARAMETERS


@dataclass(frozen=True)
class Central:
    """The Central Server."""

    url: str = setting("CENTRAL_SERVER_URL", parse_url, "Base URL of the Central Server; HTTPS in production.")
    poll_seconds: float = setting("TASK_POLL_INTERVAL_SECONDS", SECONDS, "Seconds between two polls for tasks.", 10.0)
    heartbeat_seconds: float = setting("HEARTBEAT_INTERVAL_SECONDS", SECONDS, "Seconds between two heartbeats.", 30.0)
    ca_bundle: str | None = setting(
        "REQUESTS_CA_BUNDLE",
        str,
        "File (or directory, as c_rehash makes it) of the CAs that may sign Central's certificate, for calls and the"
        " stream; else those of the package certifi.",
        None,
        instead=("CURL_CA_BUNDLE", "SSL_CERT_FILE"),
    )
    api_key: ApiKey = field(default_factory=ApiKey)


@dataclass(frozen=True)
class Agent:
    """Who this agent is and how it writes."""

    cluster_id: str = setting("CLUSTER_ID", parse_identifier, "The cluster's id at Central.")
    run_dir: Path = setting(
        "AGENT_RUN_DIR",
        parse_run_dir,
        "Directory of every socket, spool and scratch file; one per agent.",
        Path("/run/cloudoptim"),
    )
    log_level: str = setting(
        "LOG_LEVEL",
        one_of("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"),
        "Least severity that is logged.",
        "INFO",
    )
    log_format: str = setting("LOG_FORMAT", one_of("json", "text"), "json or text.", "json")
    termination_log: Path = setting(
        "TERMINATION_LOG",
        Path,
        "Where the reason of a fatal stop is written for `kubectl describe pod`.",
        Path("/dev/termination-log"),
    )

    @property
    def queue_socket(self) -> Path:
        return self.run_dir / "queue.sock"

    @property
    def spool(self) -> Path:
        return self.run_dir / "spool.sqlite"

    @property
    def supervisor_socket(self) -> Path:
        return self.run_dir / "supervisor.sock"

    @property
    def fatal_file(self) -> Path:
        """Where a worker leaves the exit status and reason that the whole pod shall end with."""
        return self.run_dir / "fatal.json"


@dataclass(frozen=True)
class Kubernetes:
    """The API server."""

    kubeconfig: str | None = setting(
        "KUBECONFIG", existing_file, "Path of a kubeconfig; inside a cluster the ServiceAccount is used.", None
    )
    evictions_per_second: float = setting(
        "EVICTIONS_PER_SECOND", number(float, 0.1, 10_000), "Evictions of all drains together.", 100.0
    )
    eviction_burst: int = setting(
        "EVICTION_BURST", number(int, 1, 10_000), "Evictions that may go at once after a pause.", 200
    )


@dataclass(frozen=True)
class Tasks:
    """How tasks are executed, and within which limits of the cluster's owner."""

    limits: Limits
    kubernetes_events: bool = setting(
        "KUBERNETES_EVENTS",
        parse_flag,
        "Write Events on the nodes tasks touch; needs the RBAC component kubernetes-events.",
        False,
    )


@dataclass(frozen=True)
class Metrics:
    """The sample of the cluster's totals and its cost."""

    interval_seconds: float = setting("METRICS_POLL_INTERVAL_SECONDS", SECONDS, "Seconds between two samples.", 60.0)
    spot_label: tuple[str, str] | None = setting(
        "SPOT_NODE_LABEL", parse_label, "One more label, key=value, that marks a spot node.", None
    )
    prices_file: Path | None = setting(
        "PRICES_FILE", Path, "Your own prices (a mounted ConfigMap key); re-read when it changes.", None
    )
    spot_price_factor: float = setting(
        "SPOT_PRICE_FACTOR",
        number(float, 0.0, 1.0),
        "Spot price as a part of the on-demand price, where no spot price is known.",
        0.35,
    )
    live_prices: str | None = setting(
        "LIVE_PRICES",
        one_of("azure"),
        "azure: ask Azure's public retail price list (prices.azure.com, no account) daily for the cluster's sizes.",
        None,
    )


@dataclass(frozen=True)
class Costs:
    """Who causes the cost."""

    interval_seconds: float = setting(
        "COST_INTERVAL_SECONDS", SECONDS, "Seconds between two samples that say who causes the cost.", 600.0
    )
    labels: tuple[str, ...] = setting(
        "COST_LABELS", parse_label_names, "Comma-separated names of pod labels to divide the cost by; up to five.", ()
    )
    usage: bool = setting(
        "COST_USAGE",
        parse_flag,
        "Count the larger of what a pod requests and what it uses, where metrics.k8s.io knows; else requests.",
        True,
    )
    prometheus: bool = setting(
        "COST_PROMETHEUS", parse_flag, "Show the cost by namespace to Prometheus, the hundred costliest.", False
    )


@dataclass(frozen=True)
class Events:
    """Which cluster events are forwarded."""

    namespaces: tuple[str, ...] = setting(
        "EVENT_NAMESPACES",
        parse_words,
        "Comma-separated namespaces whose events are told; all if unset. Nodes' are told always.",
        (),
    )
    types: frozenset[str] = setting(
        "EVENT_TYPES",
        names_of(EVENT_TYPES),
        "Comma-separated event types to forward; all if unset.",
        frozenset(EVENT_TYPES),
    )


@dataclass(frozen=True)
class Health:
    """The HTTP endpoints."""

    port: int = setting("HEALTH_CHECK_PORT", number(int, 0, 65_535), "Port of the endpoints.", 8080)
    address: str = setting("HEALTH_CHECK_ADDRESS", str, "Address they listen on.", "0.0.0.0")


@dataclass(frozen=True)
class Pod:
    """Who this pod is (downward API); all optional outside a cluster."""

    name: str | None = setting("POD_NAME", str, "Name of this pod.", None)
    namespace: str | None = setting("POD_NAMESPACE", str, "Namespace of this pod.", None)
    uid: str | None = setting("POD_UID", str, "UID of this pod; a drain takes it last.", None)
    node_name: str | None = setting("NODE_NAME", str, "Node this pod runs on.", None)


@dataclass(frozen=True)
class Settings:
    """All settings, grouped."""

    agent: Agent
    central: Central
    kubernetes: Kubernetes
    tasks: Tasks
    metrics: Metrics
    costs: Costs
    events: Events
    health: Health
    pod: Pod


def load(environ: Mapping[str, str]) -> Settings:
    """Read all settings from ``environ``.

    An empty variable counts as unset: that is what an empty ConfigMap key gives.

    Raises:
        ConfigurationError: with one line per problem: the variable, what was found, what is expected.
    """
    problems: list[str] = []
    api_key = _load_api_key(environ, problems)
    given: dict[str, dict[str, Any]] = {"central": {"api_key": api_key}}
    given["tasks"] = {"limits": _load_group(Limits, environ, problems)}
    groups = {name: _load_group(group, environ, problems, **given.get(name, {})) for name, group in _GROUPS.items()}
    if problems:
        raise ConfigurationError(problems)
    return Settings(**groups)


_GROUPS: dict[str, type[Any]] = {
    "agent": Agent,
    "central": Central,
    "kubernetes": Kubernetes,
    "tasks": Tasks,
    "metrics": Metrics,
    "costs": Costs,
    "events": Events,
    "health": Health,
    "pod": Pod,
}


def _load_group(group: type[Any], environ: Mapping[str, str], problems: list[str], **given: Any) -> Any:
    """One group from its variables and what is ``given``; None once anything was wrong with it."""
    values = dict(given)
    before = len(problems)
    for entry in fields(group):
        variable = entry.metadata.get("variable")
        if variable is None:
            continue
        given_by = (variable, *entry.metadata["instead"])
        variable, text = next(
            ((name, text) for name in given_by if (text := environ.get(name, "").strip())), (variable, "")
        )
        if not text:
            if entry.default is MISSING:
                problems.append(f"{variable} is not set; expected: {entry.metadata['doc']}")
            continue
        try:
            values[entry.name] = entry.metadata["parse"](text)
        except Malformed as error:
            problems.append(f"{variable}={(text if error.shown is None else error.shown)!r}; expected {error}")
    return group(**values) if len(problems) == before else None


def _load_api_key(environ: Mapping[str, str], problems: list[str]) -> ApiKey:
    """The key's value never enters a message."""
    if path := environ.get("CENTRAL_API_KEY_FILE", "").strip():
        try:
            text = Path(path).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or type(error).__name__
            problems.append(f"CENTRAL_API_KEY_FILE={path!r} ({reason}); expected a file with the key")
            return ApiKey()
        if problem := key_problem(text):
            problems.append(f"CENTRAL_API_KEY_FILE={path!r} holds no usable key; expected {problem}")
        return ApiKey(text, Path(path))
    text = environ.get("CENTRAL_API_KEY", "").strip()
    if not text:
        problems.append("CENTRAL_API_KEY is not set; expected the key, or its file in CENTRAL_API_KEY_FILE")
    elif problem := key_problem(text):
        problems.append(f"CENTRAL_API_KEY is malformed (value not shown); expected {problem}")
    return ApiKey(text)


_PAGE = """# Configuration

All settings are environment variables. A missing or malformed one is named, with what was found and what is
expected, and `cloudoptim-agent run` exits with 78 before it starts anything. An empty variable counts as unset.

Proxies by the usual variables: `HTTPS_PROXY`, `HTTP_PROXY`, `NO_PROXY`. They are for Central: the API server is called
without one at the Service's address, and with one only by a `KUBECONFIG`, unless `NO_PROXY` names it.

This page is made by `make docs`; a test holds it to the code.
"""


_LIMITS = """## Limits of the cluster's owner

They hold whatever Central asks. Each may also be a key of the ConfigMap by its name in small letters with dashes
(`max-cordoned-nodes`): it takes the variable's place within about a minute, without a restart. A key that cannot be
read refuses every task. [security.md](security.md#limits-and-who-holds-them) says which the API server holds, too.
"""


def reference() -> str:
    """The operators' page of variables, docs/configuration.md."""
    lines = [_PAGE, "| variable | default | meaning |", "|---|---|---|"]
    key_doc = "Central's API key, or a file that holds it, re-read at each use so that it rotates."
    lines.append(f"| `CENTRAL_API_KEY` or `CENTRAL_API_KEY_FILE` | required | {key_doc} |")
    lines += [line for group in _GROUPS.values() for line in _rows(group)]
    lines += ["", _LIMITS, "| variable | default | meaning |", "|---|---|---|", *_rows(Limits)]
    return "\n".join(lines) + "\n"


def _rows(group: type[Any]) -> Iterator[str]:
    for entry in fields(group):
        if variable := entry.metadata.get("variable"):
            names = ", else ".join(f"`{name}`" for name in (variable, *entry.metadata["instead"]))
            yield f"| {names} | {_shown(entry.default)} | {entry.metadata['doc']} |"


def _shown(default: Any) -> str:
    if default is MISSING:
        return "required"
    if default in (None, (), frozenset(PARAMETERS), frozenset(EVENT_TYPES)):
        return "unset"
    if isinstance(default, bool):
        return f"`{str(default).lower()}`"
    return f"`{default:g}`" if isinstance(default, float) else f"`{default}`"
