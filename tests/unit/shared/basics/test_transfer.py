"""Bodies are bounded in bytes and in time."""

from __future__ import annotations

import gzip
import io

import pytest
from urllib3.response import HTTPResponse

from shared.basics.errors import TemporaryError
from shared.basics.timing import Deadline
from shared.basics.transfer import read_body
from tests.unit.conftest import FakeClock


def response(body: io.RawIOBase | io.BytesIO, encoding: str | None = None) -> HTTPResponse:
    headers = {"content-encoding": encoding} if encoding else {}
    return HTTPResponse(body, headers=headers, status=200, preload_content=False)


class Dripping(io.RawIOBase):
    """Gives a byte at a time; each takes a second."""

    def __init__(self, clock: FakeClock, size: int) -> None:
        self._clock = clock
        self._left = size

    def readable(self) -> bool:
        return True

    def read1(self, size: int = -1) -> bytes:
        return self.read(1)

    def read(self, size: int = -1) -> bytes:
        if not self._left:
            return b""
        self._left -= 1
        self._clock.advance(1)
        return b"x"


def test_a_body_is_read_to_its_end(clock: FakeClock) -> None:
    body = bytes(range(256)) * 4096
    assert read_body(response(io.BytesIO(body)), len(body), Deadline.after(30, clock)) == body


def test_one_byte_too_many_is_too_many(clock: FakeClock) -> None:
    with pytest.raises(TemporaryError, match="larger than 99 bytes"):
        read_body(response(io.BytesIO(b"x" * 100)), 99, Deadline.after(30, clock))


def test_a_compressed_body_counts_by_what_it_becomes(clock: FakeClock) -> None:
    bomb = gzip.compress(b"x" * 10_000_000)
    assert len(bomb) < 20_000
    with pytest.raises(TemporaryError, match="larger than 1000000 bytes"):
        read_body(response(io.BytesIO(bomb), "gzip"), 1_000_000, Deadline.after(30, clock))
    assert read_body(response(io.BytesIO(gzip.compress(b"small")), "gzip"), 100, Deadline.after(30, clock)) == b"small"


def test_a_body_that_drips_is_given_up(clock: FakeClock) -> None:
    assert read_body(response(Dripping(clock, 29)), 1000, Deadline.after(30, clock)) == b"x" * 29
    with pytest.raises(TemporaryError, match="drips in too slowly"):
        read_body(response(Dripping(clock, 31)), 1000, Deadline.after(30, clock))
