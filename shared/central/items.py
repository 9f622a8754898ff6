"""The items of a JSON list found without building them, so that what is sent decides nothing about our memory.

An empty object of two bytes becomes seventy in Python. Here the text is cut where its items end; each is decoded by
itself, by whoever takes it in, and the one before it is gone by then.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

MAX_ITEMS = 1000
"""Tasks that are handed on at a time; as many claimed ones may wait. The rest is offered again."""

MAX_STEPS = 500_000
"""Quotes, backslashes, brackets and braces that are looked at: a quarter of a second of a whole CPU. A task of a usual
size has about fifty."""

_MARK = re.compile(rb'["\[\]{}]')
_IN_TEXT = re.compile(rb'["\\]')
_BLANK = re.compile(rb"[ \t\r\n]*")
_WORD = re.compile(rb"[^ \t\r\n,\[\]{}:\"]+")
_ID = b'"task_id"'


class Malformed(ValueError):
    """The text is no JSON, or not of the wanted shape."""


@dataclass
class Offered:
    """Tasks that came together, as they were written and not validated."""

    tasks: list[bytes] = field(default_factory=list)
    junk: int = 0
    """Items that are no task: no object, or without a ``task_id``."""
    more: bool = False
    """Whether there may be others that were not read."""


def offered(text: bytes, cut: bool = False) -> Offered:
    """The items of ``text``, a list or an object with a list ``tasks``; of one that was ``cut``, those that are whole.

    Raises:
        Malformed: it is neither, or its brackets do not match.
    """
    scanner = _Scanner(text)
    found = Offered()
    try:
        at = scanner.list_of_tasks()
        if at is None:
            raise Malformed("not a list")
        for begin, end in scanner.elements(at):
            if text[begin : begin + 1] != b"{" or text.find(_ID, begin, end) < 0:
                found.junk += 1
            elif len(found.tasks) == MAX_ITEMS:
                found.more = True
                break
            else:
                found.tasks.append(text[begin:end])
    except _OutOfSteps:
        found.more = True
    except _TextEnds:
        if not cut:
            raise Malformed("it ends in the middle") from None
        found.more = True
    return found


def members(text: bytes, *wanted: str) -> dict[str, bytes]:
    """The values of the ``wanted`` members of the object ``text``, as they are written; the last of each name counts.

    Raises:
        Malformed: it is no object, or too involved to be looked through.
    """
    scanner = _Scanner(text)
    try:
        begins = {name: begin for name, begin in scanner.members(scanner.skip(0)) if name in wanted}
        return {name: text[begin : scanner.end(begin)] for name, begin in begins.items()}
    except (_OutOfSteps, _TextEnds):
        raise Malformed("it does not end, or not soon enough") from None


class _OutOfSteps(Exception):
    pass


class _TextEnds(Exception):
    pass


class _Scanner:
    """Finds where values end. What is between the brackets it takes on trust: whoever decodes an item will see."""

    def __init__(self, text: bytes) -> None:
        self._text = text
        self._steps = MAX_STEPS

    def list_of_tasks(self) -> int | None:
        """Where the list begins; None when there is none."""
        at = self.skip(3 if self._text.startswith(b"\xef\xbb\xbf") else 0)
        if self._text[at : at + 1] == b"{":
            at = next((begin for name, begin in self.members(at) if name == "tasks"), len(self._text))
        return at if self._text[at : at + 1] == b"[" else None

    def elements(self, at: int) -> Iterator[tuple[int, int]]:
        """Beginning and end of each element of the list at ``at``."""
        at = self.skip(at + 1)
        if self._at(at) == b"]":
            return
        while True:
            end = self.end(at)
            yield at, end
            at = self.skip(end)
            if self._at(at) == b"]":
                return
            at = self._past(at, b",")

    def members(self, at: int) -> Iterator[tuple[str, int]]:
        """Name and beginning of the value of each member of the object at ``at``.

        Where a value ends is not looked for before the next member is wanted.
        """
        if self._at(at) != b"{":
            raise Malformed("not an object")
        at = self.skip(at + 1)
        if self._at(at) == b"}":
            return
        while True:
            end = self.end(at)
            begin = self._past(self.skip(end), b":")
            yield self._name(at, end), begin
            at = self.skip(self.end(begin))
            if self._at(at) == b"}":
                return
            at = self._past(at, b",")

    def skip(self, at: int) -> int:
        """The first place from ``at`` on that is not blank."""
        blank = _BLANK.match(self._text, at)
        return blank.end() if blank else at

    def _at(self, at: int) -> bytes:
        if at >= len(self._text):
            raise _TextEnds
        return self._text[at : at + 1]

    def _past(self, at: int, mark: bytes) -> int:
        if self._at(at) != mark:
            raise Malformed(f"no {mark.decode()} where one belongs")
        return self.skip(at + 1)

    def _name(self, begin: int, end: int) -> str:
        try:
            name = json.loads(self._text[begin:end])
        except ValueError:
            name = None
        if not isinstance(name, str):
            raise Malformed("a member without a name")
        return name

    def end(self, at: int) -> int:
        """Where the value that begins at ``at`` ends."""
        first = self._at(at)
        if first == b'"':
            return self._end_of_text(at)
        if first not in (b"[", b"{"):
            word = _WORD.match(self._text, at)
            if word is None:
                raise Malformed("no value where one belongs")
            if word.end() == len(self._text):
                raise _TextEnds
            return word.end()
        depth = 0
        while True:
            mark = self._next(_MARK, at)
            at = mark.end()
            if mark[0] == b'"':
                at = self._end_of_text(at - 1)
            elif mark[0] in (b"[", b"{"):
                depth += 1
            else:
                depth -= 1
                if not depth:
                    return at

    def _end_of_text(self, at: int) -> int:
        at += 1
        while True:
            mark = self._next(_IN_TEXT, at)
            if mark[0] == b'"':
                return mark.end()
            at = mark.end() + 1

    def _next(self, pattern: re.Pattern[bytes], at: int) -> re.Match[bytes]:
        self._steps -= 1
        if self._steps < 0:
            raise _OutOfSteps
        mark = pattern.search(self._text, at)
        if mark is None:
            raise _TextEnds
        return mark
