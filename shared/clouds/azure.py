"""Azure's retail price API, which needs no account. Asked only where the owner wants it (LIVE_PRICES=azure).

learn.microsoft.com/rest/api/cost-management/retail-prices/azure-retail-prices: 100 rows a page, one for each meter of a
size: on demand, Spot and Low Priority, each for Linux and for Windows, and those of Cloud Services.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import requests
import urllib3

from shared.basics.errors import TemporaryError
from shared.basics.timing import SYSTEM_CLOCK, Clock, Deadline
from shared.basics.transfer import read_body

URL = "https://prices.azure.com/api/retail/prices"

SIZES_AT_ONCE = 10
"""Sizes named in one question: its URL stays below 2,000 characters, its answer on a page or two."""

_PAGES = 3
_MAX_BODY = 1024 * 1024
_TIMEOUT = (5.0, 15.0)
_CALL_SECONDS = 20.0

_NAME = re.compile(r"[A-Za-z0-9_-]{1,100}")
"""What may stand in a question: a label's value is somebody else's text."""


class Retail(NamedTuple):
    """Dollars an hour for Linux; None for what is not sold."""

    on_demand: float | None
    spot: float | None


class AzureRetail:
    """The API at ``url``. One connection for each question: they are a day apart."""

    def __init__(self, url: str = URL, clock: Clock = SYSTEM_CLOCK) -> None:
        self._url = url
        self._clock = clock

    def prices(self, region: str, sizes: Sequence[str]) -> dict[str, Retail]:
        """Of up to SIZES_AT_ONCE ``sizes`` in ``region`` those that are sold there; names as they were asked for.

        Raises:
            TemporaryError: not reachable, or no answer that can be used.
        """
        asked = {size.lower(): size for size in sizes[:SIZES_AT_ONCE] if _NAME.fullmatch(size)}
        if not asked or not _NAME.fullmatch(region):
            return {}
        rows: list[Any] = []
        with requests.Session() as session:
            address: str | None = self._url
            params: dict[str, str] | None = {"$filter": question(region.lower(), list(asked.values()))}
            for _ in range(_PAGES):
                page = self._page(session, address, params)
                rows += page["Items"]
                address, params = page.get("NextPageLink"), None
                if not isinstance(address, str) or not address.startswith(self._url):
                    break
        return {asked[size]: found for size, found in by_size(rows).items() if size in asked}

    def _page(self, session: requests.Session, address: str | None, params: Mapping[str, str] | None) -> dict[str, Any]:
        try:
            with session.get(
                address or self._url, params=params, timeout=_TIMEOUT, allow_redirects=False, stream=True
            ) as response:
                body = read_body(response.raw, _MAX_BODY, Deadline.after(_CALL_SECONDS, self._clock))
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
            raise TemporaryError(f"Azure's price list cannot be reached: {type(error).__name__}: {error}") from error
        if response.status_code != 200:
            raise TemporaryError(f"Azure's price list answered {response.status_code}")
        try:
            page = json.loads(body)
        except (ValueError, RecursionError) as error:
            raise TemporaryError("Azure's price list answered what is not JSON") from error
        if not isinstance(page, dict) or not isinstance(page.get("Items"), list):
            raise TemporaryError("Azure's price list answered without Items")
        return page


def question(region: str, sizes: Iterable[str]) -> str:
    """The filter of a question, in OData."""
    named = " or ".join(f"armSkuName eq '{size}'" for size in sizes)
    kind = "serviceName eq 'Virtual Machines' and priceType eq 'Consumption'"
    return f"{kind} and armRegionName eq '{region}' and ({named})"


def by_size(rows: Iterable[Any]) -> dict[str, Retail]:
    """Linux prices by size, lower-cased; rows of other meters, and those that cannot be read, are passed over."""
    found: dict[str, Retail] = {}
    for row in rows:
        if not isinstance(row, dict) or row.get("unitOfMeasure") != "1 Hour" or row.get("currencyCode") != "USD":
            continue
        product, meter, size, dollars = (
            row.get(key) for key in ("productName", "skuName", "armSkuName", "retailPrice")
        )
        if not (isinstance(product, str) and isinstance(meter, str) and isinstance(size, str)):
            continue
        if isinstance(dollars, bool) or not isinstance(dollars, (int, float)) or not 0 < dollars < 10_000:
            continue
        if "Windows" in product or "CloudServices" in product.replace(" ", "") or meter.endswith("Low Priority"):
            continue
        known = found.get(size.lower(), Retail(None, None))
        spot = meter.endswith("Spot")
        found[size.lower()] = known._replace(spot=float(dollars)) if spot else known._replace(on_demand=float(dollars))
    return found
