"""What a node is: a machine or not, spot or on-demand, which type, where, from whom. Pure; by the clouds' labels."""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import Enum
from typing import NamedTuple

from shared.kube.nodes import Node
from workers.metrics.accelerators import Accelerator, accelerators


class Capacity(Enum):
    """How the node's capacity was bought."""

    SPOT = "spot"
    ON_DEMAND = "on_demand"
    UNKNOWN = "unknown"
    """No label says; counted as on-demand where there are only two kinds."""


class Kind(Enum):
    """Whether there is a machine behind the node. Only machines have capacity and a price."""

    MACHINE = "machine"
    VIRTUAL = "virtual"
    """A virtual kubelet, AWS Fargate, an OCI virtual node: its capacity is made up, and its pods are billed."""
    KWOK = "kwok"
    """A simulated node."""


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
    ("lifecycle", {"ec2spot": Capacity.SPOT, "spot": Capacity.SPOT, "ondemand": Capacity.ON_DEMAND}),
    ("spot", {"true": Capacity.SPOT, "yes": Capacity.SPOT}),
    ("machine.openshift.io/interruptible-instance", Capacity.SPOT),
    ("node-role.kubernetes.io/spot-worker", Capacity.SPOT),
)
"""Label, lower-cased, to what its values mean, lower-cased, or its presence. The first whose value is known wins."""

_PREFIXES = {
    "gce": "gcp",
    "alicloud": "alibaba",
    "alibabacloud": "alibaba",
    "qcloud": "tencent",
    "ibmvpc": "ibm",
    "hcloud": "hetzner",
}
"""Prefixes of spec.providerID that are not the provider's usual name."""

_BARE_IDS = (
    (re.compile(r"ocid1\."), "oci"),
    # Alibaba's cloud provider writes region and instance: cn-hangzhou.i-bp1f2c5e6d7a8b9c0d1e
    (re.compile(r"[a-z]{2}-[a-z0-9-]+\.[a-z]+-[a-z0-9]+$"), "alibaba"),
)
"""Provider ids that are no URL."""

_LABELLED = (
    ("eks.amazonaws.com/", "aws"),
    ("karpenter.k8s.aws/", "aws"),
    ("k8s.io/cloud-provider-aws", "aws"),
    ("cloud.google.com/gke-", "gcp"),
    ("kubernetes.azure.com/", "azure"),
    ("oci.oraclecloud.com/", "oci"),
    ("alibabacloud.com/", "alibaba"),
    ("ack.aliyun.com", "alibaba"),
    ("doks.digitalocean.com/", "digitalocean"),
    ("lke.linode.com/", "linode"),
    ("k8s.scaleway.com/", "scaleway"),
    ("vke.vultr.com/", "vultr"),
    ("ibm-cloud.kubernetes.io/", "ibm"),
    ("csi.hetzner.cloud/", "hetzner"),
)
"""Beginnings of labels that only one provider's nodes have, for nodes without a provider id."""

HYBRID = "eks-hybrid"
"""A machine of the owner's in an EKS cluster."""


class Identity(NamedTuple):
    """What a node is, as far as its price and its place in the counts go. Interned by equality."""

    provider: str
    region: str
    zone: str
    instance_type: str
    capacity: Capacity
    os: str
    kind: Kind = Kind.MACHINE
    accelerators: tuple[Accelerator, ...] = ()


def identity(node: Node, spot_label: tuple[str, str] | None = None) -> Identity:
    """Read it off the node's labels, provider id and resources; what is not said is an empty string."""
    labels = node.metadata.labels or {}
    return Identity(
        provider=provider(node.spec.provider_id, labels),
        region=_first(labels, "topology.kubernetes.io/region", "failure-domain.beta.kubernetes.io/region"),
        zone=_first(labels, "topology.kubernetes.io/zone", "failure-domain.beta.kubernetes.io/zone"),
        instance_type=_first(labels, "node.kubernetes.io/instance-type", "beta.kubernetes.io/instance-type"),
        capacity=capacity(labels, spot_label),
        os=_first(labels, "kubernetes.io/os", "beta.kubernetes.io/os") or "linux",
        kind=kind(node),
        accelerators=accelerators(node.status.allocatable, labels),
    )


def kind(node: Node) -> Kind:
    """Whether there is a machine behind the node.

    Virtual kubelets label themselves ``type=virtual-kubelet`` (virtual-kubelet's own default, also Azure's,
    Alibaba's and Huawei's); kwok's nodes carry ``type=kwok`` or its annotation.
    """
    labels, annotations, id_ = node.metadata.labels or {}, node.metadata.annotations or {}, node.spec.provider_id
    declared = labels.get("type", "").lower()
    if declared == "kwok" or "kwok.x-k8s.io/node" in annotations or id_.startswith(("kwok:", "kubemark:")):
        return Kind.KWOK
    if (
        declared in ("virtual-kubelet", "virtual-node")
        or labels.get("liqo.io/type") == "virtual-node"
        or is_fargate(labels)
        or id_.startswith("ocid1.virtualnode.")
    ):
        return Kind.VIRTUAL
    return Kind.MACHINE


def is_fargate(labels: Mapping[str, str]) -> bool:
    """Whether it is a node of AWS Fargate, which runs one pod and is billed by it."""
    return labels.get("eks.amazonaws.com/compute-type", "").lower() == "fargate"


def capacity(labels: Mapping[str, str], spot_label: tuple[str, str] | None = None) -> Capacity:
    """Spot, on-demand, or unknown when no label says. ``spot_label`` is the operator's own key and value."""
    lowered = {key.lower(): value.lower() for key, value in labels.items()}
    if spot_label is not None and lowered.get(spot_label[0].lower()) == spot_label[1].lower():
        return Capacity.SPOT
    for label, meanings in _RULES:
        if label in lowered:
            meaning = meanings if isinstance(meanings, Capacity) else meanings.get(lowered[label])
            if meaning is not None:
                return meaning
    return Capacity.UNKNOWN


def provider(provider_id: str, labels: Mapping[str, str]) -> str:
    """``aws``, ``gcp``, ``azure``, ``oci``, ``alibaba``, ... from a provider id such as ``aws:///eu-west-1a/i-0abc``.

    Where there is none, from the labels that only one provider's nodes have; empty where those say nothing either.
    """
    scheme, separator, _ = provider_id.lower().partition("://")
    if separator:
        return _PREFIXES.get(scheme, scheme)
    for form, name in _BARE_IDS:
        if form.match(provider_id):
            return name
    if labels.get("eks.amazonaws.com/compute-type", "").lower() == "hybrid":
        return HYBRID
    return next((name for beginning, name in _LABELLED for label in labels if label.startswith(beginning)), "")


def _first(labels: Mapping[str, str], *keys: str) -> str:
    return next((labels[key] for key in keys if labels.get(key)), "")
