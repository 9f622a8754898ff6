"""Devices that pods have by Dynamic Resource Allocation: those of ResourceClaims (resource.k8s.io, GA in 1.34)."""

from __future__ import annotations

from collections import Counter

from shared.kube.connection import Kube
from shared.kube.groups import versions_of
from shared.kube.objects import Meta, Struct
from shared.kube.reads import Resource

GROUP = "/apis/resource.k8s.io"

_VERSIONS = ("v1", "v1beta2", "v1beta1")
"""Those that we can read, the best first; they are alike in all that we read."""


class _Result(Struct, frozen=True):
    driver: str = ""


class _Devices(Struct, frozen=True):
    results: list[_Result] | None = None


class _Allocation(Struct, frozen=True):
    devices: _Devices = _Devices()


class _Status(Struct, frozen=True):
    allocation: _Allocation | None = None


class _Claim(Struct, frozen=True):
    metadata: Meta
    status: _Status = _Status()


def claimed_devices(kube: Kube) -> dict[str, int]:
    """How many devices of each driver (``gpu.nvidia.com``) are allocated to claims.

    Raises:
        NoSuchApi: the cluster has no such API, or none that we know.
        Forbidden: claims may not be listed; the component device-claims allows it.
        Whatever ``Kube.call`` raises.
    """
    version, *_ = versions_of(kube, GROUP, _VERSIONS)
    path = f"{GROUP}/{version}/resourceclaims"
    counted: Counter[str] = Counter()
    for page in Resource(kube, path, _Claim).pages():
        for claim in page.items:
            if claim.status.allocation is not None:
                counted.update(result.driver for result in claim.status.allocation.devices.results or ())
    return dict(counted)
