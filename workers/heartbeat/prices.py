"""Keeps what others know of prices: Central, and where the owner wants it, a cloud's own list.

The metrics worker says which types the cluster has, and finds the answers in the queue's durable state: it prices by
them from its next sample on, also after a restart and while nobody can be reached.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from itertools import islice
from typing import Any

from shared.basics.errors import AgentError, TemporaryError
from shared.basics.timing import Deadline, jittered
from shared.central.client import CentralClient
from shared.central.verdicts import NotOffered, Unchanged
from shared.clouds.azure import SIZES_AT_ONCE, AzureRetail
from shared.process.lifecycle import Process
from shared.process.state import PRICES, PRICES_WANTED
from shared.queue.client import value
from shared.schemas.prices import MAX_TYPES, read_prices

CENTRAL, LIVE = "central", "live"
"""Whose answers are kept, each under its own key."""

DAY = 86_400.0
"""Seconds after which an answer is asked for again, and after which a Central without such a call is tried again."""

_LOOK = 30.0
"""Seconds between two looks whether there are new types."""

_FIRST_LOOK = 2.0
"""And until it is known what there is: from then on samples are as right as they can be."""

_AFTER_SUCCESS = 120.0
"""However many types are new, one after the other."""

_AFTER_FAILURE = 900.0

_AZURE_SECONDS = 120.0
"""For all questions together; a last one of three pages may take another minute."""

_logger = logging.getLogger(__name__)

Record = Mapping[str, Any]
"""An answer as it is kept: ``asked_at`` (seconds of Unix time), ``asked_for``, ``etag``, ``on_demand`` and ``spot``."""


class PriceKeeper:
    """Asks once a day, and when a type is new. Whatever fails is tried again later: prices are worth no alarm."""

    def __init__(self, process: Process, client: CentralClient, azure: AzureRetail | None = None) -> None:
        self._process = process
        self._client = client
        self._azure = azure
        self._pauses: dict[str, Deadline] = {}

    def look(self) -> float:
        """Ask whoever is due; the seconds until the next look."""
        wanted = self._wanted()
        self._keep_up(CENTRAL, _first(name.rpartition("/")[2] for name in wanted), self._ask_central)
        if self._azure is not None:
            of_azure = (name.partition("/")[2] for name in wanted if name.startswith("azure/"))
            self._keep_up(LIVE, _first(of_azure), self._ask_azure)
        return jittered(_LOOK if wanted else _FIRST_LOOK)

    def _keep_up(self, whose: str, names: list[str], ask: Callable[[list[str], Record], Record]) -> None:
        """Renew the answer about ``names`` if it is due."""
        pause = self._pauses.get(whose)
        if not names or self._process.stop.is_set() or (pause is not None and not pause.expired):
            return
        kept, now = self._kept(whose), self._process.clock.now().timestamp()
        if not is_due(kept, names, now):
            return
        if not is_due(kept, [], now):
            names = _first([*names, *kept["asked_for"]])  # Types that come and go are not new each time.
        try:
            answer = ask(names, kept)
        except NotOffered:
            _logger.info("Central has no prices, going on without")
            self._pause(whose, DAY)
        except AgentError as error:
            _logger.warning("%s's prices are not renewed, the last ones stay: %s", whose, error)
            self._pause(whose, _AFTER_FAILURE)
        else:
            record = {"asked_at": now, "asked_for": names, **answer}
            self._process.queue.set_state({PRICES + whose: record}, durable=True)
            self._pause(whose, _AFTER_SUCCESS)

    def _ask_central(self, types: list[str], kept: Record) -> Record:
        etag = kept.get("etag", "") if kept.get("asked_for") == types else ""
        try:
            body, etag = self._client.prices(types, etag)
        except Unchanged as error:
            if not etag:
                raise TemporaryError(f"{error}, though no ETag was sent") from error
            return {key: kept[key] for key in ("etag", "on_demand", "spot")}
        finally:
            self._client.close()  # The next question is a day away.
        try:
            prices, left_out = read_prices(body)
        except ValueError as error:
            raise TemporaryError(f"Central's prices cannot be read ({error})") from error
        if left_out:
            _logger.warning("of Central's prices %d are used; %d are malformed or too many", len(prices), left_out)
        quotes: dict[str, dict[str, float]] = {"on_demand": {}, "spot": {}}
        for price in prices:
            name = price.instance_type if price.region is None else f"{price.region}/{price.instance_type}"
            quotes[price.capacity][name.lower()] = price.dollars_per_hour
        return {"etag": etag, **quotes}

    def _ask_azure(self, names: list[str], kept: Record) -> Record:
        assert self._azure is not None
        quotes: dict[str, dict[str, float]] = {"on_demand": {}, "spot": {}}
        deadline = Deadline.after(_AZURE_SECONDS, self._process.clock)
        for region in sorted({name.partition("/")[0] for name in names}):
            sizes = [name.partition("/")[2] for name in names if name.startswith(f"{region}/")]
            for first in range(0, len(sizes), SIZES_AT_ONCE):
                if deadline.expired or self._process.stop.is_set():
                    raise TemporaryError("the answers come too slowly")
                for size, retail in self._azure.prices(region, sizes[first : first + SIZES_AT_ONCE]).items():
                    for kind, dollars in (("on_demand", retail.on_demand), ("spot", retail.spot)):
                        if dollars is not None:
                            quotes[kind][f"{region}/{size}".lower()] = dollars
        return {"etag": "", **quotes}

    def _pause(self, whose: str, seconds: float) -> None:
        self._pauses[whose] = Deadline.after(jittered(seconds), self._process.clock)

    def _wanted(self) -> list[str]:
        """``provider/region/type`` of the cluster's machines, as the metrics worker says; empty before it does."""
        entry = self._process.queue.get_state(PRICES_WANTED).get(PRICES_WANTED)
        names: list[str] = (value(entry) if entry is not None else None) or []
        return names

    def _kept(self, whose: str) -> Record:
        entry = self._process.queue.get_state(PRICES + whose).get(PRICES + whose)
        record: Record = (value(entry) if entry is not None else None) or {}
        return record


def _first(names: Iterable[str]) -> list[str]:
    """The first different ones that one question may hold, in an order of their own."""
    return sorted(islice(dict.fromkeys(names), MAX_TYPES))


def is_due(kept: Record, names: list[str], now: float) -> bool:
    """Whether to ask again: never asked, a day ago (or, by a clock that was set back, in the future), or a new name."""
    age = now - kept.get("asked_at", 0.0)
    return not 0 <= age < DAY or not set(names) <= set(kept.get("asked_for", ()))
