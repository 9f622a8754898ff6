"""The usage that a sample tells of, where the cluster measures it. It is waited for a moment only."""

from __future__ import annotations

import logging

from shared.basics.errors import AgentError
from shared.kube.connection import Kube, optional
from shared.kube.usage import UsageApi, Used

_logger = logging.getLogger(__name__)


class NodeUsage:
    """Usage by node name; empty where metrics.k8s.io is absent, late or broken, which is nobody's error here."""

    def __init__(self, kube: Kube) -> None:
        self._api = UsageApi(kube)
        self.last: dict[str, Used] = {}
        """What was read last: for whoever has no time to ask."""

    def read(self) -> dict[str, Used]:
        """Ask for it."""
        try:
            # Utilisation is not worth a late sample; metrics-server answers within milliseconds, if it is there.
            with optional():
                self.last = self._api.nodes()
        except AgentError as error:
            _logger.debug("no usage: %s", error)
            self.last = {}
        return self.last
