"""Spot or on-demand, type, place and provider, by the labels the clouds and tools really set."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.workers.metrics.conftest import node
from workers.metrics.capacity import HYBRID, Capacity, Identity, Kind, capacity, identity, provider

SPOT, ON_DEMAND, UNKNOWN = Capacity.SPOT, Capacity.ON_DEMAND, Capacity.UNKNOWN

EKS_COMMON = {
    "beta.kubernetes.io/arch": "amd64",
    "beta.kubernetes.io/os": "linux",
    "kubernetes.io/os": "linux",
    "kubernetes.io/hostname": "ip-10-0-1-2.eu-west-1.compute.internal",
    "node.kubernetes.io/instance-type": "m5.large",
    "topology.kubernetes.io/region": "eu-west-1",
    "topology.kubernetes.io/zone": "eu-west-1b",
    "k8s.io/cloud-provider-aws": "0123456789abcdef",
}

NODES: dict[str, tuple[dict[str, str], Capacity]] = {
    "EKS managed, spot": (
        {**EKS_COMMON, "eks.amazonaws.com/nodegroup": "ng", "eks.amazonaws.com/capacityType": "SPOT"}, SPOT),
    "EKS managed, on demand": (
        {**EKS_COMMON, "eks.amazonaws.com/nodegroup": "ng", "eks.amazonaws.com/capacityType": "ON_DEMAND"}, ON_DEMAND),
    "EKS managed, capacity block": ({"eks.amazonaws.com/capacityType": "CAPACITY_BLOCK"}, ON_DEMAND),
    "EKS Auto Mode": (
        {"eks.amazonaws.com/compute-type": "auto", "karpenter.sh/capacity-type": "spot",
         "karpenter.sh/nodepool": "general-purpose"}, SPOT),
    "EKS self-managed": ({**EKS_COMMON, "node.kubernetes.io/lifecycle": "spot"}, SPOT),
    "EKS self-managed, normal": ({**EKS_COMMON, "node.kubernetes.io/lifecycle": "normal"}, ON_DEMAND),
    "EKS without a word": (EKS_COMMON, UNKNOWN),
    "Fargate": ({"eks.amazonaws.com/compute-type": "fargate"}, UNKNOWN),
    "Karpenter, spot": (
        {"karpenter.sh/capacity-type": "spot", "karpenter.sh/nodepool": "default",
         "karpenter.k8s.aws/instance-family": "m5"}, SPOT),
    "Karpenter, on demand": ({"karpenter.sh/capacity-type": "on-demand"}, ON_DEMAND),
    "Karpenter, reserved": ({"karpenter.sh/capacity-type": "reserved"}, ON_DEMAND),
    "GKE spot": (
        {"cloud.google.com/gke-nodepool": "pool-1", "cloud.google.com/gke-spot": "true",
         "cloud.google.com/gke-provisioning": "spot"}, SPOT),
    "GKE preemptible": ({"cloud.google.com/gke-preemptible": "true"}, SPOT),
    "GKE provisioning spot": ({"cloud.google.com/gke-provisioning": "spot"}, SPOT),
    "GKE provisioning preemptible": ({"cloud.google.com/gke-provisioning": "preemptible"}, SPOT),
    "GKE standard": (
        {"cloud.google.com/gke-nodepool": "pool-1", "cloud.google.com/gke-provisioning": "standard"}, ON_DEMAND),
    "GKE not spot": ({"cloud.google.com/gke-spot": "false"}, UNKNOWN),
    "AKS spot": (
        {"kubernetes.azure.com/scalesetpriority": "spot", "kubernetes.azure.com/agentpool": "spotpool"}, SPOT),
    "AKS regular": ({"kubernetes.azure.com/scalesetpriority": "regular"}, ON_DEMAND),
    "AKS without a word": ({"kubernetes.azure.com/agentpool": "nodepool1"}, UNKNOWN),
    "OKE preemptible": ({"oci.oraclecloud.com/oke-is-preemptible": "true"}, SPOT),
    "OKE not preemptible": ({"oci.oraclecloud.com/oke-is-preemptible": "false"}, ON_DEMAND),
    "kOps": ({"kops.k8s.io/instancegroup": "nodes", "spot": "true"}, SPOT),
    "kOps lifecycle": ({"node-role.kubernetes.io/spot-worker": "true", "spot": "True"}, SPOT),
    "Spot.io spot": ({"spotinst.io/node-lifecycle": "spot"}, SPOT),
    "Spot.io on demand": ({"spotinst.io/node-lifecycle": "od"}, ON_DEMAND),
    "CAST AI": ({"scheduling.cast.ai/spot": "true", "provisioner.cast.ai/managed-by": "cast.ai"}, SPOT),
    "Cluster API": ({"cluster.x-k8s.io/interruptible": ""}, SPOT),
    "Cluster API, whatever it says": ({"cluster.x-k8s.io/interruptible": "false"}, SPOT),
    "old EC2 spot": ({"lifecycle": "Ec2Spot"}, SPOT),
    "old EC2 on demand": ({"lifecycle": "OnDemand"}, ON_DEMAND),
    "shouting": ({"node.kubernetes.io/lifecycle": "SPOT"}, SPOT),
    "nothing at all": ({}, UNKNOWN),
    "OpenShift machine": ({"machine.openshift.io/interruptible-instance": ""}, SPOT),
    "OpenShift, ROSA": ({"node-role.kubernetes.io/spot-worker": ""}, SPOT),
    "kOps, by hand": ({"spot": "yes"}, SPOT),
    "plain lifecycle": ({"lifecycle": "Spot"}, SPOT),
    "a value nobody knows": ({"karpenter.sh/capacity-type": "leased"}, UNKNOWN),
    "a value nobody knows, and one somebody does": (
        {"karpenter.sh/capacity-type": "leased", "node.kubernetes.io/lifecycle": "spot"}, SPOT),
    "empty": ({"spot": ""}, UNKNOWN),
}  # fmt: skip


@pytest.mark.parametrize(("labels", "expected"), NODES.values(), ids=NODES)
def test_how_a_node_was_bought(labels: dict[str, str], expected: Capacity) -> None:
    assert capacity(labels) is expected


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ({"karpenter.sh/capacity-type": "on-demand", "eks.amazonaws.com/capacityType": "SPOT"}, ON_DEMAND),
        ({"eks.amazonaws.com/capacityType": "ON_DEMAND", "node.kubernetes.io/lifecycle": "spot"}, ON_DEMAND),
        ({"cluster.x-k8s.io/interruptible": "", "node.kubernetes.io/lifecycle": "normal"}, SPOT),
        ({"cluster.x-k8s.io/interruptible": "", "spotinst.io/node-lifecycle": "od"}, SPOT),
    ],
)
def test_of_labels_that_disagree_the_first_counts(labels: dict[str, str], expected: Capacity) -> None:
    assert capacity(labels) is expected
    assert capacity(dict(reversed(labels.items()))) is expected


def test_the_owners_own_label_comes_before_all_others() -> None:
    own = ("team.io/pool", "cheap")
    assert capacity({"team.io/pool": "cheap", "karpenter.sh/capacity-type": "on-demand"}, own) is SPOT
    assert capacity({"team.io/pool": "dear"}, own) is UNKNOWN
    assert capacity({"team.io/pool": "dear", "karpenter.sh/capacity-type": "spot"}, own) is SPOT
    assert capacity({}, own) is UNKNOWN


def test_the_owners_label_is_compared_without_regard_to_case() -> None:
    assert capacity({"Team.io/Pool": "CHEAP"}, ("team.io/pool", "Cheap")) is SPOT


@pytest.mark.parametrize(
    ("provider_id", "name"),
    [
        ("aws:///eu-west-1a/i-0abc", "aws"),
        ("gce://project/europe-west1-b/gke-node", "gcp"),
        ("azure:///subscriptions/x/resourceGroups/y", "azure"),
        ("ocid1.instance.oc1.eu-frankfurt-1.aaaa", "oci"),
        ("digitalocean://12345", "digitalocean"),
        ("kind://docker/kind/kind-control-plane", "kind"),
        ("k3s://node-1", "k3s"),
        ("AWS:///x", "aws"),
        ("cn-hangzhou.i-bp1f2c5e6d7a8b9c0d1e", "alibaba"),
        ("alicloud://cn-beijing.i-2zeabcdefgh", "alibaba"),
        ("qcloud:///800002/ins-abc", "tencent"),
        ("eks-hybrid:///eu-west-1/cluster/mi-0abc", HYBRID),
        ("3fa85f64-5717-4562-b3fc-2c963f66afa6", ""),
        ("", ""),
    ],
)
def test_the_provider_is_in_the_provider_id(provider_id: str, name: str) -> None:
    assert provider(provider_id, {}) == name


@pytest.mark.parametrize(
    ("labels", "name"),
    [
        ({"eks.amazonaws.com/nodegroup": "ng"}, "aws"),
        ({"eks.amazonaws.com/compute-type": "hybrid", "eks.amazonaws.com/hybrid-credential-provider": "ssm"}, HYBRID),
        ({"karpenter.k8s.aws/instance-family": "m5"}, "aws"),
        ({"cloud.google.com/gke-nodepool": "pool-1"}, "gcp"),
        ({"kubernetes.azure.com/agentpool": "np"}, "azure"),
        ({"oci.oraclecloud.com/fault-domain": "FAULT-DOMAIN-1"}, "oci"),
        ({"alibabacloud.com/nodepool-id": "np123"}, "alibaba"),
        ({"doks.digitalocean.com/node-pool": "pool"}, "digitalocean"),
        ({"kubernetes.io/os": "linux", "cloud.google.com/team": "web"}, ""),
    ],
)
def test_or_in_the_labels_that_only_one_providers_nodes_have(labels: dict[str, str], name: str) -> None:
    assert provider("", labels) == name
    assert provider("aws:///eu-west-1a/i-0abc", labels) == "aws", "the provider id comes first"


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"labels": {"type": "virtual-kubelet", "kubernetes.io/role": "agent"}}, Kind.VIRTUAL),
        ({"labels": {"type": "Virtual-Kubelet"}}, Kind.VIRTUAL),
        ({"labels": {"liqo.io/type": "virtual-node"}}, Kind.VIRTUAL),
        ({"labels": {"eks.amazonaws.com/compute-type": "fargate"}}, Kind.VIRTUAL),
        ({"provider_id": "ocid1.virtualnode.oc1.phx.aaaa"}, Kind.VIRTUAL),
        ({"labels": {"type": "kwok"}}, Kind.KWOK),
        ({"annotations": {"kwok.x-k8s.io/node": "fake"}}, Kind.KWOK),
        ({"provider_id": "kwok://node-1"}, Kind.KWOK),
        ({"labels": {"type": "worker"}}, Kind.MACHINE),
        ({"labels": {"eks.amazonaws.com/compute-type": "auto"}}, Kind.MACHINE),
        ({"labels": EKS_COMMON}, Kind.MACHINE),
    ],
)
def test_whether_there_is_a_machine(given: dict[str, Any], expected: Kind) -> None:
    assert identity(node(**given)).kind is expected


def test_an_identity_is_what_the_labels_say() -> None:
    labels = {**EKS_COMMON, "karpenter.sh/capacity-type": "spot"}
    assert identity(node(labels=labels)) == Identity("aws", "eu-west-1", "eu-west-1b", "m5.large", SPOT, "linux")


def test_old_labels_are_good_enough_where_there_are_no_new_ones() -> None:
    old = {
        "beta.kubernetes.io/instance-type": "n1-standard-4",
        "failure-domain.beta.kubernetes.io/region": "europe-west1",
        "failure-domain.beta.kubernetes.io/zone": "europe-west1-b",
        "beta.kubernetes.io/os": "windows",
    }
    assert identity(node(labels=old, provider_id="gce://p/z/n")) == Identity(
        "gcp", "europe-west1", "europe-west1-b", "n1-standard-4", UNKNOWN, "windows"
    )
    new = {
        "node.kubernetes.io/instance-type": "n2-standard-4",
        "topology.kubernetes.io/region": "europe-west4",
        "topology.kubernetes.io/zone": "europe-west4-a",
        "kubernetes.io/os": "linux",
    }
    assert identity(node(labels={**old, **new}, provider_id="gce://p/z/n")) == Identity(
        "gcp", "europe-west4", "europe-west4-a", "n2-standard-4", UNKNOWN, "linux"
    )


def test_a_node_that_says_nothing_is_a_linux_of_unknown_kind() -> None:
    assert identity(node(labels={}, provider_id="")) == Identity("", "", "", "", UNKNOWN, "linux")


def test_the_owners_own_label_is_part_of_the_identity() -> None:
    assert identity(node(labels={"pool": "cheap"}), ("pool", "cheap")).capacity is SPOT
