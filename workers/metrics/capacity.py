"""What a node is: spot or on-demand, which type, where, from whom. Pure; the labels are those of the clouds."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import NamedTuple

from shared.kube.nodes import Node


class Capacity(Enum):
    """How the node's capacity was bought."""

    SPOT = "spot"
    ON_DEMAND = "on_demand"
    UNKNOWN = "unknown"
    """No label says; counted as on-demand where there are only two kinds."""


_RULES: tuple[tuple[str, Mapping[str, Capacity] | Capacity], ...] = (
    (
        "karpenter.sh/capacity-type",
        {"spot": Capacity.SPOT, "on-demand": Capacity.ON_DEMAND, "reserved": Capacity.ON_DEMAND},
    ),
    (
        "eks.amazonaws.com/capacitytype",
        {"spot": Capacity.SPOT, "on_demand": Capacity.ON_DEMAND, "capacity_block": Capacity.ON_DEMAND},
    ),
    ("cloud.google.com/gke-spot", {"true": Capacity.SPOT}),
    ("cloud.google.com/gke-preemptible", {"true": Capacity.SPOT}),
    (
        "cloud.google.com/gke-provisioning",
        {"spot": Capacity.SPOT, "preemptible": Capacity.SPOT, "standard": Capacity.ON_DEMAND},
    ),
    ("kubernetes.azure.com/scalesetpriority", {"spot": Capacity.SPOT, "regular": Capacity.ON_DEMAND}),
    ("oci.oraclecloud.com/oke-is-preemptible", {"true": Capacity.SPOT, "false": Capacity.ON_DEMAND}),
    ("cluster.x-k8s.io/interruptible", Capacity.SPOT),
    ("spotinst.io/node-lifecycle", {"spot": Capacity.SPOT, "od": Capacity.ON_DEMAND}),
    ("scheduling.cast.ai/spot", {"true": Capacity.SPOT}),
    ("node.kubernetes.io/lifecycle", {"spot": Capacity.SPOT, "normal": Capacity.ON_DEMAND}),
    ("lifecycle", {"ec2spot": Capacity.SPOT, "ondemand": Capacity.ON_DEMAND}),
    ("spot", {"true": Capacity.SPOT}),
)
"""Label, lower-cased, to what its values mean, lower-cased, or its presence. The first whose value is known wins."""

_PROVIDERS = {"gce": "gcp", "ocid1": "oci", "digitalocean": "digitalocean"}
"""Prefixes of spec.providerID that are not the provider's usual name."""


class Identity(NamedTuple):
    """What a node is, as far as its price and its place in the counts go. Interned by equality."""

    provider: str
    region: str
    zone: str
    instance_type: str
    capacity: Capacity
    os: str


def identity(node: Node, spot_label: tuple[str, str] | None = None) -> Identity:
    """Read it off the node's labels and provider id; what is not said is an empty string."""
    labels = node.metadata.labels or {}
    return Identity(
        provider=provider(node.spec.provider_id),
        region=_first(labels, "topology.kubernetes.io/region", "failure-domain.beta.kubernetes.io/region"),
        zone=_first(labels, "topology.kubernetes.io/zone", "failure-domain.beta.kubernetes.io/zone"),
        instance_type=_first(labels, "node.kubernetes.io/instance-type", "beta.kubernetes.io/instance-type"),
        capacity=capacity(labels, spot_label),
        os=_first(labels, "kubernetes.io/os", "beta.kubernetes.io/os") or "linux",
    )


def capacity(labels: Mapping[str, str], spot_label: tuple[str, str] | None = None) -> Capacity:
    """Spot, on-demand, or unknown when no label says. ``spot_label`` is the operator's own key and value."""
    if spot_label is not None and labels.get(spot_label[0]) == spot_label[1]:
        return Capacity.SPOT
    lowered = {key.lower(): value.lower() for key, value in labels.items()}
    for label, meanings in _RULES:
        if label in lowered:
            meaning = meanings if isinstance(meanings, Capacity) else meanings.get(lowered[label])
            if meaning is not None:
                return meaning
    return Capacity.UNKNOWN


def provider(provider_id: str) -> str:
    """``aws``, ``gcp``, ``azure``, ``oci``, ... from a provider id such as ``aws:///eu-west-1a/i-0abc``."""
    prefix = provider_id.partition(":")[0].partition(".")[0].lower() if provider_id else ""
    return _PROVIDERS.get(prefix, prefix)


def _first(labels: Mapping[str, str], *keys: str) -> str:
    return next((labels[key] for key in keys if labels.get(key)), "")
