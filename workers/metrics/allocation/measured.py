"""What pods use beyond their requests, from metrics.k8s.io. Read now and then, apart from the samples."""

from __future__ import annotations

import logging
import threading
from typing import NamedTuple

from shared.basics.errors import AgentError
from shared.basics.timing import Clock, Deadline
from shared.kube.connection import Kube
from shared.kube.usage import PodUsed, UsageApi
from workers.metrics.allocation.bill import NOTHING_KNOWN, Usage
from workers.metrics.allocation.shares import Measured
from workers.metrics.pods import PodTotals, key_of

SILENCE = 2.0
"""Seconds that metrics-server may think or pause."""

PATIENCE = 60.0
"""Seconds for all pods: 150,000 are 70 MB, and nobody waits for them."""

_STALE = 2.5
"""Intervals after which a reading that could not be repeated is forgotten."""

_logger = logging.getLogger(__name__)


class Reading(NamedTuple):
    """What pods were found to use."""

    beyond_requests: Usage
    pods: int | None
    """How many were measured; None if there is no reading."""
    until: Deadline


class PodUsage:
    """The last reading. ``lock`` guards the totals it is compared with."""

    def __init__(self, kube: Kube, lock: threading.Lock, interval: float, clock: Clock) -> None:
        self._api = UsageApi(kube)
        self._lock = lock
        self._interval = interval
        self._clock = clock
        self._last = Reading(NOTHING_KNOWN, None, Deadline.after(0, clock))

    def latest(self) -> Reading:
        """What is known at present."""
        if self._last.until.expired:
            self._last = Reading(NOTHING_KNOWN, None, self._last.until)
        return self._last

    def read(self, totals: PodTotals) -> None:
        """Ask for it. Whatever goes wrong is nobody's error: then the requests count."""
        with self._lock:
            places = totals.places()
        known: dict[str, dict[int, Measured]] = {}
        count = 0
        try:
            for pods in self._api.pods(SILENCE, Deadline.after(PATIENCE, self._clock)):
                with self._lock:
                    count += sum(_note(pod, totals, places, known) for pod in pods)
        except AgentError as error:
            _logger.debug("no usage of pods: %s", error)
            return
        self._last = Reading(known, count, Deadline.after(_STALE * self._interval, self._clock))


def _note(pod: PodUsed, totals: PodTotals, places: dict[int, str], known: dict[str, dict[int, Measured]]) -> bool:
    """Keep what ``pod`` uses if that is more than it requests; whether it is one of ours."""
    key = key_of(pod.namespace, pod.name)
    node = places.get(key)
    work = totals.on(node).get(key) if node is not None else None
    if node is None or work is None:
        return False
    used, requests = Measured(pod.used.cpu or 0, pod.used.memory or 0), work.shape.requests
    if used.cpu > requests.cpu or used.memory > requests.memory:
        known.setdefault(node, {})[key] = used
    return True
