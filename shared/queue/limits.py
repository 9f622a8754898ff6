"""Every bound of the queue, in bytes of what is written and sent, and who gives way when room runs out.

What is put must come out again: each bound is taken where something is written, on its encoded form, and small
enough for the frame it is read by. No text is cheap by its length: JSON writes U+0001 as six bytes.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from shared.queue.errors import InvalidRequest
from shared.queue.messages import EVENTS, METRICS, NOTICES, RESULTS, TOPICS, encoder

MAX_MESSAGE = 2 * 1024 * 1024
"""Bytes of one body: what was put in a frame must fit into one when it is handed out, with all that is around it."""

MAX_KEY = 4 * 1024
"""Bytes of a message's or a record's key, as JSON."""

MAX_RECORD = 1024 * 1024
"""Bytes of one value of the retained state, as JSON."""

PAGE_BYTES = 1024 * 1024
"""State is read in pages of no more than this, but always one record."""

LEASE_BYTES = 1024 * 1024
"""A lease hands out no more than this at a time, but always one message."""

AROUND = 128
"""Bytes of an answer around the key and the value of one record or message, at most."""

BURIED_KEPT = 100
BURIED_BYTES = 8 * 1024 * 1024
"""Dead letters kept for a person to look at, the newest: their number, and bytes of their bodies and reasons."""

MAX_REASON = 4 * 1024
"""Characters kept of why a message was buried."""

RESERVE = 8
"""One part in so many of the durable state's room is for what is written with a result: claims do not fill it."""

DROPPED_FOR = {
    METRICS: (METRICS,),
    EVENTS: (METRICS, EVENTS),
    NOTICES: (METRICS, EVENTS, NOTICES),
    RESULTS: (METRICS, EVENTS, NOTICES),
}
"""Whose oldest messages make room for a topic, in order. Results are never dropped."""


@dataclass(frozen=True)
class Limits:
    """Bounds of what waits and what is retained."""

    total_bytes: int = 48 * 1024 * 1024
    """Of the messages' bodies, all topics."""
    messages: dict[str, int] = field(
        default_factory=lambda: {RESULTS: 10_000, NOTICES: 5_000, EVENTS: 50_000, METRICS: 1_440}
    )
    state_bytes: int = 32 * 1024 * 1024
    """Of the durable state, as it is read."""
    passing_bytes: int = 8 * 1024 * 1024
    """Of the state that dies with the broker: every worker's beat and telemetry."""


def check_topic(topic: str) -> None:
    """Raises InvalidRequest for a topic there is not."""
    if topic not in TOPICS:
        raise InvalidRequest(f"unknown topic {topic!r}; expected one of {', '.join(TOPICS)}")


def check_key(key: str) -> None:
    """Raises InvalidRequest for a key that is larger than a key may be."""
    size = len(encoder.encode(key))
    if size > MAX_KEY:
        raise InvalidRequest(f"the key {key[:40]!r}… has {size} bytes as JSON; at most {MAX_KEY} are taken")


def check_record(key: str, value: bytes) -> None:
    """Raises InvalidRequest for a record that a page could not hold."""
    check_key(key)
    if len(value) > MAX_RECORD:
        raise InvalidRequest(f"the record {key[:80]!r} has {len(value)} bytes; at most {MAX_RECORD} are taken")


def record_bytes(key: str, value: bytes) -> int:
    """Bytes one record takes in a page."""
    return len(encoder.encode(key)) + len(value) + AROUND
