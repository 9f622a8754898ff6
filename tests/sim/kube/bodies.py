"""Request bodies as the API server decodes them, and what it says of those that it cannot."""

from __future__ import annotations

from typing import Any

from tests.sim.kube import protobuf
from tests.sim.kube.patches import go_json_error
from tests.sim.kube.resources import RESOURCES, Object
from tests.sim.kube.status import ApiError, bad_request
from tests.sim.kube.store import decode
from tests.sim.kube.wire import Request

MEDIA_TYPES = f"application/json, application/yaml, {protobuf.MEDIA_TYPE}"
"""What refusals say is accepted; the simulator itself reads JSON, and the protobuf that kubectl sends."""

_SCHEME = 'scheme "k8s.io/kubernetes/pkg/api/legacyscheme/scheme.go:30"'
_OPTIONS_SCHEME = 'scheme "k8s.io/apimachinery/pkg/apis/meta/internalversion/scheme/register.go:27"'
_STRUCT = 'struct { APIVersion string "json:\\"apiVersion,omitempty\\""; Kind string "json:\\"kind,omitempty\\"" }'
_KNOWN = {
    *((resource.api_version, resource.kind) for resource in RESOURCES),
    ("policy/v1", "Eviction"),
    ("policy/v1beta1", "Eviction"),
}


def read(request: Request, kind: str, api_version: str) -> Object:
    """The object in a body that should be a ``kind``. What it leaves out of type and version is assumed.

    Raises:
        ApiError: 400 or 415, in the words of the real server.
    """
    if _media(request) == protobuf.MEDIA_TYPE:
        return protobuf.decode(request.body)
    try:
        body: Any = decode(request.body)
    except ValueError:
        shown = request.body.decode(errors="replace") or "<empty>"
        why = f"couldn't get version/kind; json parse error: {go_json_error(request.body)} ({shown})"
        raise bad_request(f"the object provided is unrecognized (must be of type {kind}): {why}") from None
    if not isinstance(body, dict):
        go = "array" if isinstance(body, list) else type(body).__name__
        why = f"json: cannot unmarshal {go} into Go value of type {_STRUCT} ({request.body.hex()})"
        why = f"couldn't get version/kind; json parse error: {why}"
        raise bad_request(f"the object provided is unrecognized (must be of type {kind}): {why}")
    said, version = body.get("kind") or kind, body.get("apiVersion") or api_version
    if (version, said) not in _KNOWN:
        why = f'no kind "{said}" is registered for version "{version}" in {_SCHEME}'
        raise bad_request(f'{said} in version "{version.rpartition("/")[2]}" cannot be handled as a {kind}: {why}')
    return body


def read_options(request: Request) -> Object:
    """The DeleteOptions in the body of a deletion, which may be empty.

    Raises:
        ApiError: as ``read``.
    """
    if not request.body:
        return {}
    if _media(request) == protobuf.MEDIA_TYPE:
        return protobuf.decode(request.body)
    try:
        body: Any = decode(request.body)
    except ValueError:
        raise bad_request(f"couldn't get version/kind; json parse error: {go_json_error(request.body)}") from None
    found: Object = body if isinstance(body, dict) else {}
    if found.get("kind", "DeleteOptions") != "DeleteOptions":
        version = found.get("apiVersion", "v1")
        raise bad_request(f'no kind "{found["kind"]}" is registered for version "{version}" in {_OPTIONS_SCHEME}')
    return found


def _media(request: Request) -> str:
    found = request.headers.get("content-type", "").partition(";")[0].strip() or "application/json"
    if found not in ("application/json", protobuf.MEDIA_TYPE):
        message = f"the body of the request was in an unknown format - accepted media types include: {MEDIA_TYPES}"
        raise ApiError(415, "UnsupportedMediaType", message)
    return found
