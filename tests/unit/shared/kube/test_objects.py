"""Decoded parts of objects: only what is named, and nothing may be missing in a way that hurts."""

from __future__ import annotations

import json
from datetime import datetime, timezone

import msgspec
import pytest

from shared.kube.objects import ListMeta, Meta, Owner, controller_of

META = {
    "name": "web-0",
    "namespace": "shop",
    "uid": "uid-1",
    "resourceVersion": "42",
    "creationTimestamp": "2026-03-01T12:00:00Z",
    "deletionTimestamp": "2026-03-01T12:00:30Z",
    "deletionGracePeriodSeconds": 30,
    "labels": {"app": "web"},
    "annotations": {"a": "b"},
    "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web", "uid": "u", "controller": True}],
    "finalizers": ["x/y"],
    "managedFields": [{"manager": "kubelet"}],
    "generateName": "web-",
}


def test_names_are_those_of_kubernetes() -> None:
    meta = msgspec.json.decode(json.dumps(META), type=Meta)
    assert meta.resource_version == "42"
    assert meta.creation_timestamp == datetime(2026, 3, 1, 12, 0, tzinfo=timezone.utc)
    assert meta.deletion_timestamp == datetime(2026, 3, 1, 12, 0, 30, tzinfo=timezone.utc)
    assert meta.deletion_grace_period_seconds == 30
    assert meta.finalizers == ["x/y"]
    assert controller_of(meta) == Owner("ReplicaSet", "web", "u", True, "apps/v1")


@pytest.mark.parametrize("field", META)
def test_no_field_need_be_there(field: str) -> None:
    msgspec.json.decode(json.dumps({key: value for key, value in META.items() if key != field}), type=Meta)


@pytest.mark.parametrize("field", ["creationTimestamp", "labels", "annotations", "ownerReferences", "finalizers"])
def test_what_may_be_absent_may_be_null(field: str) -> None:
    msgspec.json.decode(json.dumps({**META, field: None}), type=Meta)


def test_a_lists_token_is_called_continue() -> None:
    meta = msgspec.json.decode(b'{"resourceVersion":"1","continue":"abc","remainingItemCount":7}', type=ListMeta)
    assert (meta.continue_, meta.remaining_item_count) == ("abc", 7)
