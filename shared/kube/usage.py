"""Measured usage from metrics.k8s.io, in whichever version the cluster serves it (v1 since Kubernetes 1.37)."""

from __future__ import annotations

import logging
from typing import NamedTuple

import msgspec

from shared.kube.connection import Kube
from shared.kube.errors import KubeUnavailable, NotFound
from shared.kube.objects import Meta, Struct
from shared.kube.quantity import parse_quantity
from shared.kube.reads import Resource
from shared.kube.resources import CPU, MEMORY, NANO

GROUP = "/apis/metrics.k8s.io"

_VERSIONS = ("v1", "v1beta1")
"""Those that we can read, the best first; they are alike in all that we read."""

_logger = logging.getLogger(__name__)


class _Version(Struct, frozen=True):
    version: str = ""


class _Group(Struct, frozen=True):
    versions: list[_Version] = []


class _NodeMetrics(Struct, frozen=True):
    metadata: Meta
    usage: dict[str, str] = {}


_group_decoder = msgspec.json.Decoder(_Group)


class Used(NamedTuple):
    """CPU in nanocores and memory in bytes; None is unknown, which is not zero."""

    cpu: int | None
    memory: int | None


UNKNOWN = Used(None, None)


class UsageApi:
    """Reads usage. The version is asked for once, and again when it is not served any more."""

    def __init__(self, kube: Kube) -> None:
        self._kube = kube
        self._version: str | None = None

    def nodes(self) -> dict[str, Used]:
        """Usage by node; of nodes that could not be measured there is none.

        Raises:
            NotFound: the cluster has no metrics.k8s.io, or none that we know.
            Whatever ``Kube.call`` raises.
        """
        try:
            items = Resource(self._kube, f"{GROUP}/{self.version()}/nodes", _NodeMetrics).latest()
        except NotFound:
            self._version = None
            raise
        return {item.metadata.name: known for item in items if (known := used(item.usage)) != UNKNOWN}

    def version(self) -> str:
        """The version to ask for. Raises what ``nodes`` raises."""
        if self._version is None:
            served = self._served()
            known = [version for version in _VERSIONS if version in served]
            if not known:
                raise NotFound(f"GET {GROUP}: it serves {', '.join(served) or 'nothing'}, we know {_VERSIONS}")
            self._version = known[0]
            _logger.info("usage is read from metrics.k8s.io/%s", self._version)
        return self._version

    def _served(self) -> list[str]:
        try:
            return [one.version for one in _group_decoder.decode(self._kube.get(GROUP)).versions]
        except msgspec.DecodeError as error:
            raise KubeUnavailable(f"GET {GROUP}: the answer is no API group: {error}") from error


def used(quantities: dict[str, str]) -> Used:
    """What a list of quantities says; what it does not name, or not as a quantity, is unknown."""
    return Used(_scaled(quantities.get(CPU), NANO), _scaled(quantities.get(MEMORY), 1))


def _scaled(quantity: str | None, unit: int) -> int | None:
    if quantity is None:
        return None
    try:
        return round(parse_quantity(quantity) * unit)
    except (ValueError, OverflowError):
        return None
