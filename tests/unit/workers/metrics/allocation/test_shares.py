"""A node's price in shares: who holds how much, and that nothing is lost or made."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.workers.metrics.allocation.conftest import record, totals_of
from tests.unit.workers.metrics.conftest import pod
from workers.metrics.allocation.shares import ByResource, Measured, Shares, apportion, shares_of
from workers.metrics.causes import Cause
from workers.metrics.pods import Pod, key_of

CPU = 4 * 31_611_000
MEMORY = 16 * 4_237_000
PRICE = CPU + MEMORY
"""Of a node of 4 CPUs and 16 GiB, so that each resource costs just its rate."""

CORE, GIB = 1_000_000_000, 2**30

WEB, DB = Cause("shop", "Deployment", "web"), Cause("shop", "StatefulSet", "db")


def web(name: str, gpus: dict[str, str] | None = None, **requests: str) -> Pod:
    labels = {"pod-template-hash": "1"}
    return pod(name, owner=("ReplicaSet", "web-1"), labels=labels, requests={**(gpus or {}), **requests})


def db(name: str, gpus: dict[str, str] | None = None, **requests: str) -> Pod:
    return pod(name, owner=("StatefulSet", "db"), requests={**(gpus or {}), **requests})


def divided(*pods: Pod, price: int = PRICE, used: dict[str, Measured] | None = None, **of: Any) -> Shares:
    """The shares of a node that has 4 CPUs and 16 GiB if nothing else is said, which are exact."""
    measured = {key_of("shop", name): usage for name, usage in (used or {}).items()}
    shares = shares_of(price, record(**of), totals_of(*pods).on("node-1"), measured)
    assert shares.idle + shares.system + sum(shares.held.values()) == price == sum(shares.resources)
    return shares


# -- a whole in parts -----------------------------------------------------------------------------


def test_parts_are_proportional_and_the_largest_remainder_is_rounded_up() -> None:
    assert apportion(100, (1, 1, 2)) == [25, 25, 50]
    assert apportion(100, (1, 1, 1)) == [34, 33, 33], "the first of equals"
    assert apportion(10, (7, 12, 1)) == [4, 6, 0], "of 3.5, 6 and 0.5"
    assert apportion(1, (1, 2)) == [0, 1]


def test_where_nothing_has_weight_the_last_takes_all() -> None:
    assert apportion(7, (0, 0, 0)) == [0, 0, 7]


@given(st.integers(0, 10**15), st.lists(st.integers(0, 10**30), min_size=1, max_size=8))
def test_parts_sum_to_the_whole_and_are_off_by_less_than_one(total: int, weights: list[int]) -> None:
    parts = apportion(total, weights)
    assert sum(parts) == total
    assert all(part >= 0 for part in parts)
    if whole := sum(weights):
        assert all(abs(part * whole - total * weight) < whole for part, weight in zip(parts, weights, strict=True))


# -- CPU and memory -------------------------------------------------------------------------------


def test_an_empty_node_is_idle() -> None:
    assert divided() == Shares(ByResource(CPU, MEMORY), idle=PRICE, system=0, held={})


def test_a_pod_costs_what_it_requests() -> None:
    shares = divided(web("a", cpu="1", memory="4Gi"))
    assert shares.held == {WEB: PRICE // 4}
    assert shares.idle == PRICE * 3 // 4


def test_what_the_node_keeps_for_itself_is_the_systems() -> None:
    shares = divided(web("a", cpu="1"), cpu="3", memory="16Gi", capacity={"cpu": "4", "memory": "16Gi"})
    assert (shares.system, shares.held[WEB]) == (CPU // 4, CPU // 4)


def test_pods_of_one_cause_are_one_share_and_ended_pods_none() -> None:
    ended = pod("c", "Succeeded", owner=("StatefulSet", "db"), cpu="1")
    shares = divided(web("a", cpu="1"), web("b", cpu="500m"), ended, db("d", memory="8Gi"))
    assert shares.held == {WEB: CPU * 3 // 8, DB: MEMORY // 2}


def test_a_pod_that_uses_more_than_it_requests_costs_what_it_uses_per_resource() -> None:
    greedy = {"a": Measured(cpu=2 * CORE, memory=GIB), "gone": Measured(CORE, GIB)}
    shares = divided(web("a", cpu="1", memory="4Gi"), db("b", cpu="1"), used=greedy)
    assert shares.held == {WEB: CPU // 2 + MEMORY // 4, DB: CPU // 4}


def test_where_more_is_held_than_there_is_all_shrink_alike_and_nothing_is_idle() -> None:
    """Usage beyond allocatable, or a node that was made smaller: no idle cost is ever negative."""
    greedy = {"a": Measured(6 * CORE, 0), "b": Measured(2 * CORE, 16 * GIB)}
    shares = divided(web("a"), db("b"), used=greedy)
    assert shares.held == {WEB: CPU * 3 // 4, DB: CPU // 4 + MEMORY}
    assert shares.idle == 0


def test_a_pod_that_asks_for_nothing_costs_nothing() -> None:
    assert divided(web("a")).held == {WEB: 0}


@pytest.mark.parametrize("price", [0, 1, 2, 3])
def test_no_price_is_too_small(price: int) -> None:
    divided(web("a", cpu="1"), db("b", cpu="1"), price=price)


def test_a_node_that_says_nothing_yet_is_idle() -> None:
    shares = divided(web("a", cpu="1"), cpu="0", memory="0")
    assert (shares.idle, shares.held) == (PRICE, {WEB: 0})


# -- accelerators ---------------------------------------------------------------------------------

GPU = 950_000_000


def test_a_gpu_costs_whoever_requested_it() -> None:
    price = PRICE + 4 * GPU
    mine = web("a", {"nvidia.com/gpu": "3"}, cpu="1")
    shares = divided(mine, db("b", cpu="1"), price=price, gpus={"nvidia.com/gpu": "4"})
    assert shares.resources == ByResource(CPU, MEMORY, 4 * GPU)
    assert shares.held == {WEB: CPU // 4 + 3 * GPU, DB: CPU // 4}
    assert shares.idle == PRICE - CPU // 2 + GPU


def test_kinds_of_accelerators_are_divided_each_by_itself() -> None:
    price = PRICE + 9 * GPU
    whole = web("a", {"nvidia.com/gpu": "2"})
    slice_ = db("b", {"nvidia.com/mig-1g.5gb": "1"})
    shares = divided(whole, slice_, price=price, gpus={"nvidia.com/gpu": "2", "nvidia.com/mig-1g.5gb": "7"})
    assert shares.held == {WEB: 2 * GPU, DB: GPU}


def test_hardware_that_has_several_names_is_divided_by_whichever_a_pod_requests_it() -> None:
    names = {"aws.amazon.com/neuron": "3", "aws.amazon.com/neuroncore": "6", "aws.amazon.com/neurondevice": "3"}
    device, core = web("a", {"aws.amazon.com/neuron": "1"}), db("b", {"aws.amazon.com/neuroncore": "1"})
    shares = divided(device, core, price=PRICE + 3 * GPU, gpus=names)
    assert shares.held == {WEB: GPU, DB: GPU // 2}


def test_a_card_whose_driver_is_not_there_is_idle() -> None:
    labels = {"cloud.google.com/gke-accelerator": "nvidia-l4", "cloud.google.com/gke-accelerator-count": "1"}
    shares = divided(web("a", {"nvidia.com/gpu": "1"}), price=PRICE + GPU, labels=labels)
    assert shares.resources.accelerators == shares.idle - PRICE == GPU


# -- always ---------------------------------------------------------------------------------------

QUANTITIES = st.sampled_from(["0", "1n", "333m", "1", "7", "1k"])
SIZES = st.sampled_from(["0", "1", "1Mi", "3Gi", "1Ti"])
PIECES = st.sampled_from(["0", "1", "3"])
PODS = st.lists(
    st.builds(
        lambda number, owner, cpu, memory, pieces: pod(
            f"p{number}", owner=owner, cpu=cpu, memory=memory, requests={"nvidia.com/gpu": pieces}
        ),
        st.integers(0, 9),
        st.sampled_from([None, ("StatefulSet", "db"), ("Job", "j")]),
        QUANTITIES,
        SIZES,
        PIECES,
    ),
    max_size=8,
)
USED = st.dictionaries(
    st.sampled_from([f"p{number}" for number in range(10)]),
    st.builds(Measured, st.integers(0, 10**12), st.integers(0, 10**13)),
)


@given(st.integers(0, 10**14), PODS, USED, QUANTITIES, SIZES, QUANTITIES, SIZES, PIECES)
def test_whatever_the_node_its_shares_sum_to_its_price_and_none_is_negative(
    price: int,
    pods: list[Pod],
    used: dict[str, Measured],
    cpu: str,
    memory: str,
    all_cpu: str,
    all_memory: str,
    gpus: str,
) -> None:
    capacity = {"cpu": all_cpu, "memory": all_memory}
    offered = {"nvidia.com/gpu": gpus}
    shares = divided(*pods, price=price, used=used, cpu=cpu, memory=memory, capacity=capacity, gpus=offered)
    assert min(shares.idle, shares.system, *shares.resources, *shares.held.values()) >= 0
