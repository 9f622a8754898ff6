"""Measured usage from metrics.k8s.io, in whichever version the cluster serves it (v1 since Kubernetes 1.37)."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import msgspec

from shared.basics.timing import Deadline
from shared.kube.connection import Kube
from shared.kube.decoding import Decoder, Undecodable, parts
from shared.kube.errors import KubeUnavailable
from shared.kube.groups import versions_of
from shared.kube.objects import Meta, Struct
from shared.kube.quantity import read_quantity
from shared.kube.reads import Resource
from shared.kube.resources import CPU, MEMORY, NANO

GROUP = "/apis/metrics.k8s.io"

_VERSIONS = ("v1", "v1beta1")
"""Those that we can read, the best first; they are alike in all that we read."""

_ITEMS = b'"items":['
_NEXT = b',{"metadata":{'
_LONGEST_ITEM = 8 * 1024 * 1024

_logger = logging.getLogger(__name__)


class _NodeMetrics(Struct, frozen=True):
    metadata: Meta
    usage: dict[str, str] = {}


class _Name(Struct, frozen=True):
    name: str = ""
    namespace: str = ""


class _ContainerMetrics(Struct, frozen=True):
    usage: dict[str, str] = {}


class _PodMetrics(Struct, frozen=True):
    metadata: _Name
    containers: list[_ContainerMetrics] = []


_pods_decoder = msgspec.json.Decoder(list[_PodMetrics])
_pod_decoder = Decoder(_PodMetrics)


class Used(NamedTuple):
    """CPU in nanocores and memory in bytes; None is unknown, which is not zero."""

    cpu: int | None
    memory: int | None


UNKNOWN = Used(None, None)


class PodUsed(NamedTuple):
    """Usage of a pod's containers together."""

    namespace: str
    name: str
    used: Used


class UsageApi:
    """Reads usage. Which versions there are is asked once, and again after a failure.

    An APIService may announce a version that nobody serves: after a failure the other version has its turn.
    """

    def __init__(self, kube: Kube) -> None:
        self._kube = kube
        self._version: str | None = None
        self._failed: str | None = None

    def nodes(self) -> dict[str, Used]:
        """Usage by node; of nodes that could not be measured there is none.

        Raises:
            NoSuchApi: the cluster has no metrics.k8s.io, or none that we know.
            Whatever ``Kube.call`` raises.
        """
        with self._asked("nodes") as path:
            items = Resource(self._kube, path, _NodeMetrics).latest()
        return {item.metadata.name: known for item in items if (known := used(item.usage)) != UNKNOWN}

    def pods(self, silence: float, deadline: Deadline) -> Iterator[list[PodUsed]]:
        """Usage of all pods, a few hundred at a time: metrics-server knows no pages, and 150,000 pods are 70 MB.

        Raises:
            NoSuchApi: the cluster has no metrics.k8s.io, or none that we know.
            KubeUnavailable: nothing came for ``silence`` seconds, or not all by the ``deadline``, or no list.
            Whatever ``Kube.call`` raises.
        """
        with self._asked("pods") as path:
            for items in _items(path, self._in_time(path, silence, deadline)):
                yield [PodUsed(one.metadata.namespace, one.metadata.name, _together(one.containers)) for one in items]

    def _in_time(self, path: str, silence: float, deadline: Deadline) -> Iterator[bytes]:
        for chunk in self._kube.chunks(path, {}, silence):
            yield chunk
            if deadline.expired:
                raise KubeUnavailable(f"GET {path}: the answer drips in too slowly")

    def version(self) -> str:
        """The version to ask for. Raises what ``nodes`` raises."""
        if self._version is None:
            known = versions_of(self._kube, GROUP, _VERSIONS)
            self._version = next((version for version in known if version != self._failed), known[0])
            _logger.debug("usage is read from metrics.k8s.io/%s", self._version)
        return self._version

    @contextlib.contextmanager
    def _asked(self, resource: str) -> Iterator[str]:
        """The path to ask."""
        try:
            yield f"{GROUP}/{self.version()}/{resource}"
        except KubeUnavailable:
            self._failed, self._version = self._version, None
            raise


def used(quantities: dict[str, str]) -> Used:
    """What a list of quantities says; what it does not name, or not as a quantity, is unknown."""
    return Used(_scaled(quantities.get(CPU), NANO), _scaled(quantities.get(MEMORY), 1))


def _items(path: str, chunks: Iterable[bytes]) -> Iterator[list[_PodMetrics]]:
    """The items of a list that is read in ``chunks``, as they come.

    The API server writes no space between them, and within a string its quotes are escaped, so what begins an item
    occurs nowhere else. A server that writes otherwise cannot be read, which is an error and no harm.
    """
    rest, begun = b"", False
    for chunk in chunks:
        rest += chunk
        if not begun:
            _, found, after = rest.partition(_ITEMS)
            begun, rest = bool(found), after if found else rest
        if begun and (end := rest.rfind(_NEXT)) > 0:
            yield _decode(rest[:end])
            rest = rest[end + 1 :]
        if len(rest) > _LONGEST_ITEM:
            raise KubeUnavailable(f"GET {path}: more than {_LONGEST_ITEM} bytes, and no item of a list")
    if begun:
        yield _decode(rest[: rest.rfind(b"]")])


def _decode(items: bytes) -> list[_PodMetrics]:
    """The items that can be read; usage of the others is unknown."""
    whole = b"[%b]" % items
    try:
        return _pods_decoder.decode(whole)
    except (msgspec.DecodeError, RecursionError):
        return [item for raw in parts(whole) if (item := _decode_one(raw)) is not None]


def _decode_one(raw: bytes) -> _PodMetrics | None:
    try:
        return _pod_decoder(raw)
    except Undecodable as error:
        _logger.debug("usage of a pod cannot be read: %s", error)
        return None


def _together(containers: list[_ContainerMetrics]) -> Used:
    """The sum; unknown where it is of any container."""
    cpu: int | None = 0
    memory: int | None = 0
    for container in containers:
        one = used(container.usage)
        cpu = None if cpu is None or one.cpu is None else cpu + one.cpu
        memory = None if memory is None or one.memory is None else memory + one.memory
    return Used(cpu, memory)


def _scaled(quantity: str | None, unit: int) -> int | None:
    if quantity is None:
        return None
    try:
        return round(read_quantity(quantity) * unit)  # Not twice the same, so none is kept.
    except (ValueError, OverflowError):
        return None
