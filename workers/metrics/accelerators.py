"""GPUs and other accelerators: what a node offers of them, and of which model. Pure.

Device plugins offer them as extended resources, in whole numbers; which names there are is each plugin's own
documentation: nvidia (k8s-device-plugin, with MIG and time-slicing), amd, intel, habana, AWS Neuron, Google TPU.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

_NAMES = (
    "nvidia.com/gpu",
    "nvidia.com/gpu.shared",
    "nvidia.com/mig-",
    "amd.com/",
    "google.com/tpu",
    "gpu.intel.com/i915",
    "gpu.intel.com/xe",
    "habana.ai/gaudi",
    "aws.amazon.com/neuron",
)
"""What the names of accelerators are, or begin with where they end in ``-`` or ``/``."""

_SLICES = 7
"""Compute slices of a card in MIG mode (docs.nvidia.com/datacenter/tesla/mig-user-guide)."""

_SLICE = re.compile(r"nvidia\.com/mig-([1-7])g\.")

_SAME_HARDWARE = ("aws.amazon.com/neuron", "aws.amazon.com/neurondevice", "aws.amazon.com/neuroncore")
"""Neuron's plugin offers its devices under these names at once; the first that is there counts."""

_MODEL_LABELS = (
    "cloud.google.com/gke-accelerator",
    "cloud.google.com/gke-tpu-accelerator",
    "nvidia.com/gpu.product",
    "karpenter.k8s.aws/instance-gpu-name",
    "karpenter.k8s.aws/instance-accelerator-name",
    "eks.amazonaws.com/instance-gpu-name",
    "eks.amazonaws.com/instance-accelerator-name",
    "karpenter.azure.com/sku-gpu-name",
    "amd.com/gpu.product-name",
    "k8s.amazonaws.com/accelerator",
)
"""Who says the model, in this order."""

_COUNT_LABELS = ("nvidia.com/gpu.count", "cloud.google.com/gke-accelerator-count")
"""How many cards there are, where sharing makes more of them in allocatable."""

_SHARED = "cloud.google.com/gke-max-shared-clients-per-gpu"


class Accelerator(NamedTuple):
    """One kind of accelerator on a node.

    ``units`` are what pods can request of ``resource``; ``cards`` how much hardware that is, which is less where
    cards are shared. Both are 0 for a card whose driver is not there (yet): only a label speaks of it.
    """

    resource: str
    model: str
    units: int
    cards: int

    @property
    def paid(self) -> float:
        """How many whole cards that is, in money: a slice of 3g is three sevenths. One, where nobody says a number."""
        slice_ = _SLICE.match(self.resource)
        return max(1, self.cards) * (int(slice_[1]) / _SLICES if slice_ else 1.0)

    also: tuple[tuple[str, int], ...] = ()
    """Other resources by which pods can request the same hardware, with their units."""


def is_accelerator(resource: str) -> bool:
    """Whether an extended resource, in allocatable or in a pod's requests, is an accelerator."""
    return any(resource.startswith(name) if name[-1] in "-/" else resource == name for name in _NAMES) or (
        resource in _SAME_HARDWARE
    )


def accelerators(allocatable: Mapping[str, str], labels: Mapping[str, str]) -> tuple[Accelerator, ...]:
    """What a node with these allocatable resources and labels has, by the name of the resource."""
    offered = {name: _whole(amount) for name, amount in allocatable.items() if is_accelerator(name)}
    names = [name for name in _SAME_HARDWARE if offered.get(name)]
    also = {name: tuple([(other, offered.pop(other)) for other in names[1:]]) for name in names[:1]}
    model = next((labels[label].lower() for label in _MODEL_LABELS if labels.get(label)), "")
    found = tuple(
        Accelerator(name, model, count, _cards(name, count, labels), also.get(name, ()))
        for name, count in sorted(offered.items())
        if count
    )
    if not found and model:
        return (Accelerator("", model, 0, _labelled(labels)),)
    return found


def _cards(resource: str, count: int, labels: Mapping[str, str]) -> int:
    if resource.startswith("nvidia.com/mig-"):
        return count
    if labelled := _labelled(labels):
        return min(labelled, count)
    return max(1, count // max(1, _whole(labels.get(_SHARED, "1"))))


def _labelled(labels: Mapping[str, str]) -> int:
    return next((number for label in _COUNT_LABELS if (number := _whole(labels.get(label, "0")))), 0)


def _whole(text: str) -> int:
    """Extended resources are whole numbers, if perhaps ``1k``; anything else is none."""
    number, thousands = (text[:-1], 1000) if text.endswith("k") else (text, 1)
    return int(number) * thousands if number.isascii() and number.isdigit() and len(number) < 10 else 0
