"""401 and 403 from Central, as one fact the workers share: whoever sees one says so, heartbeat decides.

A refusal is confirmed once it was seen three times over thirty seconds with the key read anew each time.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

from shared.basics.errors import AgentError, AuthenticationError
from shared.basics.timing import Clock
from shared.process.state import REFUSED
from shared.queue.client import Queue, value

CONFIRM_TIMES = 3
CONFIRM_SECONDS = 30.0

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Refusal:
    """Refusals one worker saw in a row. Times are epoch seconds."""

    times: int
    first: float
    last: float
    reason: str

    @property
    def confirmed(self) -> bool:
        return self.times >= CONFIRM_TIMES and self.last - self.first >= CONFIRM_SECONDS


def report_refusal(queue: Queue, worker: str, error: AuthenticationError, clock: Clock) -> None:
    """Say that Central refused ``worker`` once more. Never raises: the refusal itself is the news."""
    now = clock.now().timestamp()
    try:
        before = queue.get_state(REFUSED + worker).get(REFUSED + worker)
        earlier = value(before) if before is not None else {"times": 0, "first": now}
        news = {"times": earlier["times"] + 1, "first": earlier["first"], "last": now, "reason": str(error)}
        queue.set_state({REFUSED + worker: news})
    except AgentError as failure:
        _logger.warning("could not report that Central refused the key: %s", failure)


def clear_refusal(queue: Queue, worker: str) -> None:
    """Say that Central took the key of ``worker``."""
    try:
        if queue.get_state(REFUSED + worker):
            queue.set_state({REFUSED + worker: None})
    except AgentError as failure:
        _logger.debug("could not clear a refusal: %s", failure)


def refusals(queue: Queue) -> dict[str, Refusal]:
    """Present refusals by worker. Raises TemporaryError."""
    return {key[len(REFUSED) :]: Refusal(**value(entry)) for key, entry in queue.get_state(REFUSED).items()}
