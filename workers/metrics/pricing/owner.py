"""The owner's own prices, from PRICES_FILE: a mounted ConfigMap key that is read again when it changes."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from workers.metrics.pricing.quotes import NO_QUOTES, ON_DEMAND, SPOT, Quotes, parse_quotes, price_in

_RATES = "rates"

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class OwnRates:
    """What the owner's machines cost, in dollars an hour for a vCPU, a GiB and an accelerator."""

    vcpu: float = 0.0
    gib: float = 0.0
    gpu: float = 0.0


@dataclass(frozen=True)
class Owner:
    """All that the owner says of prices; no rates unless given."""

    quotes: Quotes
    rates: OwnRates | None = None


SAYS_NOTHING = Owner(NO_QUOTES)


class OwnerFile:
    """What the file at ``path`` says now; a broken one leaves the last good prices."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._seen: tuple[int, int] | None = None
        self._owner = SAYS_NOTHING

    def current(self) -> Owner:
        """The prices to use now."""
        if self._path is None:
            return SAYS_NOTHING
        try:
            status = self._path.stat()
            seen = (status.st_mtime_ns, status.st_ino)
            if seen != self._seen:
                self._owner = parse_owner(json.loads(self._path.read_text(encoding="utf-8")))
                self._seen = seen
                _logger.info("read prices from %s", self._path)
        except FileNotFoundError:
            self._owner, self._seen = SAYS_NOTHING, None
        except (OSError, ValueError, TypeError) as error:
            _logger.warning("PRICES_FILE %s cannot be used, the last good prices stay: %s", self._path, error)
        return self._owner


def parse_owner(document: Any) -> Owner:
    """What a document says: ``on_demand`` and ``spot`` as of parse_quotes, ``rates`` as of OwnRates; all may be absent.

    Raises:
        ValueError: it has another form; the message names the entry.
    """
    if not isinstance(document, dict) or set(document) - {ON_DEMAND, SPOT, _RATES}:
        raise ValueError('expected {"on_demand": {type: dollars}, "spot": {type: dollars}, "rates": {"vcpu": dollars}}')
    rest = dict(document)
    rates = rest.pop(_RATES, None)
    return Owner(parse_quotes(rest), None if rates is None else _parse_rates(rates))


def _parse_rates(rates: Any) -> OwnRates:
    known = [field.name for field in fields(OwnRates)]
    if not isinstance(rates, dict) or not rates or set(rates) - set(known):
        raise ValueError(f"{_RATES} must map some of {', '.join(known)} to dollars an hour")
    return OwnRates(**{name: price_in(dollars, f"{_RATES} {name!r}") for name, dollars in rates.items()})
