"""Measured usage of nodes from metrics.k8s.io, where the cluster has it."""

from __future__ import annotations

import logging

from shared.basics.errors import AgentError
from shared.kube.connection import Kube
from shared.kube.objects import Meta, Struct
from shared.kube.reads import Resource
from shared.kube.resources import Amount, amount

PATH = "/apis/metrics.k8s.io/v1beta1/nodes"

_logger = logging.getLogger(__name__)


class NodeUsage(Struct, frozen=True):
    """One entry of the nodes' metrics."""

    metadata: Meta
    usage: dict[str, str] = {}


def read_usage(kube: Kube) -> dict[str, Amount]:
    """Usage by node name; empty where metrics.k8s.io is absent or fails, which is nobody's error here."""
    try:
        items = Resource(kube, PATH, NodeUsage).latest()
    except AgentError as error:
        _logger.debug("no usage: %s", error)
        return {}
    return {item.metadata.name: amount(item.usage) for item in items}
