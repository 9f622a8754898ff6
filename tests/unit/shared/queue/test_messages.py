"""The envelope: what clients and the broker write to each other."""

from __future__ import annotations

import msgspec
import pytest

from shared.queue.messages import (
    Ack,
    Bury,
    DeadLetter,
    Entry,
    GetDead,
    GetState,
    Lease,
    Leased,
    Message,
    Put,
    Release,
    ReleaseAll,
    Reply,
    Request,
    Revive,
    SetState,
    Stats,
    TopicStats,
    WatchState,
    encoder,
    reply_decoder,
    request_decoder,
)

RAW = msgspec.Raw(b'{"a":[1,null]}')


@pytest.mark.parametrize(
    "request_",
    [
        Put("events", [Message("k", RAW)], {"key": RAW}),
        Lease(["results", "events"], 10, 60.0, 5.0),
        Ack([1, 2]),
        Release([1], 30.0),
        ReleaseAll(),
        Bury([1], "refused"),
        GetDead(7),
        Revive([1, 2]),
        SetState({"key": RAW}, durable=True),
        GetState("worker/"),
        WatchState("cluster", 17, 2.5),
        Stats(),
    ],
    ids=lambda request: type(request).__name__,
)
def test_every_request_survives_the_wire(request_: Request) -> None:
    assert request_decoder.decode(encoder.encode(request_)) == request_


def test_every_reply_survives_the_wire() -> None:
    reply = Reply(
        error="full",
        kind="full",
        leased=[Leased(1, "events", "k", RAW, 0.5)],
        dead=[DeadLetter(1, "events", "k", RAW, "refused", 0.5)],
        revived=1,
        entries=[Entry("key", RAW, 7, 1.0)],
        version=7,
        stats={"events": TopicStats(1, 2, 3.0, 4, 5)},
    )
    assert reply_decoder.decode(encoder.encode(reply)) == reply
    assert encoder.encode(Reply()) == b"{}"


@pytest.mark.parametrize(
    "garbage",
    [b"", b"null", b"[]", b"{}", b'{"type":"fly"}', b'{"type":"ack","ids":["1"]}', b'{"type":"put","topic":"events"}'],
)
def test_what_is_no_request_is_not_taken_for_one(garbage: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        request_decoder.decode(garbage)
