"""All checks in order, whatever is broken: each stands alone, and one that fails is a finding, not a crash."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from shared import USER_AGENT, config
from shared.basics.errors import AgentError, ConfigurationError
from shared.basics.timing import Deadline
from shared.config import Settings
from shared.kube.connection import Kube, bounded_by
from shared.process.identity import instance_id
from workers.commands.doctor.access import check_access
from workers.commands.doctor.agent import check_agent
from workers.commands.doctor.central import check_central
from workers.commands.doctor.cluster import check_api_server, check_bundle, check_pod, check_usage
from workers.commands.doctor.findings import Finding, Verdict, fail, ok, unknown, warn
from workers.commands.doctor.installation import DEFAULT_NAMESPACE, Installation
from workers.commands.doctor.laptop import settings_from_cluster
from workers.commands.doctor.limits import check_admission, check_limits

_PATIENCE = 5.0
"""Seconds for each group of questions to the API server; in a cluster that is well all take less than one."""


def examine(environ: Mapping[str, str], namespace: str | None = None) -> Iterator[Finding]:
    """Every finding, as it is made: inside the agent's pod, or on a laptop with a kubeconfig.

    The agent is looked for in ``namespace``, by default in this pod's own, or in kube-system.
    """
    inside = "KUBERNETES_SERVICE_HOST" in environ and ("POD_UID" in environ or "KUBECONFIG" not in environ)
    kubeconfig = environ.get("KUBECONFIG") or (None if inside else "~/.kube/config")
    where = Installation(namespace or environ.get("POD_NAMESPACE") or DEFAULT_NAMESPACE)
    kube = Kube(kubeconfig, f"{USER_AGENT} doctor")
    yield ok("where", "inside the pod" if inside else f"outside the cluster, with the kubeconfig {kubeconfig}")
    settings = None
    for finding, found in _settings(environ, kube, where, inside):
        settings = found or settings
        yield finding
    if settings is not None:
        limits = settings.tasks.limits.current()
        yield from _guarded("limits", lambda: check_limits(limits))
    answers = True
    for finding in _guarded("kubernetes api", lambda: check_api_server(kube)):
        answers = answers and (finding.topic, finding.verdict) != ("kubernetes api", Verdict.FAIL)
        yield finding
    if answers:
        events_wanted = settings is not None and settings.tasks.kubernetes_events
        yield from _guarded("bundle", lambda: check_bundle(kube, where, inside))
        read_only = settings is not None and settings.tasks.limits.current().read_only
        yield from _guarded("rbac", lambda: check_access(kube, where, inside, events_wanted, read_only))
        yield from _guarded("admission limits", lambda: check_admission(kube, inside))
        yield from _guarded("metrics.k8s.io", lambda: check_usage(kube))
    else:
        yield unknown("bundle, rbac", "not looked at: the API server does not answer")
    if settings is None:
        yield unknown("central", "not looked at: its URL or key is not known")
    else:
        known = settings
        instance = _instance(known)
        yield from _guarded("central", lambda: check_central(known.central, known.agent.cluster_id, instance))
    if settings is not None and (inside or settings.agent.supervisor_socket.exists()):
        beside = settings
        yield from _guarded("agent", lambda: check_agent(beside))
    elif answers:
        yield from _guarded("pod", lambda: check_pod(kube, where))
    else:
        yield unknown("pod", "not looked at: the API server does not answer")


def _settings(
    environ: Mapping[str, str], kube: Kube, where: Installation, inside: bool
) -> Iterator[tuple[Finding, Settings | None]]:
    """The settings of the environment; on a laptop without them, those of the cluster."""
    try:
        settings = config.load(environ)
    except ConfigurationError as error:
        if not inside and "CLUSTER_ID" not in environ:
            yield from settings_from_cluster(kube, where, environ)
            return
        for problem in error.problems:
            advice = "see docs/configuration.md; in the cluster: ConfigMap and Secret of the bundle"
            yield fail("settings", problem, advice), None
        return
    yield ok("settings", f"cluster {settings.agent.cluster_id}, Central {settings.central.url}"), settings
    if rail := settings.tasks.limits.current().are_paused():
        yield warn("settings", f"every task is refused: {rail}", "set tasks-paused to false when it has served"), None


def _instance(settings: Settings) -> str | None:
    """The id of the agent that runs beside us, if one does, so that Central does not take us for another agent."""
    try:
        supervisord = int((settings.agent.run_dir / "supervisord.pid").read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None
    return instance_id(settings.pod.uid, supervisord)


def _guarded(topic: str, check: Callable[[], Iterator[Finding]]) -> Iterator[Finding]:
    try:
        with bounded_by(Deadline.after(_PATIENCE)):
            yield from check()
    except AgentError as error:
        yield fail(topic, str(error), "see the message")
    except Exception as error:  # The doctor must not fall ill itself.
        yield unknown(topic, f"the check failed: {type(error).__name__}: {error}", "please report this")
