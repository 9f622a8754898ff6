"""On a laptop the environment says nothing; the bundle's ConfigMap and Secret do, where they may be read."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping

from shared import config
from shared.basics.errors import AgentError, ConfigurationError
from shared.config import Settings
from shared.config.limits import KEYS, variable_of
from shared.kube.connection import Kube
from workers.commands.doctor.findings import Finding, fail, ok, unknown
from workers.commands.doctor.installation import Installation

_VARIABLES = {
    "central-server-url": "CENTRAL_SERVER_URL",
    "cluster-id": "CLUSTER_ID",
    "poll-interval-seconds": "TASK_POLL_INTERVAL_SECONDS",
    "metrics-interval-seconds": "METRICS_POLL_INTERVAL_SECONDS",
    "log-level": "LOG_LEVEL",
}
"""Keys of the ConfigMap to the variables the Deployment makes of them."""


def settings_from_cluster(
    kube: Kube, where: Installation, environ: Mapping[str, str]
) -> Iterator[tuple[Finding, Settings | None]]:
    """The settings the pod gets, with a finding on each source."""
    values = dict(environ)
    try:
        data = json.loads(kube.get(where.config_map)).get("data") or {}
        values.update({variable: data[key] for key, variable in _VARIABLES.items() if key in data})
        values.update({variable_of(key): data[key] for key in KEYS if key in data})
        yield ok("settings", "read from the ConfigMap cloudoptim-client-config"), None
        encoded = (json.loads(kube.get(where.secret)).get("data") or {}).get("api-key", "")
        values["CENTRAL_API_KEY"] = base64.b64decode(encoded).decode()
    except (AgentError, ValueError) as error:
        yield unknown("settings", f"not known here: {error}", "set the variables, or run it inside the pod"), None
        return
    try:
        settings = config.load(values)
    except ConfigurationError as error:
        for problem in error.problems:
            yield fail("settings", problem, "correct the ConfigMap or the Secret, then restart the pod"), None
        return
    yield ok("settings", f"cluster {settings.agent.cluster_id}, Central {settings.central.url}"), settings
