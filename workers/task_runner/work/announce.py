"""Kubernetes Events of our own on the nodes we touch, so that ``kubectl describe node`` says who did it and why.

Opt-in (KUBERNETES_EVENTS, and the RBAC component of the same name): they are for people, a task never fails
for want of one.
"""

from __future__ import annotations

import logging
import uuid

from shared.basics.errors import AgentError
from shared.basics.timing import Clock, iso
from shared.kube.connection import Kube, optional
from shared.kube.errors import Forbidden
from shared.kube.nodes import Node

NAMESPACE = "default"
"""Where Events about objects without a namespace live."""

_COMPONENT = "cloudoptim-agent"
_REASON_MAX = 128
_NOTE_MAX = 1024
"""Characters of the message that the API takes."""

_logger = logging.getLogger(__name__)


class Announcer:
    """Writes Events, or nothing where that is not wanted."""

    def __init__(self, kube: Kube, clock: Clock, wanted: bool, reporter: str) -> None:
        self._kube = kube
        self._clock = clock
        self.wanted = wanted
        self._reporter = reporter
        self._refused = False

    def on_node(self, node: Node, reason: str, message: str, warning: bool = False) -> None:
        """Say ``message`` on ``node``. Never raises."""
        if not self.wanted:
            return
        try:
            with optional():  # A webhook that is slow with Events must not hold up the task.
                self._kube.call(
                    "POST", f"/api/v1/namespaces/{NAMESPACE}/events", None, self._event(node, reason, message, warning)
                )
        except AgentError as error:
            # Once: every task would say it again until somebody grants it.
            level = logging.DEBUG if self._refused and isinstance(error, Forbidden) else logging.WARNING
            self._refused = isinstance(error, Forbidden)
            _logger.log(
                level,
                "no Event on node %s (is the kubernetes-events component applied?): %s",
                node.metadata.name,
                error,
            )
        else:
            self._refused = False

    def _event(self, node: Node, reason: str, message: str, warning: bool) -> dict[str, object]:
        now = iso(self._clock.now())
        about = {"apiVersion": "v1", "kind": "Node", "name": node.metadata.name, "uid": node.metadata.uid}
        return {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": f"{node.metadata.name}.{uuid.uuid4().hex[:16]}", "namespace": NAMESPACE},
            "involvedObject": about,
            "reason": reason[:_REASON_MAX],
            "message": message[:_NOTE_MAX],
            "type": "Warning" if warning else "Normal",
            "source": {"component": _COMPONENT, "host": self._reporter},
            "reportingComponent": _COMPONENT,
            "reportingInstance": self._reporter,
            "firstTimestamp": f"{now[:19]}Z",
            "lastTimestamp": f"{now[:19]}Z",
            "count": 1,
        }
