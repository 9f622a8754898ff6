"""Answers of the API server as our errors."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from shared.basics.errors import AgentError, PermanentError, TemporaryError


class KubeUnavailable(TemporaryError):
    """The API server cannot be reached, throttles, or fails."""


class Unauthorized(TemporaryError):
    """The token is not accepted, not even when read again. It rotates, so this may pass."""


class Gone(TemporaryError):
    """The resourceVersion is too old (410): list again."""


class Forbidden(PermanentError):
    """RBAC or an admission rule refuses."""


class NotFound(PermanentError):
    """There is no such object, or no such API."""


class Conflict(PermanentError):
    """The object is not the one the precondition named, or changed in between."""


class Invalid(PermanentError):
    """The API server does not accept the request."""


class Cause(msgspec.Struct, frozen=True):
    """One of the causes in a Status."""

    reason: str = ""
    message: str = ""
    field: str = ""


class Details(msgspec.Struct, frozen=True, rename="camel"):
    """Machine-readable part of a Status."""

    name: str = ""
    kind: str = ""
    causes: list[Cause] | None = None
    retry_after_seconds: int | None = None


class Status(msgspec.Struct, frozen=True):
    """A Status object of the API; fields it leaves out are empty."""

    code: int = 0
    reason: str | None = None
    message: str | None = None
    details: Details | None = None

    @property
    def causes(self) -> list[Cause]:
        return (self.details.causes if self.details else None) or []

    def has_cause(self, reason: str) -> bool:
        return any(cause.reason == reason for cause in self.causes)


_decoder = msgspec.json.Decoder(Status)


def parse_status(code: int, body: bytes) -> Status:
    """The Status in ``body``; a body that is none (API throttling answers plain text) becomes its message."""
    try:
        status = _decoder.decode(body)
    except (msgspec.DecodeError, RecursionError):
        text = " ".join(body[:300].decode("utf-8", "replace").split())
        return Status(code=code, message=text)
    return Status(code, status.reason, status.message, status.details)


def parse_event(body: bytes) -> Status:
    """The Status in the ERROR event of a watch, which has no HTTP status; without a code of its own it is a 500."""
    try:
        status = _decoder.decode(body)
    except (msgspec.DecodeError, RecursionError):
        return parse_status(500, body)
    return status if status.code else msgspec.structs.replace(status, code=500)


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds of a Retry-After header; the API server writes whole seconds."""
    try:
        return max(0.0, float(headers["Retry-After"]))
    except (KeyError, ValueError):
        return None


def error_of(status: Status, what: str, delay: float | None = None) -> AgentError:
    """The error that an answer other than 2xx stands for. ``what`` was attempted: "patch node a"."""
    message = f"{what}: {status.code} {status.message or status.reason or 'without a reason'}"
    if status.code == 410:
        return Gone(message)
    if status.code == 401:
        return Unauthorized(message)
    if status.code in (408, 429) or status.code >= 500:
        return KubeUnavailable(message, delay)
    if any(cause.field == "metadata.uid" for cause in status.causes):
        # A PATCH that names another uid is answered 422, as a change of a field that is immutable.
        return Conflict(message)
    kinds: dict[int, type[PermanentError]] = {403: Forbidden, 404: NotFound, 409: Conflict}
    return kinds.get(status.code, Invalid)(message)
