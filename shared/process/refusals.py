"""401 and 403 from Central, as one fact the workers share: whoever sees one says so, heartbeat decides.

How often and how long a key must be refused, and nothing else said, before a person is asked to look. It is read anew
for each call.

| refused | times | seconds |
|---|---|---|
| by Central, a key that is given once and for all | 3 | 30 |
| by Central, a key that is a file: the new one may be on its way into it, which takes a kubelet two minutes | 3 | 180 |
| by something before Central, such as a proxy's page | 3 | 900 |
"""

from __future__ import annotations

import logging
from dataclasses import asdict, dataclass

from shared.basics.api_key import ApiKey
from shared.basics.errors import AgentError, AuthenticationError
from shared.basics.timing import Clock
from shared.process.state import REFUSED
from shared.queue.client import Queue, value

CONFIRM_TIMES = 3
CONFIRM_SECONDS = 30.0
ROTATION_SECONDS = 180.0
UNCLEAR_SECONDS = 900.0

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Refusal:
    """Refusals of one key that one worker saw in a row. Times are monotonic seconds of this machine."""

    times: int
    first: float
    last: float
    reason: str
    patience: float
    """Seconds for which they must have gone on."""
    key: int
    """Which key it was, counting those that the worker has seen."""

    @property
    def confirmed(self) -> bool:
        return self.times >= CONFIRM_TIMES and self.last - self.first >= self.patience


def report_refusal(queue: Queue, worker: str, error: AuthenticationError, api_key: ApiKey, clock: Clock) -> None:
    """Say that Central refused ``worker`` once more. Never raises: the refusal itself is the news."""
    now = clock.monotonic()
    patience = ROTATION_SECONDS if api_key.rotates else CONFIRM_SECONDS
    if not error.certain:
        patience = UNCLEAR_SECONDS
    try:
        earlier = refusals(queue).get(worker)
        if earlier is None or earlier.key != api_key.changes or earlier.patience > patience:
            times, first = 0, now  # Another key, or now it is Central itself that says so.
        elif earlier.patience == patience:
            times, first = earlier.times, earlier.first
        else:
            return  # Central itself refuses it; what others say meanwhile adds nothing.
        news = Refusal(times + 1, first, now, str(error), patience, api_key.changes)
        queue.set_state({REFUSED + worker: asdict(news)})
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
