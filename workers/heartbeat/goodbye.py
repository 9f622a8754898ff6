"""The end of the uplink: what is under way is ended, what waits is delivered, and what is left is said."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from shared.basics.errors import AgentError
from shared.basics.timing import Deadline
from shared.queue.client import Queue
from workers.heartbeat.delivery import Delivery

CLOSE_SECONDS = 17.0
"""How long the end may take, Central's being told included: below stopwaitsecs 20."""

FLUSH_SECONDS = 12.0
"""How long the last deliveries may take of that."""

UNDER_WAY_SECONDS = 3.0
"""How long what is under way then may take before it is cut: a half-open connection would take all the rest."""

_LOOK_SECONDS = 0.5
"""Between two looks at what is left."""

_logger = logging.getLogger(__name__)


def over(doing: threading.Lock, cut: Callable[[], None], end: Deadline) -> bool:
    """Whether what another thread is ``doing`` is over before the ``end``, by itself or ``cut``."""
    done = doing.acquire(timeout=min(UNDER_WAY_SECONDS, end.remaining))
    if not done:
        cut()
        done = doing.acquire(timeout=end.remaining)
    if done:
        doing.release()
    return done


def deliver_rest(delivery: Delivery, queue: Queue, end: Deadline, pause: Callable[[float], None] = time.sleep) -> None:
    """Try everything until the ``end``, or until nothing is left."""
    delivery.last_chance(end)
    while not end.expired:
        try:
            if delivery.deliver_next(wait=0.0, within=end.remaining):
                continue
            if not any(fill.depth for fill in queue.stats().values()):
                return
        except AgentError as error:
            _logger.warning("the last deliveries fail: %s", error)
        pause(min(_LOOK_SECONDS, end.remaining))


def say_what_is_left(queue: Queue) -> None:
    """Numbers by topic, whenever there are any."""
    try:
        depths = {topic: fill.depth for topic, fill in queue.stats().items()}
    except AgentError as error:
        _logger.error("what is left undelivered cannot be said: %s", error)
        return
    if any(depths.values()):
        counts = ", ".join(f"{depth} {topic}" for topic, depth in depths.items())
        _logger.error("messages are left undelivered: %s", counts)
