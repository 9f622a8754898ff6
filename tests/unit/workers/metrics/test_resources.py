"""Requests and limits of a pod, counted as Kubernetes counts them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.workers.metrics.conftest import spec
from workers.metrics.resources import Amount, amount, pod_limits, pod_requests

MI = 2**20
M = 1_000_000
"""A millicore in nanocores."""


def needs(cpu: str | None = None, memory: str | None = None, kind: str = "requests") -> dict[str, Any]:
    named = {"cpu": cpu, "memory": memory}
    return {kind: {key: value for key, value in named.items() if value is not None}}


def sidecar(cpu: str, memory: str) -> dict[str, Any]:
    return {"restartPolicy": "Always", "resources": needs(cpu, memory)}


# -- amounts --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cpu", "nanocores"),
    [("1", 1000 * M), ("250m", 250 * M), ("0.5", 500 * M), ("100n", 100), ("1u", 1000), ("2k", 2_000_000 * M)],
)
def test_cpu_is_whole_nanocores(cpu: str, nanocores: int) -> None:
    assert amount({"cpu": cpu}) == Amount(nanocores, 0)


@pytest.mark.parametrize(
    ("memory", "size"),
    [("128974848", 128974848), ("1Gi", 1024 * MI), ("512M", 512_000_000), ("1e3", 1000), ("2Ki", 2048), ("1500m", 2)],
)
def test_memory_is_whole_bytes(memory: str, size: int) -> None:
    assert amount({"memory": memory}) == Amount(0, size)


@pytest.mark.parametrize(
    "quantities",
    [None, {}, {"nvidia.com/gpu": "1"}, {"cpu": "much", "memory": "lots"}, {"cpu": "", "memory": "1 Gi"}],
)
def test_what_is_not_named_and_what_is_no_quantity_is_nothing(quantities: dict[str, str] | None) -> None:
    assert amount(quantities) == Amount(0, 0)


def test_what_is_too_large_to_be_one_is_nothing_either() -> None:
    assert amount({"cpu": "1e999"}) == Amount(0, 0)


# -- containers, init containers, sidecars --------------------------------------------------------


def test_containers_add_up() -> None:
    assert pod_requests(spec(needs("100m", "1Mi"), needs("250m"), needs(memory="2Mi"), {})) == Amount(350 * M, 3 * MI)


def test_an_init_step_counts_where_it_is_greedier_than_all_that_runs_later() -> None:
    """Per resource: CPU by the initialisation, memory by what runs."""
    greedy = spec(needs("100m", "64Mi"), needs("100m", "64Mi"), init=[needs("500m", "8Mi"), needs("10m", "100Mi")])
    assert pod_requests(greedy) == Amount(500 * M, 128 * MI)


def test_a_sidecar_runs_beside_the_containers() -> None:
    assert pod_requests(spec(needs("100m", "64Mi"), init=[sidecar("50m", "32Mi")])) == Amount(150 * M, 96 * MI)


def test_an_init_step_runs_beside_the_sidecars_before_it_but_not_those_after_it() -> None:
    before = spec(needs("100m"), init=[sidecar("200m", "0"), needs("500m")])
    after = spec(needs("100m"), init=[needs("500m"), sidecar("200m", "0")])
    assert pod_requests(before).cpu == 700 * M
    assert pod_requests(after).cpu == 500 * M


def test_several_sidecars_and_steps() -> None:
    """The example of Kubernetes' own documentation, with numbers."""
    init = [needs("100m"), sidecar("20m", "0"), needs("300m"), sidecar("30m", "0"), needs("290m")]
    assert pod_requests(spec(needs("250m"), init=init)).cpu == max(250 + 20 + 30, 100, 300 + 20, 290 + 50) * M


def test_overhead_comes_on_top() -> None:
    total = pod_requests(spec(needs("100m", "64Mi"), overhead={"cpu": "250m", "memory": "120Mi"}))
    assert total == Amount(350 * M, 184 * MI)


# -- the pod as a whole ---------------------------------------------------------------------------


def test_what_is_set_for_the_pod_as_a_whole_overrides_per_resource() -> None:
    given = spec(
        needs("100m", "64Mi"), needs("100m", "64Mi"), pod=needs("2", None), overhead={"cpu": "1", "memory": "1Mi"}
    )
    assert pod_requests(given) == Amount(3000 * M, 129 * MI)


def test_it_may_be_less_than_its_containers_ask() -> None:
    assert pod_requests(spec(needs("4"), pod=needs("1"))).cpu == 1000 * M


def test_zero_for_the_pod_is_zero() -> None:
    assert pod_requests(spec(needs("4", "1Gi"), pod=needs("0", "0"))) == Amount(0, 0)


# -- limits ---------------------------------------------------------------------------------------


def limit(cpu: str | None = None, memory: str | None = None) -> dict[str, Any]:
    return needs(cpu, memory, "limits")


def test_limits_add_up_as_requests_do() -> None:
    both = spec(limit("100m", "64Mi"), limit("250m"), init=[limit("500m", "8Mi")])
    assert pod_limits(both) == Amount(500 * M, 64 * MI)


def test_requests_are_no_limits_and_limits_no_requests() -> None:
    assert pod_limits(spec(needs("1", "1Gi"))) == Amount(0, 0)
    assert pod_requests(spec(limit("1", "1Gi"))) == Amount(0, 0)


def test_overhead_adds_to_a_limit_and_is_none_by_itself() -> None:
    given = spec(limit(memory="64Mi"), overhead={"cpu": "250m", "memory": "1Mi"})
    assert pod_limits(given) == Amount(0, 65 * MI)


def test_a_limit_for_the_pod_as_a_whole() -> None:
    assert pod_limits(spec(limit("1", "64Mi"), pod=limit("500m"))) == Amount(500 * M, 64 * MI)


# -- always ---------------------------------------------------------------------------------------

QUANTITIES = st.sampled_from(["0", "100m", "250m", "1", "1.5", "2"])
CONTAINERS = st.builds(lambda cpu, always: {**({"restartPolicy": "Always"} if always else {}), "resources": needs(cpu)},
                       QUANTITIES, st.booleans())  # fmt: skip


@given(st.lists(QUANTITIES, min_size=1, max_size=4), st.lists(CONTAINERS, max_size=5))
def test_a_pod_asks_for_at_least_what_runs_and_at_most_all_of_it_together(
    containers: list[str], init: list[dict[str, Any]]
) -> None:
    total = pod_requests(spec(*(needs(cpu) for cpu in containers), init=init)).cpu
    running = sum(amount({"cpu": cpu}).cpu for cpu in containers)
    every_init = [amount(container["resources"]["requests"]).cpu for container in init]
    assert running <= total <= running + sum(every_init)
    assert total >= max(every_init, default=0)
