"""Devices of ResourceClaims, in whichever version they are served."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from shared.kube.claims import claimed_devices
from shared.kube.errors import Forbidden, KubeUnavailable, NoSuchApi
from tests.unit.conftest import OddServer, http, kube_of


def group(*versions: str) -> bytes:
    named = [{"groupVersion": f"resource.k8s.io/{version}", "version": version} for version in versions]
    return http(200, json.dumps({"kind": "APIGroup", "name": "resource.k8s.io", "versions": named}).encode())


def claim(name: str, *drivers: str, status: dict[str, Any] | None = None) -> dict[str, Any]:
    results = [{"request": "gpu", "driver": driver, "pool": "node-1", "device": f"gpu-{driver}"} for driver in drivers]
    allocated = {"allocation": {"devices": {"results": results}}} if drivers else {}
    return {"metadata": {"name": name, "namespace": "ml"}, "spec": {}, "status": status or allocated}


def claims(*items: Any, following: str = "") -> bytes:
    metadata = {"resourceVersion": "1", **({"continue": following} if following else {})}
    return http(200, json.dumps({"kind": "ResourceClaimList", "metadata": metadata, "items": items}).encode())


def test_devices_are_counted_by_driver_over_all_pages(tmp_path: Path) -> None:
    first = claims(claim("a", "gpu.nvidia.com", "gpu.nvidia.com"), claim("waiting"), following="more")
    second = claims(claim("b", "gpu.nvidia.com"), claim("c", "tpu.google.com"))
    with OddServer(group("v1", "v1beta1"), first, second) as server:
        assert claimed_devices(kube_of(server.url, tmp_path)) == {"gpu.nvidia.com": 3, "tpu.google.com": 1}
        assert server.requests[1].startswith(b"GET /apis/resource.k8s.io/v1/resourceclaims?")


@pytest.mark.parametrize(
    ("served", "asked"),
    [(("v1beta1",), b"v1beta1"), (("v1beta1", "v1beta2"), b"v1beta2"), (("v1alpha3", "v1"), b"v1")],
)
def test_the_best_version_that_is_served_is_asked_for(served: tuple[str, ...], asked: bytes, tmp_path: Path) -> None:
    with OddServer(group(*served), claims()) as server:
        assert claimed_devices(kube_of(server.url, tmp_path)) == {}
        assert server.requests[1].startswith(b"GET /apis/resource.k8s.io/%b/resourceclaims?" % asked)


def test_what_cannot_be_read_is_passed_over(tmp_path: Path) -> None:
    odd = [
        claim("a", status={"allocation": {"devices": {"results": "none"}}}),
        claim("b", status={"allocation": {}}),
        claim("c", status={"allocation": {"devices": {"results": None}}}),
    ]
    with OddServer(group("v1"), claims(*odd, claim("d", "gpu.nvidia.com"))) as server:
        assert claimed_devices(kube_of(server.url, tmp_path)) == {"gpu.nvidia.com": 1}


def test_a_cluster_without_the_api_or_with_none_that_we_know_says_so(tmp_path: Path) -> None:
    with OddServer(http(404)) as server, pytest.raises(NoSuchApi):
        claimed_devices(kube_of(server.url, tmp_path))
    with OddServer(group("v1alpha2")) as server, pytest.raises(NoSuchApi, match="it serves v1alpha2"):
        claimed_devices(kube_of(server.url, tmp_path))
    with OddServer(http(200, b"<html>")) as server, pytest.raises(KubeUnavailable, match="no API group"):
        claimed_devices(kube_of(server.url, tmp_path))


def test_who_may_not_list_them_is_told(tmp_path: Path) -> None:
    refusal = b'{"kind":"Status","reason":"Forbidden","message":"not you"}'
    with OddServer(group("v1"), http(403, refusal)) as server, pytest.raises(Forbidden):
        claimed_devices(kube_of(server.url, tmp_path))
