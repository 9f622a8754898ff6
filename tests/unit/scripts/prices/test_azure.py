"""Azure's list put in order."""

from __future__ import annotations

import pytest

from scripts.prices.azure import clean, government_ratios, vcpus

LICENCE = 0.046


def cleaned(**sizes: float) -> dict[str, float]:
    """The home region's prices of these sizes; ``D4s_v5`` is Standard_D4s_v5."""
    home = {f"Standard_{name}": dollars for name, dollars in sizes.items()}
    return {name.removeprefix("Standard_"): dollars for name, dollars in clean({"eastus": home})["eastus"].items()}


def test_what_is_no_size_is_left_out() -> None:
    listed = {
        "Standard_D2s_v5": 0.096,
        "Basic_A1": 0.03,
        "Dsv3_Type1": 4.0,
        "ARM_SKU_NAME_PLACEHOLDER": 1.0,
        "Standard_E64i_v4_SPECIAL": 5.0,
        "Standard_E4ds_v4_ADHType1": 0.3,
        "Standard_SQLG7_NVME": 3.0,
        "Standard_NM16ads_MA35D  ": 1.0,
    }
    assert clean({"eastus": listed}) == {"eastus": {"Standard_D2s_v5": 0.096}}


def test_a_price_with_the_windows_licence_loses_it() -> None:
    """Seen in the list of 2026: Standard_D2as_v5 at $0.178, and Standard_D4as_v5 at $0.172."""
    windows = 0.086 + 2 * LICENCE
    assert cleaned(D2as_v5=windows, D4as_v5=0.172, D8as_v5=0.344) == pytest.approx(
        {"D2as_v5": 0.086, "D4as_v5": 0.172, "D8as_v5": 0.344}
    )


def test_a_family_that_is_listed_with_the_licence_throughout_loses_it_by_what_the_region_costs_otherwise() -> None:
    def family(name: str, rate: float) -> dict[str, float]:
        return {f"Standard_{name.format(size)}": rate * size for size in (2, 4)}

    home = {**family("D{}as_v5", 0.043), **family("D{}s_v5", 0.048), **family("E{}s_v5", 0.063)}
    dearer = {name: dollars * 1.1 for name, dollars in home.items()}
    with_licence = {**dearer, **family("D{}as_v5", 0.043 * 1.1 + LICENCE)}
    assert clean({"eastus": home, "malaysiawest": with_licence})["malaysiawest"] == pytest.approx(dearer)


def test_families_that_are_not_priced_by_vcpu_stay_as_they_are() -> None:
    listed = {
        "NC4as_T4_v3": 0.526,
        "NC8as_T4_v3": 0.752,
        "B1ms": 0.0207,
        "B2ms": 0.0832,
        "D2_v2": 0.146,
        "D3_v2": 0.293,
    }
    assert cleaned(**listed) == listed


def test_a_constrained_size_is_left_to_the_whole_one() -> None:
    assert cleaned(E16as_v5=0.9, **{"E16-4as_v5": 0.9}) == {"E16as_v5": 0.9}
    assert cleaned(**{"M416-208s_v2": 40.0}) == {"M416-208s_v2": 40.0}


def test_government_regions_have_one_factor() -> None:
    libcloud = {
        "standardd2sv3": {"eastus": 0.1, "usgovvirginia": 0.12},
        "standardd4sv3": {"eastus": 0.2, "usgovvirginia": 0.24},
        "lowpriorityd2sv3": {"eastus": 0.02, "usgovvirginia": 0.09},
    }
    assert government_ratios(libcloud, ["usgovvirginia"]) == {"usgovvirginia": {"*": pytest.approx(1.2)}}


def test_vcpus_are_in_the_name() -> None:
    assert (vcpus("Standard_E16-4as_v5"), vcpus("Standard_ND96isr_H100_v5"), vcpus("nonsense")) == (16, 96, 0)
