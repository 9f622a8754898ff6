"""The bodies that kubectl sends in protobuf: the options of a deletion (``drain --disable-eviction``), and evictions.

https://kubernetes.io/docs/reference/using-api/api-concepts/#protobuf-encoding; the numbers of the fields are those of
k8s.io/apimachinery/pkg/apis/meta/v1/generated.proto, k8s.io/apimachinery/pkg/runtime/generated.proto and
k8s.io/api/policy/v1/generated.proto.
"""

from __future__ import annotations

from typing import Any

from tests.sim.kube.resources import Object
from tests.sim.kube.status import bad_request

MEDIA_TYPE = "application/vnd.kubernetes.protobuf"

_MAGIC = b"k8s\0"

Schema = dict[int, tuple[str, Any]]
"""Field numbers to a name, and how it is read: a scalar type, a schema, or a list with one of both."""

_PRECONDITIONS: Schema = {1: ("uid", str), 2: ("resourceVersion", str)}
_DELETE_OPTIONS: Schema = {
    1: ("gracePeriodSeconds", int),
    2: ("preconditions", _PRECONDITIONS),
    3: ("orphanDependents", bool),
    4: ("propagationPolicy", str),
    5: ("dryRun", [str]),
}
_METADATA: Schema = {1: ("name", str), 3: ("namespace", str)}
_EVICTION: Schema = {1: ("metadata", _METADATA), 2: ("deleteOptions", _DELETE_OPTIONS)}
_ENVELOPE: Schema = {1: ("type", {1: ("apiVersion", str), 2: ("kind", str)}), 2: ("raw", bytes)}
_KINDS = {"DeleteOptions": _DELETE_OPTIONS, "Eviction": _EVICTION}


def decode(body: bytes) -> Object:
    """The object in ``body``, as its JSON would say it. What is broken or of another kind is a 400."""
    if not body.startswith(_MAGIC):
        raise bad_request("provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]")
    envelope = _message(body[len(_MAGIC) :], _ENVELOPE)
    about = envelope.get("type") or {}
    schema = _KINDS.get(about.get("kind", ""))
    if schema is None:
        raise bad_request(f"the simulator reads no {about.get('kind')} in protobuf")
    return {**_message(envelope.get("raw", b""), schema), **about}


def _message(data: bytes, schema: Schema) -> Object:
    found: Object = {}
    place = 0
    while place < len(data):
        key, place = _varint(data, place)
        wire = key & 7
        value: int | bytes
        if wire == 0:
            value, place = _varint(data, place)
        elif wire == 2:
            size, place = _varint(data, place)
            if place + size > len(data):
                raise bad_request("unexpected EOF")
            value, place = data[place : place + size], place + size
        else:
            raise bad_request(f"proto: illegal wireType {wire}")
        if key >> 3 in schema:
            name, how = schema[key >> 3]
            if isinstance(how, list):
                found.setdefault(name, []).append(_read(value, how[0]))
            else:
                found[name] = _read(value, how)
    return found


def _read(value: Any, how: Any) -> Any:
    if isinstance(how, dict):
        return _message(value, how)
    if how is str:
        return value.decode()
    if how is int:
        return value - (1 << 64) if value >> 63 else value
    return how(value)


def _varint(data: bytes, place: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if place >= len(data):
            raise bad_request("unexpected EOF")
        byte = data[place]
        place += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, place
        shift += 7
