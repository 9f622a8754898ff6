"""The two kinds of bodies that clients send in protobuf, byte by byte as client-go encodes them."""

from __future__ import annotations

import pytest

from tests.sim.kube.protobuf import decode
from tests.sim.kube.status import ApiError


def field(number: int, value: bytes) -> bytes:
    return bytes([number << 3 | 2, len(value)]) + value


def message(api_version: str, kind: str, raw: bytes) -> bytes:
    about = field(1, api_version.encode()) + field(2, kind.encode())
    return b"k8s\0" + field(1, about) + field(2, raw) + field(3, b"") + field(4, b"")


def test_options_of_a_deletion() -> None:
    """As ``kubectl drain --disable-eviction --grace-period=300`` sends them, and what else they may hold."""
    raw = b"\x08\xac\x02" + field(2, field(1, b"u-1") + field(2, b"17")) + field(4, b"Orphan") + field(5, b"All")
    assert decode(message("policy/v1", "DeleteOptions", raw)) == {
        "apiVersion": "policy/v1",
        "kind": "DeleteOptions",
        "gracePeriodSeconds": 300,
        "preconditions": {"uid": "u-1", "resourceVersion": "17"},
        "propagationPolicy": "Orphan",
        "dryRun": ["All"],
    }


def test_a_negative_grace() -> None:
    assert decode(message("v1", "DeleteOptions", b"\x08" + b"\xff" * 9 + b"\x01"))["gracePeriodSeconds"] == -1


def test_an_eviction() -> None:
    raw = field(1, field(1, b"web-0") + field(2, b"") + field(3, b"shop")) + field(2, b"\x08\x05")
    found = decode(message("policy/v1", "Eviction", raw))
    assert found["metadata"] == {"name": "web-0", "namespace": "shop"}
    assert found["deleteOptions"] == {"gracePeriodSeconds": 5}


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b'{"kind":"DeleteOptions"}', "expected prefix [107 56 115 0]"),
        (b"k8s\0\xff", "unexpected EOF"),
        (b"k8s\0\x12\x05ab", "unexpected EOF"),
        (message("v1", "Pod", b""), "no Pod in protobuf"),
    ],
)
def test_what_cannot_be_read_is_a_bad_request(body: bytes, said: str) -> None:
    with pytest.raises(ApiError) as refused:
        decode(body)
    assert refused.value.code == 400
    assert said in refused.value.message
