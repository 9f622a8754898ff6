"""What a node has of GPUs and their like, as device plugins offer it and labels name it."""

from __future__ import annotations

import pytest

from workers.metrics.accelerators import Accelerator, accelerators, is_accelerator

V100 = {"cloud.google.com/gke-accelerator": "nvidia-tesla-v100"}


@pytest.mark.parametrize(
    ("allocatable", "labels", "expected"),
    [
        ({"nvidia.com/gpu": "4"}, V100, ("nvidia.com/gpu", "nvidia-tesla-v100", 4, 4)),
        ({"nvidia.com/gpu": "1"}, {"nvidia.com/gpu.product": "NVIDIA-L4"}, ("nvidia.com/gpu", "nvidia-l4", 1, 1)),
        ({"nvidia.com/gpu": "2"}, {}, ("nvidia.com/gpu", "", 2, 2)),
        ({"amd.com/gpu": "8"}, {}, ("amd.com/gpu", "", 8, 8)),
        (
            {"google.com/tpu": "4"},
            {"cloud.google.com/gke-tpu-accelerator": "tpu-v5-lite-podslice"},
            ("google.com/tpu", "tpu-v5-lite-podslice", 4, 4),
        ),
        ({"gpu.intel.com/i915": "1"}, {}, ("gpu.intel.com/i915", "", 1, 1)),
        ({"habana.ai/gaudi": "8"}, {}, ("habana.ai/gaudi", "", 8, 8)),
        ({"nvidia.com/mig-1g.5gb": "7"}, {"nvidia.com/gpu.count": "1"}, ("nvidia.com/mig-1g.5gb", "", 7, 7)),
    ],
)
def test_what_plugins_offer(
    allocatable: dict[str, str], labels: dict[str, str], expected: tuple[str, str, int, int]
) -> None:
    assert accelerators({"cpu": "8", "memory": "30Gi", **allocatable}, labels) == (Accelerator(*expected),)


def test_neuron_devices_and_their_cores_are_the_same_hardware() -> None:
    offered = {"aws.amazon.com/neuroncore": "32", "aws.amazon.com/neurondevice": "16", "aws.amazon.com/neuron": "16"}
    also = (("aws.amazon.com/neurondevice", 16), ("aws.amazon.com/neuroncore", 32))
    assert accelerators(offered, {}) == (Accelerator("aws.amazon.com/neuron", "", 16, 16, also),)


@pytest.mark.parametrize(
    ("resource", "labels"),
    [
        ("nvidia.com/gpu", {"cloud.google.com/gke-max-shared-clients-per-gpu": "4"}),
        ("nvidia.com/gpu", {"nvidia.com/gpu.count": "2", "nvidia.com/gpu.replicas": "4"}),
        ("nvidia.com/gpu.shared", {"nvidia.com/gpu.count": "2"}),
    ],
)
def test_a_shared_card_is_one_card(resource: str, labels: dict[str, str]) -> None:
    assert accelerators({resource: "8"}, labels) == (Accelerator(resource, "", 8, 2),)


def test_a_card_without_a_driver_is_known_by_its_label() -> None:
    assert accelerators({"cpu": "8"}, V100) == (Accelerator("", "nvidia-tesla-v100", 0, 0),)
    counted = {**V100, "cloud.google.com/gke-accelerator-count": "2"}
    assert accelerators({"nvidia.com/gpu": "0"}, counted) == (Accelerator("", "nvidia-tesla-v100", 0, 2),)


def test_a_node_without_any_has_none() -> None:
    assert accelerators({"cpu": "8", "pods": "110", "vpc.amazonaws.com/efa": "1", "hugepages-2Mi": "0"}, {}) == ()


@pytest.mark.parametrize("nonsense", ["", "-1", "many", "1.5", "9" * 40])
def test_what_is_no_number_is_none(nonsense: str) -> None:
    assert accelerators({"nvidia.com/gpu": nonsense}, {}) == ()


def test_other_extended_resources_are_no_accelerators() -> None:
    assert is_accelerator("nvidia.com/mig-3g.20gb")
    assert not is_accelerator("nvidia.com/gpucount")
    assert not is_accelerator("smarter-devices/fuse")
