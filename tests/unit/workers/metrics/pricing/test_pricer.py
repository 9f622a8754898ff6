"""What a node costs: the first source that knows, and which one it was."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.kube.resources import Amount
from tests.unit.workers.metrics.conftest import LINUX
from workers.metrics.accelerators import Accelerator
from workers.metrics.capacity import HYBRID, Capacity, Identity, Kind
from workers.metrics.pricing.families import pays_cards_apart
from workers.metrics.pricing.owner import SAYS_NOTHING, Owner, OwnRates
from workers.metrics.pricing.price import UNPRICED, Price, nano
from workers.metrics.pricing.pricer import RENTED_FROM, Sources, price
from workers.metrics.pricing.quotes import NO_QUOTES, Quotes
from workers.metrics.pricing.table import PriceTable

GIB = 2**30
TWO_CPUS_EIGHT_GIB = Amount(2_000_000_000, 8 * GIB)
SPOT = LINUX._replace(capacity=Capacity.SPOT)
E2 = LINUX._replace(provider="gcp", region="us-central1", instance_type="e2-standard-4")
N1 = E2._replace(instance_type="n1-standard-8")
V100 = Accelerator("nvidia.com/gpu", "nvidia-tesla-v100", 4, 4)
OWN_METAL = LINUX._replace(provider="metal3", instance_type="")


def of(
    node: Identity,
    table: PriceTable,
    owner: Quotes | Owner = SAYS_NOTHING,
    factor: float = 0.35,
    allocatable: Amount = TWO_CPUS_EIGHT_GIB,
    central: Quotes = NO_QUOTES,
    live: Quotes = NO_QUOTES,
) -> Price:
    owns = Owner(owner) if isinstance(owner, Quotes) else owner
    return price(node, allocatable, Sources(owns, table, factor, central, live))


def about(dollars: float, source: str) -> Price:
    """A price to compare with."""
    return Price(nano(dollars), source)


# -- which source ---------------------------------------------------------------------------------


def test_the_owners_price_comes_first(table: PriceTable) -> None:
    own = Quotes({"m5.large": 0.07}, {"m5.large": 0.01})
    central = Quotes({"m5.large": 0.08}, {"m5.large": 0.02})
    assert of(LINUX, table, own, central=central) == about(0.07, "override")
    assert of(SPOT, table, own, central=central) == about(0.01, "override")


def test_the_owners_price_for_the_region_comes_before_that_for_all(table: PriceTable) -> None:
    own = Quotes({"m5.large": 0.07, "eu-west-1/m5.large": 0.08, "us-east-1/m5.large": 0.06}, {})
    assert of(LINUX, table, own) == about(0.08, "override")
    assert of(LINUX._replace(region="ap-south-1"), table, own) == about(0.07, "override")


def test_the_owners_price_may_be_zero(table: PriceTable) -> None:
    assert of(LINUX, table, Quotes({"m5.large": 0.0}, {})) == about(0.0, "override")


def test_a_nodes_type_is_compared_without_regard_to_case(table: PriceTable) -> None:
    assert of(LINUX._replace(instance_type="M5.Large", region="EU-West-1"), table) == about(0.107, "table")
    own = Quotes({"standard_d4s_v5": 0.1}, {})
    assert of(LINUX._replace(instance_type="Standard_D4s_v5"), table, own) == about(0.1, "override")


def test_centrals_price_comes_next_then_the_clouds_own(table: PriceTable) -> None:
    central, live = Quotes({"eu-west-1/m5.large": 0.08}, {}), Quotes({"m5.large": 0.09}, {"m5.large": 0.03})
    assert of(LINUX, table, central=central, live=live) == about(0.08, "central")
    assert of(LINUX, table, live=live) == about(0.09, "live")
    assert of(SPOT, table, central=central, live=live) == about(0.03, "live")


def test_the_table_comes_after_them(table: PriceTable) -> None:
    assert of(LINUX, table) == about(0.107, "table")
    assert of(LINUX._replace(instance_type="m8i.large"), table) == about(0.15, "derived")
    assert of(LINUX._replace(instance_type="p6.large"), table) == about(9.9, "fallback")


def test_a_node_of_unknown_capacity_is_priced_as_on_demand(table: PriceTable) -> None:
    assert of(LINUX._replace(capacity=Capacity.UNKNOWN), table) == about(0.107, "table")


# -- spot -----------------------------------------------------------------------------------------


def test_google_spot_is_a_known_part_of_the_on_demand_price(table: PriceTable) -> None:
    assert of(E2._replace(capacity=Capacity.SPOT), table) == about(0.134 * 0.3, "spot_ratio")


def test_a_spot_price_nobody_knows_is_a_part_of_the_on_demand_price(table: PriceTable) -> None:
    assert of(SPOT, table, factor=0.3) == about(0.107 * 0.3, "spot_factor")
    assert of(SPOT._replace(instance_type="m8i.large"), table, factor=0.3) == about(0.15 * 0.3, "spot_factor")


def test_of_the_owners_or_centrals_on_demand_price_first(table: PriceTable) -> None:
    known = Quotes({"m5.large": 0.5}, {})
    assert of(SPOT, table, known, 0.4) == about(0.2, "spot_factor")
    assert of(SPOT, table, factor=0.4, central=known) == about(0.2, "spot_factor")


def test_a_rough_price_stays_rough_when_it_is_divided(table: PriceTable) -> None:
    assert of(SPOT._replace(instance_type="p6.large"), table, factor=0.5) == about(4.95, "fallback")


def test_oracles_preemptible_is_half_whatever_the_factor(table: PriceTable) -> None:
    node = SPOT._replace(provider="oci", region="eu-frankfurt-1", instance_type="VM.Standard")
    assert of(node, table, Quotes({"vm.standard": 0.06}, {}), factor=0.9) == about(0.03, "spot_factor")


# -- cards ----------------------------------------------------------------------------------------


def test_cards_attached_to_googles_machines_are_paid_apart(table: PriceTable) -> None:
    """The case `gpu`: an n1-standard-8 with four V100 was shown at $0.38 for its vCPUs alone."""
    assert of(N1._replace(accelerators=(V100,)), table) == about(0.38 + 4 * 2.48, "table")
    spot = N1._replace(accelerators=(V100,), capacity=Capacity.SPOT)
    assert of(spot, table) == about(0.38 * 0.2 + 4 * 1.0, "spot_ratio")


@pytest.mark.parametrize(
    ("card", "dollars"),
    [
        (Accelerator("nvidia.com/gpu", "nvidia-l4", 1, 1), 0.6),
        (Accelerator("nvidia.com/gpu", "", 2, 2), 2.0),
        (Accelerator("", "nvidia-tesla-v100", 0, 0), 1.0),
    ],
    ids=["of a model that is never attached", "of no known model", "nobody knows how many"],
)
def test_a_node_whose_cards_have_no_price_is_never_called_exact(
    card: Accelerator, dollars: float, table: PriceTable
) -> None:
    assert of(N1._replace(accelerators=(card,)), table) == about(0.38 + dollars, "fallback")


def test_cards_that_come_with_the_machine_are_in_its_price(table: PriceTable) -> None:
    assert of(E2._replace(instance_type="g2-standard-4", accelerators=(V100,)), table) == about(0.7, "table")
    assert of(LINUX._replace(accelerators=(V100,)), table) == about(0.107, "table")


def test_whoever_quotes_a_type_quotes_it_with_its_cards(table: PriceTable) -> None:
    node = N1._replace(accelerators=(V100,))
    assert of(node, table, Quotes({"n1-standard-8": 5.0}, {})) == about(5.0, "override")


# -- rates ----------------------------------------------------------------------------------------


def test_a_type_nobody_knows_is_priced_by_what_it_has(table: PriceTable) -> None:
    unknown = LINUX._replace(region="us-east-1", instance_type="m99.large")
    assert of(unknown, table) == about(2 * 0.05 + 8 * 0.003, "fallback")
    assert of(unknown._replace(instance_type="c99.large"), table) == about(2 * 0.04 + 8 * 0.002, "fallback")
    spot = unknown._replace(capacity=Capacity.SPOT)
    assert of(spot, table, factor=0.5) == about((2 * 0.05 + 8 * 0.003) / 2, "fallback")


def test_the_machine_is_larger_than_what_it_leaves_to_pods(table: PriceTable) -> None:
    unknown = LINUX._replace(region="us-east-1", instance_type="m99.large")
    left = Amount(1_930_000_000, int(7.1 * GIB))
    assert of(unknown, table, allocatable=left) == about(2 * 0.05 + 8 * 0.003, "fallback")
    odd = Amount(2_000_000_000, 5 * GIB)
    assert of(unknown, table, allocatable=odd) == about(2 * 0.05 + 5 * 0.003, "fallback")


def test_cards_of_an_unknown_machine_have_rates_too(table: PriceTable) -> None:
    node = LINUX._replace(region="us-east-1", instance_type="m99.large")
    a100 = Accelerator("nvidia.com/gpu", "nvidia-a100-sxm4-40gb", 8, 8)
    assert of(node._replace(accelerators=(a100,)), table) == about(2 * 0.05 + 8 * 0.003 + 16, "fallback")


def test_slices_of_a_card_are_parts_of_it(table: PriceTable) -> None:
    node = LINUX._replace(region="us-east-1", instance_type="m99.large")
    slices = (
        Accelerator("nvidia.com/mig-1g.10gb", "nvidia-a100-sxm4-80gb", 4, 4),
        Accelerator("nvidia.com/mig-3g.40gb", "nvidia-a100-sxm4-80gb", 1, 1),
    )
    assert of(node._replace(accelerators=slices), table) == about(2 * 0.05 + 8 * 0.003 + 2, "fallback")


def test_the_tables_prices_are_those_of_linux(table: PriceTable) -> None:
    windows = LINUX._replace(os="windows")
    assert of(windows, table).source == "fallback"
    assert of(windows._replace(capacity=Capacity.SPOT), table).source == "fallback"
    assert of(windows, table, Quotes({"m5.large": 0.3}, {})) == about(0.3, "override")
    assert of(windows, table, central=Quotes({"m5.large": 0.3}, {})) == about(0.3, "central")
    assert of(windows, table, live=Quotes({"m5.large": 0.1}, {})).source == "fallback"


# -- machines of the owner's ----------------------------------------------------------------------


@pytest.mark.parametrize("provider", [HYBRID, "metal3", "vsphere", "openstack", "kind", "k3s", ""])
def test_nobody_knows_what_the_owners_own_machines_cost(provider: str, table: PriceTable) -> None:
    assert provider not in RENTED_FROM
    assert of(OWN_METAL._replace(provider=provider), table) == UNPRICED
    assert of(OWN_METAL._replace(provider=provider, accelerators=(V100,)), table) == UNPRICED


def test_unless_the_owner_gives_a_rate(table: PriceTable) -> None:
    own = Owner(NO_QUOTES, OwnRates(vcpu=0.01, gib=0.002, gpu=0.5))
    assert of(OWN_METAL, table, own) == about(2 * 0.01 + 8 * 0.002, "fallback")
    assert of(OWN_METAL._replace(accelerators=(V100,)), table, own) == about(2 * 0.01 + 8 * 0.002 + 2, "fallback")


def test_or_a_price_of_the_type(table: PriceTable) -> None:
    node = OWN_METAL._replace(instance_type="rack-a")
    assert of(node, table, Quotes({"rack-a": 0.4}, {})) == about(0.4, "override")


def test_the_owners_rate_comes_before_the_clouds_rates_and_after_its_list(table: PriceTable) -> None:
    own = Owner(NO_QUOTES, OwnRates(vcpu=0.01, gib=0.0))
    assert of(LINUX, table, own) == about(0.107, "table")
    assert of(LINUX._replace(instance_type="m99.large"), table, own) == about(0.02, "fallback")


# -- whatever a node says -------------------------------------------------------------------------

NAMES = st.sampled_from(
    ["", "m5.large", "M8I.large", "p6.large", "Standard_D4s_v5", "n1-standard-8", "custom-4-15360", "x/y"]
)
CARDS = st.builds(Accelerator, st.just("nvidia.com/gpu"), NAMES, st.integers(0, 16), st.integers(0, 16))
NODES = st.builds(
    Identity,
    st.sampled_from(["", "aws", "azure", "gcp", "oci", "metal3"]),
    st.sampled_from(["", "eu-west-1", "us-central1", "eastus", "mars-1"]),
    st.just(""),
    NAMES,
    st.sampled_from(Capacity),
    st.sampled_from(["linux", "windows"]),
    st.just(Kind.MACHINE),
    st.lists(CARDS, max_size=2).map(tuple),
)
AMOUNTS = st.builds(Amount, st.integers(0, 10**14), st.integers(0, 2**45))


@given(NODES, AMOUNTS)
def test_every_machine_has_a_price_in_whole_nano_dollars_or_none_that_anybody_knows(
    shared_table: PriceTable, node: Identity, allocatable: Amount
) -> None:
    found = price(node, allocatable, Sources(SAYS_NOTHING, shared_table, 0.35))
    assert (found.nanodollars is None) == (found.source == "unknown") == (node.provider in ("", "metal3"))
    assert found.nanodollars is None or (isinstance(found.nanodollars, int) and found.nanodollars >= 0)
    if node.accelerators and found.source == "table" and node.provider == "gcp":
        assert not pays_cards_apart("gcp", node.instance_type), "attached cards of no known model"


@given(NODES, AMOUNTS)
def test_spot_never_costs_more_than_on_demand(shared_table: PriceTable, node: Identity, allocatable: Amount) -> None:
    spot, on_demand = (
        price(node._replace(capacity=capacity), allocatable, Sources(SAYS_NOTHING, shared_table, 0.35))
        for capacity in (Capacity.SPOT, Capacity.ON_DEMAND)
    )
    assert (spot.nanodollars or 0) <= (on_demand.nanodollars or 0)
