"""Families and kinds of machines, by the names the clouds give them."""

from __future__ import annotations

import pytest

from workers.metrics.pricing.families import (
    Custom,
    class_of,
    custom_of,
    family_of,
    pays_cards_apart,
    predecessors,
    whole_size,
)


@pytest.mark.parametrize(
    ("provider", "instance_type", "family", "kind"),
    [
        ("aws", "m5.large", "m5", "general"),
        ("aws", "C7i-flex.xlarge", "c7i-flex", "compute"),
        ("aws", "r8gd.metal-24xl", "r8gd", "memory"),
        ("aws", "t4g.medium", "t4g", "burstable"),
        ("aws", "im4gn.large", "im4gn", "storage"),
        ("aws", "hpc7g.4xlarge", "hpc7g", "compute"),
        ("aws", "inf2.xlarge", "inf2", "general"),
        ("aws", "p6-b200.48xlarge", "p6-b200", "general"),
        ("azure", "Standard_D4as_v5", "standard_das_v5", "general"),
        ("azure", "standard_e16-4as_v5", "standard_eas_v5", "memory"),
        ("azure", "Standard_NC4as_T4_v3", "standard_ncas_t4_v3", "general"),
        ("azure", "Standard_F8s_v2", "standard_fs_v2", "compute"),
        ("azure", "Standard_B2ms", "standard_bms", "burstable"),
        ("gcp", "n2d-standard-4", "n2d", "general"),
        ("gcp", "c4-highmem-8", "c4", "memory"),
        ("gcp", "n4-highcpu-8", "n4", "compute"),
        ("gcp", "e2-medium", "e2", "burstable"),
        ("gcp", "custom-4-15360", "n1", "general"),
        ("hetzner", "cx22", "cx22", "general"),
        ("", "", "", "general"),
    ],
)
def test_family_and_kind(provider: str, instance_type: str, family: str, kind: str) -> None:
    assert family_of(provider, instance_type) == family
    assert class_of(provider, instance_type) == kind


def test_google_attaches_cards_to_some_machines_and_builds_others_with_them() -> None:
    assert pays_cards_apart("gcp", "n1-standard-8")
    assert pays_cards_apart("gcp", "custom-4-15360")
    for whole in ("a2-highgpu-1g", "a3-highgpu-8g", "g2-standard-4", "ct5lp-hightpu-4t"):
        assert not pays_cards_apart("gcp", whole)
    assert not pays_cards_apart("aws", "g5.xlarge")


@pytest.mark.parametrize(
    ("name", "custom"),
    [
        ("n2-custom-4-16384", Custom("n2", 4, 16.0)),
        ("N2D-Custom-8-65536-ext", Custom("n2d", 8, 64.0)),
        ("custom-2-7680", Custom("n1", 2, 7.5)),
        ("e2-custom-medium-4096", None),
        ("n2-standard-4", None),
        ("n2-custom-4-" + "9" * 40, None),
    ],
)
def test_what_somebody_chose_for_a_custom_type(name: str, custom: Custom | None) -> None:
    assert custom_of(name) == custom


@pytest.mark.parametrize(
    ("size", "whole"),
    [
        ("Standard_E16-4as_v5", "Standard_E16as_v5"),
        ("Standard_M96s-24_1_v3", "Standard_M96s_1_v3"),
        ("Standard_D4s_v5", "Standard_D4s_v5"),
    ],
)
def test_the_whole_size_of_a_constrained_one(size: str, whole: str) -> None:
    assert whole_size(size) == whole


@pytest.mark.parametrize(
    ("provider", "instance_type", "older"),
    [
        ("aws", "m9i-flex.large", ["m8i-flex.large", "m7i-flex.large"]),
        ("aws", "m10g.metal-24xl", ["m9g.metal-24xl", "m8g.metal-24xl"]),
        ("aws", "c2.large", ["c1.large"]),
        ("azure", "Standard_D4as_v7", ["standard_d4as_v6", "standard_d4as_v5"]),
        ("gcp", "n5d-highmem-8", ["n4d-highmem-8", "n3d-highmem-8"]),
        ("aws", "p7.48xlarge", []),
        ("aws", "inf3.xlarge", []),
        ("azure", "Standard_NC24ads_A100_v5", []),
        ("gcp", "a4-highgpu-8g", []),
        ("gcp", "custom-4-15360", []),
        ("hetzner", "cx22", []),
        ("aws", "", []),
    ],
)
def test_what_a_new_type_is_like(provider: str, instance_type: str, older: list[str]) -> None:
    assert list(predecessors(provider, instance_type)) == older
