"""What an HTTP answer of Central means. Pure; the truth table is in tests/unit/shared/central.

Only Central can refuse for good, and Central speaks JSON or says nothing. A page or a plain text is something between
us and it: a CDN, an ingress, a firewall for web applications. What that refuses is tried again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timezone
from email.utils import parsedate_to_datetime

import msgspec

from shared.basics.errors import AgentError, AuthenticationError, PermanentError, TemporaryError
from shared.basics.timing import SYSTEM_CLOCK, Clock
from shared.central.identity import Caller

LONGEST_RETRY_AFTER = 300.0
"""Seconds; a longer wish is cut, or one bad header would silence the agent for a day."""

_NOT_OFFERED = (404, 405, 501)
_OPTIONAL = ("register", "deregister", "prices")
_COUNTED_403 = ("register", "heartbeat", "tasks")
_FOR_GOOD = (400, 409, 410, 422)
"""Beside 413. Any other 4xx may be somebody else's: an ingress that is being rolled out answers 404 to everything."""


@dataclass(frozen=True)
class Answer:
    """What came back for a call, as far as it matters."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    said: str = ""
    """The beginning of the body, fit for a message."""
    by_central: bool = True
    """Whether these can be Central's own words."""

    @classmethod
    def of(cls, caller: Caller, status: int, headers: Mapping[str, str], body: bytes) -> Answer:
        """The answer to ``caller``, without its key; ``headers`` are looked up whatever their case."""
        if 200 <= status < 300:
            return cls(status)  # Nothing of it is quoted.
        wanted = {name: caller.quoted(headers[name]) for name in ("Location", "Retry-After") if name in headers}
        return cls(status, wanted, caller.quoted(body), _is_central(headers.get("Content-Type", ""), body))


class _Refused(PermanentError):
    """``certain``: it is Central that says so."""

    def __init__(self, message: str, certain: bool = True) -> None:
        super().__init__(message)
        self.certain = certain


class NotOffered(_Refused):
    """This Central has no such call."""


class Unchanged(PermanentError):
    """304: nothing is new since the answer whose ETag was sent along."""


class TooLarge(_Refused):
    """The body is larger than Central, or a proxy before it, takes."""


class Unclear(TemporaryError):
    """Refused, but not in Central's words."""


class NotUnderstood(TemporaryError):
    """415: the body's type or packing."""


def error_of(call: str, answer: Answer) -> AgentError | None:
    """The error that ``answer`` to ``call`` stands for, or None for 2xx.

    A 403 speaks about the key on register, heartbeat and tasks only: elsewhere it is some proxy's opinion of one body.
    """
    status = answer.status
    if 200 <= status < 300:
        return None
    said = f": {answer.said}" if answer.said else ""
    what = f"{'Central' if answer.by_central else 'something before Central'} answered {status} to {call}{said}"
    if status == 401 or (status == 403 and call in _COUNTED_403):
        return AuthenticationError(f"{what}; is the API key right, and for this cluster?", status, answer.by_central)
    if status == 304 and call == "prices":
        return Unchanged(what)
    if 300 <= status < 400:
        target = answer.headers.get("Location", "elsewhere")
        return TemporaryError(f"{what}; it redirects to {target}, set CENTRAL_SERVER_URL to that")
    if status in _NOT_OFFERED and call in _OPTIONAL:
        return NotOffered(what, answer.by_central)
    if status == 413:
        return TooLarge(what, answer.by_central)
    if status in _FOR_GOOD and answer.by_central:
        return PermanentError(what)
    kind = NotUnderstood if status == 415 else Unclear if status in _FOR_GOOD else TemporaryError
    return kind(what, retry_after(answer.headers))


def _is_central(content_type: str, body: bytes) -> bool:
    """Whether a body is JSON by its type, where it has one, and by itself; or empty."""
    if not body.strip():
        return True
    kind = content_type.partition(";")[0].strip().lower()
    if kind and kind != "application/json" and not kind.endswith("+json"):
        return False
    try:
        msgspec.json.decode(body, type=msgspec.Raw)
    except (msgspec.DecodeError, RecursionError):
        return False
    return True


def retry_after(headers: Mapping[str, str], clock: Clock = SYSTEM_CLOCK) -> float | None:
    """Seconds that ``Retry-After`` asks for, as a number or a date (RFC 9110 10.2.3); None without one."""
    text = headers.get("Retry-After", "").strip()
    if not text:
        return None
    try:
        seconds = float(text)
    except ValueError:
        try:
            moment = parsedate_to_datetime(text)
        except ValueError:
            return None
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=timezone.utc)
        seconds = (moment - clock.now()).total_seconds()
    # A NaN compares false with everything and so falls to 0.
    return min(seconds, LONGEST_RETRY_AFTER) if seconds > 0 else 0.0
