"""What clients ask the broker and what it answers: the queue's envelope, one struct per request."""

from __future__ import annotations

from typing import Annotated

import msgspec

RESULTS = "results"
NOTICES = "notices"
"""Events that cannot wait behind others: a node will be gone within seconds or minutes."""
EVENTS = "events"
METRICS = "metrics"
NULL = msgspec.Raw(b"null")
"""As a state value: remove the key."""

TOPICS = (RESULTS, NOTICES, EVENTS, METRICS)
"""In the order they are delivered; when room runs out they are dropped from the back, results never."""


Id = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
"""Of a message, as the spool can hold it: another one is refused before anything is done."""


class Message(msgspec.Struct, frozen=True):
    """Something to deliver. ``key`` makes a repeated put harmless while the message is still queued."""

    key: str
    body: msgspec.Raw


class Leased(msgspec.Struct, frozen=True):
    """A message handed out for delivery until it is acknowledged, released, or its lease runs out."""

    id: int
    topic: str
    key: str
    body: msgspec.Raw
    age: float
    """Seconds since it was put."""


class DeadLetter(msgspec.Struct, frozen=True):
    """A message that Central refused for good."""

    id: int
    topic: str
    key: str
    body: msgspec.Raw
    reason: str
    buried_at: float
    """Epoch seconds."""


class Entry(msgspec.Struct, frozen=True):
    """A retained value. ``version`` grows with every change of any key."""

    key: str
    value: msgspec.Raw
    version: int
    age: float
    """Seconds since it was set."""


class Put(msgspec.Struct, frozen=True, tag="put"):
    """Store messages and, in the same transaction, durable state (null removes a key)."""

    topic: str
    messages: list[Message]
    state: dict[str, msgspec.Raw] = {}


class Lease(msgspec.Struct, frozen=True, tag="lease"):
    """Hand out up to ``limit`` messages of the first of ``topics`` that has any; wait up to ``wait`` s."""

    topics: list[str]
    limit: int
    seconds: float
    wait: float = 0.0


class Ack(msgspec.Struct, frozen=True, tag="ack"):
    """The messages are delivered; forget them."""

    ids: list[Id]


class Release(msgspec.Struct, frozen=True, tag="release"):
    """The messages were not delivered; hand them out again after ``delay`` seconds."""

    ids: list[Id]
    delay: float


class ReleaseAll(msgspec.Struct, frozen=True, tag="release_all"):
    """End every lease and every delay: it is the last chance of whatever waits."""


class Bury(msgspec.Struct, frozen=True, tag="bury"):
    """The messages can never be delivered; keep the last few with the reason, for a person to look at."""

    ids: list[Id]
    reason: str


class GetDead(msgspec.Struct, frozen=True, tag="dead"):
    """A page of the dead letters whose id is above ``after``, in the order of ids."""

    after: int = -1


class Revive(msgspec.Struct, frozen=True, tag="revive"):
    """Queue dead letters again, behind what waits, as far as there is room."""

    ids: list[Id]


class SetState(msgspec.Struct, frozen=True, tag="set"):
    """Set keys (null removes one). Durable ones survive the broker; the others die with it."""

    values: dict[str, msgspec.Raw]
    durable: bool = False


class GetState(msgspec.Struct, frozen=True, tag="get"):
    """A page of the entries whose key starts with ``prefix`` and comes behind ``after``, in the order of keys."""

    prefix: str
    after: str | None = None


class WatchState(msgspec.Struct, frozen=True, tag="watch"):
    """Entries under ``prefix`` newer than ``version``, oldest change first; wait up to ``wait`` seconds for one."""

    prefix: str
    version: int
    wait: float


class Stats(msgspec.Struct, frozen=True, tag="stats"):
    """How full the queue is."""


Request = Put | Lease | Ack | Release | ReleaseAll | Bury | GetDead | Revive | SetState | GetState | WatchState | Stats


class TopicStats(msgspec.Struct, frozen=True):
    """One topic's fill."""

    depth: int
    bytes: int
    oldest_age: float
    """Seconds the message at the front has waited; 0 when empty."""
    dropped: int
    """Messages lost for want of room since the spool began."""
    buried: int
    """Messages Central refused for good since the spool began."""


class Reply(msgspec.Struct, frozen=True, omit_defaults=True):
    """The answer to any request; ``error`` set means nothing was done."""

    error: str | None = None
    kind: str | None = None
    """``full``, ``invalid`` or ``failed``: what sort of error."""
    leased: list[Leased] = []
    dead: list[DeadLetter] = []
    revived: int = 0
    entries: list[Entry] = []
    more: bool = False
    """The entries are a page with others behind it."""
    version: int = 0
    stats: dict[str, TopicStats] = {}


encoder = msgspec.json.Encoder()
request_decoder: msgspec.json.Decoder[Request] = msgspec.json.Decoder(Request)
reply_decoder: msgspec.json.Decoder[Reply] = msgspec.json.Decoder(Reply)
