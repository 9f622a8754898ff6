"""Whatever a real API server can serve in an Event, a Pod or a Node is read by every worker that reads such objects.

Generated from the structs the workers decode into, with the values that the API server's validation lets through and
not only those that make sense.
"""

from __future__ import annotations

import types
import typing
from datetime import datetime
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared.kube.decoding import Decoder, identity_of
from shared.kube.nodes import Node as CountedNode
from shared.kube.pods import Pod as TaskPod
from tests.unit.conftest import NOON
from workers.event_watcher.objects import Event
from workers.event_watcher.objects import Node as WatchedNode
from workers.event_watcher.objects import Pod as WatchedPod
from workers.event_watcher.outages import Outages
from workers.event_watcher.sights import notices
from workers.event_watcher.sights.events import from_event
from workers.event_watcher.sights.pods import from_pod
from workers.metrics.capacity import identity
from workers.metrics.pods import Pod as CountedPod
from workers.metrics.pods import PodTotals

MOMENTS = st.sampled_from(
    [
        None,
        "0000-01-01T00:00:00Z",
        "-0001-12-31T14:00:00Z",
        "0001-01-01T00:00:01Z",
        "1969-12-31T23:59:59Z",
        "1970-01-01T00:00:00Z",
        "2026-03-01T12:00:00Z",
        "2026-03-01T12:00:00.000001Z",
        "9999-12-31T23:59:59Z",
        "9999-12-31T23:59:59.999999Z",
        "10000-01-01T09:59:59Z",
        "10000-01-01T09:59:59.000000Z",
    ]
)
"""metav1.Time and MicroTime as Go writes them: any year its parser and a zone can lead to."""

WORDS = st.sampled_from(
    ["", "Pod", "Node", "FailedScheduling", "Evicted", "OOMKilled", "Ready", "False", "True", "DisruptionTarget"]
    + ["EvictionByEvictionAPI", "SystemOOM", "\x00", "\u2028", "\U0001f9e8", "x" * 5000, "$.status", "10000-01-01"]
)
QUANTITIES = st.sampled_from(["0", "100m", "1Gi", "1e3", "1E", "100n", "9223372036854775807", "-1", "1e999", "0.1Mi"])
NUMBERS = st.sampled_from([None, 0, 1, -1, 2**31 - 1, -(2**31), 2**63 - 1])

DEEP = 3000


def values(kind: Any) -> st.SearchStrategy[Any]:
    """What stands in JSON where a reader expects ``kind``."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        inner = [argument for argument in arguments if argument is not type(None)]
        return st.one_of(st.none(), *map(values, inner))
    if origin is list:
        return st.lists(values(arguments[0]), max_size=3)
    if origin is dict:
        return st.dictionaries(st.sampled_from(["cpu", "memory", "a/b"]), values(arguments[1]), max_size=3)
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return objects(kind)
    return {datetime: MOMENTS, str: st.one_of(WORDS, QUANTITIES), int: NUMBERS, bool: st.booleans()}.get(
        kind, st.none()
    )


def objects(kind: type[msgspec.Struct]) -> st.SearchStrategy[dict[str, Any]]:
    """Objects that have some of the fields of ``kind``, and always those that the API server never leaves out."""
    required: dict[str, st.SearchStrategy[Any]] = {}
    optional: dict[str, st.SearchStrategy[Any]] = {}
    for field in msgspec.structs.fields(kind):
        drawn = values(field.type)
        if field.type is int:
            drawn = drawn.filter(lambda number: number is not None)
        (required if field.required else optional)[field.encode_name] = drawn
    return st.fixed_dictionaries(required, optional=optional)


READERS: dict[type[Any], Any] = {
    Event: lambda event: from_event(event, NOON),
    WatchedPod: lambda pod: list(from_pod(pod, NOON)),
    WatchedNode: lambda node: (Outages().saw(node, NOON), list(notices.from_node(node, NOON))),
    CountedNode: identity,
    CountedPod: lambda pod: PodTotals().put(pod),
    TaskPod: lambda pod: (pod.ended, pod.is_ready, pod.controller),
}


@pytest.mark.parametrize("kind", READERS, ids=lambda kind: f"{kind.__module__}.{kind.__name__}")
@given(data=st.data())
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
def test_whatever_the_api_server_serves_is_decoded_and_used(kind: type[Any], data: st.DataObject) -> None:
    content = data.draw(objects(kind))
    body = msgspec.json.encode(content)
    if data.draw(st.booleans()):
        nested = b'{"f:a":' * DEEP + b"{}" + b"}" * DEEP
        body = body.replace(b'"metadata":{', b'"metadata":{"managedFields":[{"fieldsV1":' + nested + b"}],", 1)
        body = body.replace(b",}", b"}", 1)
    READERS[kind](Decoder(kind)(body))


@given(data=st.data())
@settings(max_examples=100, deadline=None)
def test_an_object_is_named_without_being_decoded(data: st.DataObject) -> None:
    name, version = data.draw(st.text()), data.draw(st.text())
    rest = data.draw(st.recursive(st.none() | st.text(), lambda inner: st.dictionaries(st.text(), inner, max_size=3)))
    content = {"before": rest, "metadata": {"x": rest, "name": name, "resourceVersion": version}, "after": [rest]}
    found = identity_of(msgspec.json.encode(content))
    assert (found.name, found.version) == (name or "(no name)", version)
