"""What an answer of the API server means, and what it proves, as our errors: the one place that looks at codes.

Between the agent and the API server stand proxies, load balancers and admission webhooks, which answer with
codes of their own. So absence is proved only by a Status whose details name the very object (rule 26 of a
drain), a denial is known by its words whatever its code, and whatever proves nothing may be asked again.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import unquote

import msgspec

from shared.basics.errors import AgentError, PermanentError, TemporaryError

LONGEST_RETRY_AFTER = 60.0
"""Seconds; who asks for more gets asked again all the same (rule 14)."""


class KubeUnavailable(TemporaryError):
    """The API server cannot be reached, throttles, or fails."""


class Unclear(KubeUnavailable):
    """An answer that proves nothing: a proxy's page, or a 404 or 409 about something else than was asked for."""


class NoSuchApi(Unclear):
    """404 to a whole collection: the API is not served, or a proxy says so."""


class Unauthorized(TemporaryError):
    """The token is not accepted, not even when read again. It rotates, so this may pass."""


class Gone(TemporaryError):
    """The resourceVersion is too old (410): list again."""


class Forbidden(PermanentError):
    """RBAC does not grant it."""


class Denied(PermanentError):
    """An admission webhook or policy of the cluster's owner refuses it; its words are quoted."""


class DeniedForNow(KubeUnavailable):
    """The same with a code that says something else of the object: a webhook that answers 404 is out of order."""


class NotFound(PermanentError):
    """The very object that was asked for does not exist: proved."""


class Conflict(PermanentError):
    """The object is not the one the precondition named, or changed in between: read it again."""


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

    kind: str = ""
    code: int = 0
    reason: str | None = None
    message: str | None = None
    details: Details | None = None

    @property
    def causes(self) -> list[Cause]:
        return (self.details.causes if self.details else None) or []

    @property
    def said(self) -> str:
        """The API server's words."""
        return self.message or self.reason or f"status {self.code}"

    def has_cause(self, reason: str) -> bool:
        return any(cause.reason == reason for cause in self.causes)


class Target(NamedTuple):
    """The object that a path names, in the words of a Status' details."""

    kind: str
    """The resource: ``pods``."""
    name: str


_decoder = msgspec.json.Decoder(Status)

_NO_REFUSALS = (401, 404, 408, 409, 410, 425, 429)
"""Codes by which no admission rule that means to refuse would answer."""

_LONGEST_SAYING = 2000
"""Characters of a message that are kept."""

_COLLECTION = re.compile(r"/api/v1/|/apis/[^/]+/[^/]+/")

_DENIAL = re.compile(r"""admission (webhook) "([^"]+)"|ValidatingAdmission(Policy) '([^']+)'""")
"""How Kubernetes quotes whoever denied: admission/plugin/webhook/errors and admission/plugin/policy/validating."""

_ABOUT_UID = re.compile(r"the UID in the precondition \((\S+)\) does not match the UID in record \((\S+)\)")
"""As a real API server v1.36 says it, with the kind (``Pod``) and not the resource in its details."""


def parse_status(code: int, body: bytes) -> Status:
    """The Status in ``body``; a body that is none (a proxy's page, API throttling) becomes its message."""
    try:
        status = _decoder.decode(body)
    except (msgspec.DecodeError, RecursionError):
        text = " ".join(body[:300].decode("utf-8", "replace").split())
        return Status(code=code, message=text)
    return msgspec.structs.replace(status, code=code, message=_cut(status.message))


def _cut(message: str | None) -> str | None:
    """A webhook may say megabytes."""
    return message if message is None or len(message) <= _LONGEST_SAYING else f"{message[:_LONGEST_SAYING]} ..."


def parse_event(body: bytes) -> Status:
    """The Status in the ERROR event of a watch, which has no HTTP status; without a code of its own it is a 500."""
    try:
        status = _decoder.decode(body)
    except (msgspec.DecodeError, RecursionError):
        return parse_status(500, body)
    return status if status.code else msgspec.structs.replace(status, code=500)


def target_of(path: str) -> Target | None:
    """The object at ``path`` of the API (a subresource's is its parent); None for a collection."""
    prefix = _COLLECTION.match(path)
    parts = path[prefix.end() :].split("/") if prefix else []
    if len(parts) > 2 and parts[0] == "namespaces":
        parts = parts[2:]
    return Target(parts[0], unquote(parts[1])) if len(parts) > 1 else None


def denier(message: str) -> str | None:
    """Who denied, if ``message`` is an admission rule's denial: ``webhook x`` or ``policy x``."""
    found = _DENIAL.search(message)
    if found is None:
        return "an admission webhook" if "admission webhook" in message else None
    kind, name = (part for part in found.groups() if part)
    return f"{kind.lower()} {name}"


def by_rbac(status: Status) -> bool:
    """Whether this 403 is RBAC's: ``User "x" cannot create resource "pods/eviction" in API group ""``."""
    return status.reason == "Forbidden" and " cannot " in status.said and denier(status.said) is None


def proves_absence(status: Status, target: Target | None) -> bool:
    """Whether ``status`` proves that there is no such object: the API server's own words about this very one."""
    details = status.details
    return (
        target is not None
        and (status.code, status.kind, status.reason) == (404, "Status", "NotFound")
        and details is not None
        and (details.kind, details.name) == target
        and denier(status.said) is None
    )


def proves_replacement(status: Status, target: Target | None, uid: str) -> bool:
    """Whether ``status`` proves that another object than the one with ``uid`` has the target's name."""
    details = status.details
    found = _ABOUT_UID.search(status.said)
    return (
        found is not None
        and (status.code, status.kind, status.reason) == (409, "Status", "Conflict")
        and details is not None
        and target is not None
        and details.name == target.name
        and details.kind in (target.kind, target.kind[:-1].capitalize())
        and found[1] == uid != found[2]
        and denier(status.said) is None
    )


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds of a Retry-After header, of which the API server writes whole ones; at most a minute."""
    try:
        seconds = float(headers["Retry-After"])
    except (KeyError, ValueError):
        return None
    return None if math.isnan(seconds) else min(max(0.0, seconds), LONGEST_RETRY_AFTER)


def error_of(status: Status, what: str, target: Target | None = None, delay: float | None = None) -> AgentError:
    """The error that an answer other than 2xx stands for. ``what`` was attempted: "patch node a"."""
    code = status.code
    message = f"{what}: {code} {status.message or status.reason or 'without a reason'}"
    if 400 <= code < 500 and denier(status.said):
        return DeniedForNow(message, delay) if code in _NO_REFUSALS else Denied(message)
    if code == 410:
        return Gone(message)
    if code == 401:
        return Unauthorized(message)
    if code in (408, 425, 429) or code >= 500 or code < 400:
        return KubeUnavailable(message, delay)
    if status.kind != "Status":
        # Whoever speaks like this is no API server, whatever its code.
        return (NoSuchApi if code == 404 and target is None else Unclear)(message, delay)
    if code == 404:
        if proves_absence(status, target):
            return NotFound(message)
        return (Unclear if target else NoSuchApi)(message, delay)
    if code == 409 or any(cause.field == "metadata.uid" for cause in status.causes):
        # A PATCH that names another uid is answered 422, as a change of a field that is immutable.
        return Conflict(message)
    return (Forbidden if code == 403 else Invalid)(message)
