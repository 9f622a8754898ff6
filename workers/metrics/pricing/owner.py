"""The owner's own prices, from PRICES_FILE: a mounted ConfigMap key that is read again when it changes."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workers.metrics.capacity import Identity

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Overrides:
    """The owner's prices in dollars: ``instance type`` or ``region/instance type``, lower-cased, to what it costs."""

    on_demand: Mapping[str, float]
    spot: Mapping[str, float]

    def find(self, node: Identity, spot: bool) -> float | None:
        """The price for exactly this kind of capacity, the region's first."""
        prices = self.spot if spot else self.on_demand
        name = node.instance_type.lower()
        regional = prices.get(f"{node.region.lower()}/{name}")
        return regional if regional is not None else prices.get(name)


NO_OVERRIDES = Overrides({}, {})


class OverrideFile:
    """The owner's prices in a file, read again when it changes; a broken one leaves the last good prices."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._seen: tuple[int, int] | None = None
        self._overrides = NO_OVERRIDES

    def current(self) -> Overrides:
        """The prices to use now."""
        if self._path is None:
            return NO_OVERRIDES
        try:
            status = self._path.stat()
            seen = (status.st_mtime_ns, status.st_ino)
            if seen != self._seen:
                self._overrides = parse_overrides(json.loads(self._path.read_text(encoding="utf-8")))
                self._seen = seen
                _logger.info("read prices from %s", self._path)
        except FileNotFoundError:
            self._overrides, self._seen = NO_OVERRIDES, None
        except (OSError, ValueError, TypeError) as error:
            _logger.warning("PRICES_FILE %s cannot be used, the last good prices stay: %s", self._path, error)
        return self._overrides


def parse_overrides(document: Any) -> Overrides:
    """Prices from ``{"on_demand": {"m5.large": 0.1, "eu-west-1/m5.large": 0.11}, "spot": {...}}``.

    Raises:
        ValueError: it has another form; the message names the entry.
    """
    if not isinstance(document, dict) or set(document) - {"on_demand", "spot"}:
        raise ValueError('expected {"on_demand": {type: dollars}, "spot": {type: dollars}}')
    parsed: dict[str, dict[str, float]] = {"on_demand": {}, "spot": {}}
    for kind, prices in document.items():
        if not isinstance(prices, dict):
            raise ValueError(f"{kind} must map instance types to dollars an hour")
        for name, dollars in prices.items():
            if isinstance(dollars, bool) or not isinstance(dollars, (int, float)) or not 0 <= dollars < 10_000:
                raise ValueError(f"{kind} {name!r}: {dollars!r} is no price in dollars an hour")
            parsed[kind][name.lower()] = float(dollars)
    return Overrides(parsed["on_demand"], parsed["spot"])
