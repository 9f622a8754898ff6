"""Where Central's name leads to. A kept connection would go on to where it once led, for ever if that still answers."""

from __future__ import annotations

import socket
from urllib.parse import urlsplit

from requests.utils import get_environ_proxies, select_proxy

from shared.basics.timing import Clock

LOOK_SECONDS = 30.0
"""How often the name is looked up."""

SETTLE_SECONDS = 300.0
"""How soon after one move another is believed: names of large services lead elsewhere all the time."""


class Whereabouts:
    """The addresses behind the name in ``url``. With a proxy it is the proxy that looks it up."""

    def __init__(self, url: str, clock: Clock) -> None:
        parts = urlsplit(url)
        self._host, self._port = parts.hostname or "", parts.port
        self._by_proxy = select_proxy(url, get_environ_proxies(url)) is not None
        self._clock = clock
        self._next_look = clock.monotonic()
        self._known: frozenset[str] = frozenset()

    def moved(self) -> bool:
        """Whether the name leads to none of the addresses that it led to at first, or when it last moved; said once."""
        if self._by_proxy or self._clock.monotonic() < self._next_look:
            return False
        self._next_look = self._clock.monotonic() + LOOK_SECONDS
        try:
            found = socket.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM)
        except OSError:
            return False  # A connection that works needs no name.
        addresses = frozenset(str(address[0]) for *_, address in found)
        if self._known & addresses:
            return False
        known, self._known = self._known, addresses
        if not known:
            return False
        self._next_look = self._clock.monotonic() + SETTLE_SECONDS
        return True
