"""Requests and limits of a pod, counted as Kubernetes counts them."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.kube import resources
from shared.kube.resources import Amount, ResourceSpec, ResourceStatus, amount, cpu_and_memory

MI = 2**20
M = 1_000_000
"""A millicore in nanocores."""


def spec(
    *containers: dict[str, Any],
    init: list[dict[str, Any]] | None = None,
    overhead: dict[str, str] | None = None,
    pod: dict[str, Any] | None = None,
) -> ResourceSpec:
    """A pod's spec; containers are given as their ``resources``, unless they name them, and called c0, c1, ..."""
    content = {
        "containers": [_container(f"c{number}", container) for number, container in enumerate(containers)],
        "initContainers": [_container(f"i{number}", container) for number, container in enumerate(init or ())],
        "overhead": overhead,
        "resources": pod,
    }
    return msgspec.convert(content, ResourceSpec)


def _container(name: str, content: dict[str, Any]) -> dict[str, Any]:
    whole = content if "resources" in content or "restartPolicy" in content else {"resources": content}
    return {"name": name, **whole}


NO_STATUS = ResourceStatus()


def pod_requests(given: ResourceSpec, status: ResourceStatus = NO_STATUS) -> Amount:
    return cpu_and_memory(resources.pod_requests(given, status))


def pod_limits(given: ResourceSpec, status: ResourceStatus = NO_STATUS) -> Amount:
    return cpu_and_memory(resources.pod_limits(given, status))


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


# -- during an in-place resize -------------------------------------------------------------------
#
# What a real scheduler of v1.36 did: a node of 8 CPUs, a pod of 6 CPU/4Gi resized to 1 CPU/1Gi that the kubelet had
# not shrunk yet; a pod of 4 CPUs was refused there.


def status(*containers: dict[str, Any], pending: str | None = None, **more: Any) -> ResourceStatus:
    """A pod's status; containers are named c0, c1, ... ``pending`` is why the kubelet does not resize it."""
    conditions = [{"type": "PodResizePending", "status": "True", "reason": pending}] if pending else []
    statuses = [{"name": f"c{number}", **container} for number, container in enumerate(containers)]
    return msgspec.convert({"conditions": conditions, "containerStatuses": statuses, **more}, ResourceStatus)


def admitted(cpu: str, memory: str, actual: dict[str, Any] | None = None) -> dict[str, Any]:
    """A container's status: admitted with so much, and that in force unless ``actual`` says otherwise."""
    return {"allocatedResources": {"cpu": cpu, "memory": memory}, "resources": actual or needs(cpu, memory)}


def test_a_pod_that_shrinks_counts_what_it_still_has() -> None:
    assert pod_requests(spec(needs("1", "1Gi")), status(admitted("6", "4Gi"))) == Amount(6000 * M, 4096 * MI)


def test_a_pod_that_grows_counts_what_it_asks_for() -> None:
    assert pod_requests(spec(needs("6", "4Gi")), status(admitted("1", "1Gi"))) == Amount(6000 * M, 4096 * MI)
    deferred = status(admitted("1", "1Gi"), pending="Deferred")
    assert pod_requests(spec(needs("6", "4Gi")), deferred).cpu == 6000 * M, "it may come as soon as there is room"


def test_what_the_node_can_never_give_is_not_set_aside() -> None:
    infeasible = status(admitted("1", "1Gi"), pending="Infeasible")
    assert pod_requests(spec(needs("64", "512Gi")), infeasible) == Amount(1000 * M, 1024 * MI)


def test_what_is_admitted_and_what_is_in_force_may_differ_too() -> None:
    half_way = status(admitted("2", "1Gi", actual=needs("3", "512Mi")))
    assert pod_requests(spec(needs("1", "256Mi")), half_way) == Amount(3000 * M, 1024 * MI)


