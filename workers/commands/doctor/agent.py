"""The agent beside us in the pod: its queue, its programs, its endpoints."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator

from shared.basics.errors import AgentError
from shared.config import Settings
from shared.process.programs import PROGRAMS, Programs
from shared.queue.client import QueueClient
from workers.commands.doctor.findings import Finding, fail, ok, warn

_FULL = 1000
"""Messages of a topic that make one wonder."""


def check_agent(settings: Settings) -> Iterator[Finding]:
    """supervisord's programs, the queue's fill, /health and /ready."""
    yield from _check_programs(settings)
    yield from _check_queue(settings)
    for path in ("/health", "/ready"):
        yield _check_endpoint(settings.health.port, path)


def _check_programs(settings: Settings) -> Iterator[Finding]:
    try:
        states = Programs(settings.agent.supervisor_socket).states()
    except AgentError as error:
        yield fail("supervisord", str(error), "is the agent running with this AGENT_RUN_DIR?")
        return
    for name in PROGRAMS:
        state = states.get(name)
        word = state.word if state else "not configured"
        advice = f"the pod's log says why; then: supervisorctl restart {name}"
        yield ok(name, word) if word == "running" else fail(name, f"is {word}", advice)


def _check_queue(settings: Settings) -> Iterator[Finding]:
    try:
        stats = QueueClient(settings.agent.queue_socket).stats(patience=1.0)
    except AgentError as error:
        yield fail("queue", str(error), "supervisorctl restart health")
        return
    for topic, fill in stats.items():
        detail = (
            f"{fill.depth} wait, the oldest for {fill.oldest_age:.0f} s; {fill.dropped} dropped, {fill.buried} refused"
        )
        if fill.depth > _FULL or fill.dropped or fill.buried:
            yield warn(f"queue {topic}", detail, "is Central slow, away, or refusing? see the heartbeat's log")
        else:
            yield ok(f"queue {topic}", detail)


def _check_endpoint(port: int, path: str) -> Finding:
    """Straight to the loopback address, whatever proxies there are."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        body = answer.read(4000).decode(errors="replace").strip()
    except (OSError, http.client.HTTPException) as error:
        return fail(path, f"nobody answers on port {port}: {error}", "supervisorctl status health")
    finally:
        connection.close()
    if answer.status == 200:
        return ok(path, body)
    try:
        said = "; ".join(json.loads(body).get("reasons", [])) or body
    except ValueError:
        said = body
    return fail(path, f"{answer.status}: {said}", "the reasons say what is wrong")
