"""Prices that the heartbeat worker asked for and keeps in the queue: Central's, and a cloud's own."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from shared.basics.errors import AgentError
from shared.process.state import PRICES
from shared.queue.client import Queue, value
from workers.metrics.pricing.quotes import NO_QUOTES, Quotes, parse_quotes

CENTRAL, LIVE = "central", "live"

GOOD_FOR = 7 * 86_400.0
"""Seconds for which an answer is used without being renewed: a week in which Central cannot be reached, or has stopped
to offer prices, after which the lists are nearer to the truth."""

_logger = logging.getLogger(__name__)


class KeptQuotes:
    """Reads the state at each sample, and takes apart only what changed."""

    def __init__(self, queue: Queue) -> None:
        self._queue = queue
        self._seen: dict[str, int] = {}
        self._quotes: dict[str, tuple[float, Quotes]] = {}

    def current(self, now: float) -> Mapping[str, Quotes]:
        """By whose they are; ``now`` in seconds of Unix time. Where the queue does not answer, the last ones."""
        try:
            entries = self._queue.get_state(PRICES)
        except AgentError as error:
            _logger.debug("the kept prices are not read again: %s", error)
            entries = {}
        for key, entry in entries.items():
            if self._seen.get(key) != entry.version:
                self._seen[key] = entry.version
                self._quotes[key.removeprefix(PRICES)] = _read(value(entry))
        return {whose: quotes for whose, (until, quotes) in self._quotes.items() if now < until}


def _read(record: Any) -> tuple[float, Quotes]:
    """Until when to use it, and the prices; nothing of a record that is not of our making."""
    try:
        quotes = parse_quotes({kind: record[kind] for kind in ("on_demand", "spot")})
        return float(record["asked_at"]) + GOOD_FOR, quotes
    except (KeyError, TypeError, ValueError) as error:
        _logger.warning("kept prices cannot be used: %s", error)
        return 0.0, NO_QUOTES
