"""Length-prefixed JSON frames, without any I/O: bytes in, messages out.

A frame is four bytes of length, big-endian, then that many bytes of JSON.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from shared.basics.errors import PermanentError

MAX_FRAME = 4 * 1024 * 1024
"""Bytes of JSON in one frame."""

RECEIVE = 64 * 1024
"""Bytes to ask a socket for: from 128 KiB on, malloc maps and unmaps the buffer at every call."""

_LENGTH = struct.Struct(">I")


class FrameError(PermanentError):
    """The bytes are not a frame of ours; the connection cannot be used any further."""


def pack(payload: bytes) -> bytes:
    """``payload`` as one frame.

    Raises:
        FrameError: when it is larger than ``MAX_FRAME``.
    """
    if len(payload) > MAX_FRAME:
        raise FrameError(f"a message of {len(payload)} bytes is larger than the {MAX_FRAME} a frame may hold")
    return _LENGTH.pack(len(payload)) + payload


class FrameReader:
    """Cuts a stream of bytes, fed in any pieces, into frames."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    @property
    def partial(self) -> bool:
        """Whether part of a frame is waiting for the rest."""
        return bool(self._buffer)

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield the payload of each frame that ``data`` completes.

        Raises:
            FrameError: when a length cannot be right; garbage on the socket looks like this.
        """
        self._buffer += data
        while len(self._buffer) >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(self._buffer)
            if length > MAX_FRAME:
                raise FrameError(f"a frame of {length} bytes is announced, at most {MAX_FRAME} are allowed")
            end = _LENGTH.size + length
            if len(self._buffer) < end:
                return
            payload = bytes(self._buffer[_LENGTH.size : end])
            del self._buffer[:end]
            yield payload
