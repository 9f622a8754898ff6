"""Frames: whatever pieces the bytes come in, the same messages come out."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.queue.frames import MAX_FRAME, FrameError, FrameReader, pack


def fed(reader: FrameReader, pieces: list[bytes]) -> list[bytes]:
    return [payload for piece in pieces for payload in reader.feed(piece)]


@given(st.lists(st.binary(max_size=300), max_size=8), st.lists(st.integers(0, 2600)))
def test_any_split_of_the_stream_gives_the_same_messages(payloads: list[bytes], cuts: list[int]) -> None:
    stream = b"".join(pack(payload) for payload in payloads)
    ends = sorted({0, len(stream), *(cut for cut in cuts if cut < len(stream))})
    pieces = [stream[start:end] for start, end in itertools.pairwise(ends)]
    reader = FrameReader()
    assert fed(reader, pieces) == payloads
    assert not reader.partial


@given(st.binary(min_size=1, max_size=50), st.integers(1, 53))
def test_a_frame_that_is_not_complete_is_awaited(payload: bytes, cut: int) -> None:
    frame = pack(payload)
    reader = FrameReader()
    assert fed(reader, [frame[: min(cut, len(frame) - 1)]]) == []
    assert reader.partial
    assert fed(reader, [frame[min(cut, len(frame) - 1) :]]) == [payload]


def test_a_frame_is_its_length_and_its_bytes() -> None:
    assert pack(b"{}") == b"\x00\x00\x00\x02{}"
    assert pack(b"") == b"\x00\x00\x00\x00"


def test_the_largest_message_passes_and_one_byte_more_does_not() -> None:
    largest = b"x" * MAX_FRAME
    assert fed(FrameReader(), [pack(largest)]) == [largest]
    with pytest.raises(FrameError, match="larger than"):
        pack(largest + b"x")


@pytest.mark.parametrize(
    "garbage", [b"GET / HTTP/1.1\r\n\r\n", b"\xff\xff\xff\xff", (MAX_FRAME + 1).to_bytes(4, "big")]
)
def test_a_length_that_cannot_be_right_is_garbage(garbage: bytes) -> None:
    with pytest.raises(FrameError, match="is announced"):
        fed(FrameReader(), [garbage])


def test_frames_before_the_garbage_are_still_handed_out() -> None:
    payloads = FrameReader().feed(pack(b"one") + b"\xff\xff\xff\xff")
    assert next(payloads) == b"one"
    with pytest.raises(FrameError):
        next(payloads)
