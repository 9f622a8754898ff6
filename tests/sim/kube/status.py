"""Refusals, with the Status bodies a real API server sends."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from tests.sim.kube.resources import Object, Resource


class Cause(NamedTuple):
    reason: str
    message: str
    field: str = ""

    def body(self) -> Object:
        cause = {"reason": self.reason, "message": self.message, "field": self.field}
        return {key: value for key, value in cause.items() if value}


def not_supported(field: str, value: str, *supported: str) -> Cause:
    listed = ", ".join(f'"{one}"' for one in supported)
    return Cause("FieldValueNotSupported", f'Unsupported value: "{value}": supported values: {listed}', field)


class ApiError(Exception):
    """A Status with status Failure. ``details=None`` leaves the field out, as the real server does at times."""

    def __init__(
        self, code: int, reason: str, message: str, details: Object | None = None, continue_token: str = ""
    ) -> None:
        super().__init__(message)
        self.code, self.reason, self.message, self.details = code, reason, message, details
        self.metadata = {"continue": continue_token} if continue_token else {}
        self.headers: dict[str, str] = {}

    @property
    def retry_after(self) -> int:
        return int((self.details or {}).get("retryAfterSeconds", 0))

    def body(self) -> Object:
        body: Object = {"kind": "Status", "apiVersion": "v1", "metadata": self.metadata, "status": "Failure"}
        body["message"] = self.message
        if self.reason:
            body["reason"] = self.reason
        if self.details is not None:
            body["details"] = self.details
        body["code"] = self.code
        return body


def success(code: int | None = None, details: Object | None = None) -> Object:
    body: Object = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"}
    if details is not None:
        body["details"] = details
    if code is not None:
        body["code"] = code
    return body


def details(
    name: str | None = "", group: str = "", kind: str = "", causes: Iterable[Cause] = (), retry: int = 0
) -> Object:
    found: dict[str, Any] = {"name": name, "group": group, "kind": kind}
    found["causes"] = [cause.body() for cause in causes]
    found["retryAfterSeconds"] = retry
    return {key: value for key, value in found.items() if value}


def _of(resource: Resource, name: str | None) -> Object:
    return details(name, resource.group, resource.plural)


def not_found(resource: Resource, name: str) -> ApiError:
    return ApiError(404, "NotFound", f'{resource.qualified} "{name}" not found', _of(resource, name))


def already_exists(resource: Resource, name: str) -> ApiError:
    message = f'{resource.qualified} "{name}" already exists'
    return ApiError(409, "AlreadyExists", message, _of(resource, name))


def conflict(resource: Resource, name: str, why: str) -> ApiError:
    message = f'Operation cannot be fulfilled on {resource.qualified} "{name}": {why}'
    return ApiError(409, "Conflict", message, _of(resource, name))


def modified(resource: Resource, name: str) -> ApiError:
    """The 409 of an update made from an older resourceVersion."""
    why = "the object has been modified; please apply your changes to the latest version and try again"
    return conflict(resource, name, why)


def precondition_failed(resource: Resource, name: str, why: str) -> ApiError:
    """The 409 of a delete or eviction; unlike all others it names the kind, not the resource."""
    message = f'Operation cannot be fulfilled on {resource.qualified_kind} "{name}": {why}'
    return ApiError(409, "Conflict", message, details(name, resource.group, resource.kind))


def forbidden(group: str, plural: str, name: str | None, why: str, causes: Sequence[Cause] = ()) -> ApiError:
    qualified = f"{plural}.{group}" if group else plural
    subject = f'{qualified} "{name}"' if name else qualified
    return ApiError(403, "Forbidden", f"{subject} is forbidden: {why}", details(name, group, plural, causes))


def invalid(qualified_kind: str, name: str, causes: Sequence[Cause]) -> ApiError:
    """422: every cause is listed, but the message says each thing once."""
    lines = list(dict.fromkeys(f"{cause.field}: {cause.message}" for cause in causes))
    said = lines[0] if len(lines) == 1 else f"[{', '.join(lines)}]"
    kind, _, group = qualified_kind.partition(".")
    message = f'{qualified_kind} "{name}" is invalid: {said}'
    return ApiError(422, "Invalid", message, details(name, group, kind, causes))


def bad_request(message: str) -> ApiError:
    return ApiError(400, "BadRequest", message)


def too_many_requests(message: str, retry: int, causes: Sequence[Cause]) -> ApiError:
    return ApiError(429, "TooManyRequests", message, details(causes=causes, retry=retry))


def expired(message: str, continue_token: str = "") -> ApiError:
    return ApiError(410, "Expired", message, continue_token=continue_token)


def version_too_large(asked: int, current: int) -> ApiError:
    cause = Cause("ResourceVersionTooLarge", "Too large resource version")
    message = f"Timeout: Too large resource version: {asked}, current: {current}"
    return ApiError(504, "Timeout", message, details(causes=[cause], retry=1))


def unauthorized() -> ApiError:
    return ApiError(401, "Unauthorized", "Unauthorized")


def no_such_path() -> ApiError:
    return ApiError(404, "NotFound", "the server could not find the requested resource", {})


def method_not_allowed() -> ApiError:
    message = "the server does not allow this method on the requested resource"
    return ApiError(405, "MethodNotAllowed", message, {})


def namespace_terminating(resource: Resource, namespace: str, name: str) -> ApiError:
    cause = Cause("NamespaceTerminating", f"namespace {namespace} is being terminated", "metadata.namespace")
    why = f"unable to create new content in namespace {namespace} because it is being terminated"
    return forbidden(resource.group, resource.plural, name, why, [cause])
