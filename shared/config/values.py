"""How values of settings are written and read: one parser for each kind, and a field that says which is its."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import MISSING, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

Parse = Callable[[str], Any]

_LABEL_NAME = re.compile(r"([a-z0-9.-]{1,253}/)?[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?")


class Malformed(ValueError):
    """A value does not parse; the message says what was expected.

    ``shown`` is what may be quoted of the value, where that is not all of it.
    """

    def __init__(self, expected: str, shown: str | None = None) -> None:
        super().__init__(expected)
        self.shown = shown


def number(kind: type[float] | type[int], low: float, high: float) -> Parse:
    noun = "a whole number" if kind is int else "a number"
    expected = f"{noun} from {low:g} to {high:g}"

    def parse(text: str) -> float:
        try:
            value = kind(text)
        except ValueError:
            raise Malformed(expected) from None
        if not low <= value <= high:
            raise Malformed(expected)
        return value

    return parse


def existing_file(text: str) -> str:
    """A file that is there, or several of which one is, as kubectl takes them."""
    if not any(Path(each).expanduser().is_file() for each in text.split(os.pathsep)):
        raise Malformed("a file that is there")
    return text


def one_of(*words: str) -> Parse:
    def parse(text: str) -> str:
        for word in words:
            if text.lower() == word.lower():
                return word
        raise Malformed("one of " + ", ".join(words))

    return parse


def parse_flag(text: str) -> bool:
    """``true`` and ``false`` in the spellings people use."""
    if text.strip().lower() in ("true", "1", "yes", "on"):
        return True
    if text.strip().lower() in ("false", "0", "no", "off", ""):
        return False
    raise Malformed("true or false")


def parse_url(text: str) -> str:
    expected = "a URL such as https://central.example.com"
    if "@" in text:
        shown = re.sub(r"^(https?://)?.*@", r"\1***@", text, flags=re.DOTALL)
        raise Malformed("a URL without a user or password in it; the key goes into CENTRAL_API_KEY", shown)
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as error:
        raise Malformed(f"{expected} ({error})") from None
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0 or parts.query or parts.fragment:
        raise Malformed(expected)
    return text.rstrip("/")


def parse_run_dir(text: str) -> Path:
    path = Path(text).absolute()
    if len(str(path)) > _LONGEST_RUN_DIR:
        raise Malformed(f"a path of at most {_LONGEST_RUN_DIR} characters: sockets live in it")
    return path


def parse_identifier(text: str) -> str:
    if not re.fullmatch(r"[!-~]{1,253}", text):
        raise Malformed("1 to 253 visible ASCII characters without spaces, such as prod-eu-1")
    return text


def names_of(known: Collection[str]) -> Parse:
    def parse(text: str) -> frozenset[str]:
        found = frozenset(parse_words(text))
        if unknown := found - set(known):
            expected = f"a comma-separated list of {', '.join(known)}"
            raise Malformed(f"{expected}; unknown: {', '.join(sorted(unknown))}")
        return found

    return parse


def parse_words(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(",") if word.strip())


def parse_label_names(text: str) -> tuple[str, ...]:
    """Up to five names of labels: each makes the records of pods that differ in it different records."""
    names = tuple(dict.fromkeys(parse_words(text)))
    if len(names) > 5 or not all(_LABEL_NAME.fullmatch(name) for name in names):
        raise Malformed("at most five comma-separated names of pod labels, such as team,app.kubernetes.io/part-of")
    return names


def parse_label(text: str) -> tuple[str, str]:
    key, separator, value = text.partition("=")
    if not (key and separator and value):
        raise Malformed("key=value")
    return key, value


def setting(
    variable: str, parse: Callable[[str], Any], doc: str, default: Any = MISSING, instead: Sequence[str] = ()
) -> Any:
    """Declare a frozen dataclass field that ``load`` fills from ``variable``, or else the first set one ``instead``."""
    metadata = {"variable": variable, "parse": parse, "doc": doc, "instead": instead}
    if default is MISSING:
        return field(metadata=metadata)
    return field(default=default, metadata=metadata)


_LONGEST_RUN_DIR = 80
"""AF_UNIX addresses end at 107 bytes, and supervisord appends its pid to a socket's name for a moment."""

SECONDS = number(float, 0.1, 86_400)
