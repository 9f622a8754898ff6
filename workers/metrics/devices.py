"""Devices that pods claim by Dynamic Resource Allocation, where the API is there and we may read it."""

from __future__ import annotations

import logging

from shared.basics.errors import AgentError
from shared.basics.timing import jittered
from shared.kube.claims import claimed_devices
from shared.kube.connection import Kube
from shared.kube.errors import Forbidden, NoSuchApi

_AGAIN = 300.0

_ABSENT = 3600.0
"""Seconds after which a cluster without the API, or one that does not let us read it, is asked again."""

_logger = logging.getLogger(__name__)


class ClaimedDevices:
    """Read now and then, apart from the samples: claims change with pods, and nobody watches them."""

    def __init__(self, kube: Kube) -> None:
        self._kube = kube
        self.latest: dict[str, int] | None = None
        """By driver; None where it is not known."""

    def read(self) -> float:
        """Ask for it; the seconds until the next time. Whatever goes wrong is nobody's error."""
        try:
            self.latest = claimed_devices(self._kube)
        except (NoSuchApi, Forbidden) as error:
            _logger.debug("claimed devices are not counted: %s", error)
            self.latest = None
            return jittered(_ABSENT)
        except AgentError as error:
            _logger.debug("claimed devices are not known: %s", error)
            self.latest = None
        return jittered(_AGAIN)
