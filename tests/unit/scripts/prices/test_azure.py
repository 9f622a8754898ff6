"""Naming libcloud's Azure figures as nodes are named."""

from __future__ import annotations

import pytest

from scripts.prices.azure import rename, size_name


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ("standardd4sv3", "Standard_D4s_v3"),
        ("standardd2av4", "Standard_D2a_v4"),
        ("standardds2v2", "Standard_DS2_v2"),
        ("standardd2s", "Standard_DS2"),
        ("standardd15iv2", "Standard_D15i_v2"),
        ("standardb2ms", "Standard_B2ms"),
        ("standardf16sv2", "Standard_F16s_v2"),
        ("standardm416msv2", "Standard_M416ms_v2"),
        ("standardnc4ast4v3", "Standard_NC4as_T4_v3"),
        ("standardnc24rpromo", "Standard_NC24r_Promo"),
        ("standarddc8sv2", "Standard_DC8_v2"),
        ("basica1", None),
        ("lowpriorityd2sv3", None),
    ],
)
def test_sizes_are_named_as_nodes_name_them(key: str, name: str | None) -> None:
    assert size_name(key) == name


def test_prices_are_turned_to_regions_without_those_that_closed() -> None:
    figures = {"standardd2sv3": {"westeurope": 0.12, "germanycentral": 0.13}, "lowpriorityd2sv3": {"westeurope": 0.02}}
    assert rename(figures) == {"westeurope": {"Standard_D2s_v3": 0.12}}