def test_each_container_counts_for_itself() -> None:
    one_grows_one_shrinks = status(admitted("1", "64Mi"), admitted("4", "64Mi"))
    assert pod_requests(spec(needs("4", "64Mi"), needs("1", "64Mi")), one_grows_one_shrinks).cpu == 8000 * M


def test_a_sidecar_is_resized_and_an_ordinary_init_container_is_not() -> None:
    given = spec(needs("100m"), init=[sidecar("100m", "0"), needs("100m")])
    said = [{"name": f"i{number}", **admitted("2", "0")} for number in range(2)]
    both = status(admitted("100m", "0"), initContainerStatuses=said)
    assert pod_requests(given, both).cpu == (2000 + 100) * M


def test_before_the_kubelet_says_anything_the_spec_counts() -> None:
    given = spec(needs("2", "1Gi"))
    assert pod_requests(given, status({})) == Amount(2000 * M, 1024 * MI)
    assert pod_requests(given, status({}, pending="Infeasible")) == Amount(2000 * M, 1024 * MI)
    other = msgspec.convert({"containerStatuses": [{"name": "other", **admitted("9", "9Gi")}]}, ResourceStatus)
    assert pod_requests(given, other).cpu == 2000 * M


def test_a_pod_that_is_resized_as_a_whole() -> None:
    given = spec(needs("100m"), pod=needs("1", "1Gi"), overhead={"cpu": "250m"})
    still: dict[str, Any] = {"allocatedResources": {"cpu": "6", "memory": "4Gi"}, "resources": needs("6", "4Gi")}
    assert pod_requests(given, status(**still)) == Amount(6250 * M, 4096 * MI)
    greedy = spec(needs("100m"), pod=needs("64", "512Gi"))
    assert pod_requests(greedy, status(pending="Infeasible", **still)) == Amount(6000 * M, 4096 * MI)


def test_limits_are_the_larger_of_what_is_asked_for_and_what_is_in_force() -> None:
    still = status({"allocatedResources": {"cpu": "9"}, "resources": limit("2", "1Gi")})
    assert pod_limits(spec(limit("1", "2Gi")), still) == Amount(2000 * M, 2048 * MI)
    never = status({"resources": limit("2", "1Gi")}, pending="Infeasible")
    assert pod_limits(spec(limit("64", "512Gi")), never) == Amount(2000 * M, 1024 * MI)


# -- all resources -------------------------------------------------------------------------------


def test_every_resource_is_counted_the_same_way() -> None:
    gpu = {"requests": {"nvidia.com/gpu": "1", "hugepages-2Mi": "4Mi", "ephemeral-storage": "1G"}}
    given = spec(gpu, gpu, needs("100m"), pod={"requests": {"hugepages-2Mi": "6Mi", "nvidia.com/gpu": "9"}})
    assert resources.pod_requests(given, NO_STATUS) == {
        "nvidia.com/gpu": 2,
        "hugepages-2Mi": 6 * MI,
        "ephemeral-storage": 2 * 10**9,
        "cpu": 100 * M,
    }, "only CPU, memory and huge pages can be set for the pod as a whole"


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


AMOUNTS = st.dictionaries(st.sampled_from(["cpu", "memory"]), st.sampled_from(["0", "1", "2", "5"]))


@given(AMOUNTS, AMOUNTS, AMOUNTS, st.booleans())
def test_a_container_counts_the_largest_of_what_is_asked_for_admitted_and_in_force(
    asked: dict[str, str], allocated: dict[str, str], actual: dict[str, str], infeasible: bool
) -> None:
    said = status(
        {"allocatedResources": allocated, "resources": {"requests": actual}},
        pending="Infeasible" if infeasible else None,
    )
    parts = [allocated, actual, *([] if infeasible else [asked])]
    expected = {name: max(amount({"cpu": part.get(name, "0")}).cpu for part in parts) for name in ("cpu", "memory")}
    assert pod_requests(spec({"requests": asked}), said) == Amount(expected["cpu"], expected["memory"] // (1000 * M))
