"""Central's API key: read anew from its file, and taken out of whatever somebody else says about it."""

from __future__ import annotations

import html
import json
import re
from pathlib import Path
from urllib.parse import quote

MASK = "***"

REMEMBERED = 4
"""Keys that are still masked: the present one and those it replaced. Central may quote a revoked one."""

_SHORTEST = 8
"""Characters of a key that is masked: a shorter one is no secret, and part of other words."""


class ApiKey:
    """Central's API key, read anew each time when it lives in a file so that it rotates without downtime.

    Never shows itself: ``repr`` and ``str`` are masked.
    """

    def __init__(self, value: str = "", path: Path | None = None) -> None:
        self._value = value
        self._path = path
        self._known: tuple[str, ...] = ()
        self._pattern: re.Pattern[str] | None = None
        self.changes = 0
        """How often another key was found in the file."""
        self.longest = 0
        """Characters of the longest form in which a known key is looked for."""
        self._remember(value)

    @property
    def rotates(self) -> bool:
        """Whether it lives in a file, in which somebody may put another one."""
        return self._path is not None

    def current(self) -> str:
        """The key to use now. A file that vanished or is empty for a moment leaves the last good key."""
        if self._path is not None:
            try:
                text = self._path.read_text(encoding="utf-8").strip()
            except (OSError, UnicodeDecodeError):
                text = ""
            if text and text != self._value and not key_problem(text):
                self._value = text
                self.changes += 1
                self._remember(text)
        return self._value

    def redacted(self, text: str) -> str:
        """``text`` without this key, nor those before it, as they are or as JSON, HTML or a URL would write them."""
        return self._pattern.sub(MASK, text) if self._pattern is not None else text

    def _remember(self, value: str) -> None:
        if len(value) < _SHORTEST:
            return
        self._known = (value, *(key for key in self._known if key != value))[:REMEMBERED]
        forms = sorted({form for key in self._known for form in _forms(key)}, key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, forms)))
        self.longest = len(forms[0])

    def __repr__(self) -> str:
        return f"ApiKey({MASK})"


def key_problem(text: str) -> str | None:
    """Why ``text`` cannot be a bearer token (RFC 6750: visible ASCII), or None."""
    if not re.fullmatch(r"[!-~]+", text):
        return "a key of visible ASCII characters without spaces"
    return None


def _forms(key: str) -> set[str]:
    """The texts by which ``key`` may be quoted; a log line is JSON around what may be JSON itself."""
    once = {key, quote(key, safe=""), html.escape(key), key.replace("/", "\\/")}
    twice = once | {json.dumps(form)[1:-1] for form in once}
    return twice | {json.dumps(form)[1:-1] for form in twice}
