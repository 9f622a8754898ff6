"""What every model of the contract shares: UTC datetimes ending in ``Z`` and strictness."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, PlainSerializer, WithJsonSchema

from shared.basics.timing import iso


def _as_utc(moment: datetime) -> datetime:
    if moment.tzinfo is None:
        return moment.replace(tzinfo=timezone.utc)
    try:
        return moment.astimezone(timezone.utc)
    except OverflowError:  # Which pydantic would let through.
        raise ValueError("there is no such moment in UTC") from None


HeardDatetime = Annotated[datetime, AfterValidator(_as_utc)]
"""A datetime; one without a zone is UTC. Kept as it came, to the microsecond."""

UtcDatetime = Annotated[
    HeardDatetime,
    PlainSerializer(iso, when_used="json"),
    WithJsonSchema({"type": "string", "format": "date-time"}, mode="serialization"),
]
"""One that we send: to the millisecond, with a ``Z``."""


class Outgoing(BaseModel):
    """Base of what we send: immutable, and a typo in a field name is an error here, not at Central."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    def to_json(self) -> bytes:
        return self.model_dump_json().encode()


class Incoming(BaseModel):
    """Base of what Central sends: immutable; fields we do not know are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore")
