"""Which versions of an API group a cluster serves."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from shared.kube.connection import Kube
from shared.kube.errors import KubeUnavailable, NoSuchApi
from shared.kube.objects import Struct


class _Version(Struct, frozen=True):
    version: str = ""


class _Group(Struct, frozen=True):
    versions: list[_Version] = []


_decoder = msgspec.json.Decoder(_Group)


def versions_of(kube: Kube, path: str, known: Sequence[str]) -> list[str]:
    """Those of the ``known`` versions that the group at ``path`` (``/apis/metrics.k8s.io``) serves, in their order.

    Raises:
        NoSuchApi: the cluster has no such group, or in none of these versions.
        KubeUnavailable: the answer is no API group.
        Whatever ``Kube.call`` raises.
    """
    try:
        served = [one.version for one in _decoder.decode(kube.get(path)).versions]
    except msgspec.DecodeError as error:
        raise KubeUnavailable(f"GET {path}: the answer is no API group: {error}") from error
    both = [version for version in known if version in served]
    if not both:
        raise NoSuchApi(f"GET {path}: it serves {', '.join(served) or 'nothing'}, we know {tuple(known)}")
    return both
