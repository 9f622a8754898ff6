"""What pods use beyond their requests."""

from __future__ import annotations

import threading

import pytest

from shared.kube.connection import Kube
from shared.kube.usage import PodUsed, UsageApi, Used
from tests.sim.kube.cluster import Cluster
from tests.unit.conftest import FakeClock
from tests.unit.workers.metrics.allocation.conftest import totals_of
from tests.unit.workers.metrics.conftest import pod
from workers.metrics.allocation.measured import PodUsage
from workers.metrics.allocation.shares import Measured
from workers.metrics.pods import key_of

CORE, GIB = 10**9, 2**30


@pytest.fixture
def usage(kube: Kube, clock: FakeClock) -> PodUsage:
    return PodUsage(kube, threading.Lock(), 600.0, clock)


def measure(monkeypatch: pytest.MonkeyPatch, *found: PodUsed) -> None:
    monkeypatch.setattr(UsageApi, "pods", lambda *arguments: iter([list(found)]))


def test_before_the_first_reading_nothing_is_known(usage: PodUsage) -> None:
    assert (usage.latest().beyond_requests, usage.latest().pods) == ({}, None)


def test_only_what_is_beyond_the_requests_is_kept(usage: PodUsage, monkeypatch: pytest.MonkeyPatch) -> None:
    """The larger of both counts: of a pod that keeps to its requests, these say all."""
    totals = totals_of(*(pod(name, node="node-7", cpu="1", memory="1Gi") for name in ("modest", "greedy", "half")))
    measure(
        monkeypatch,
        PodUsed("shop", "modest", Used(CORE, GIB)),
        PodUsed("shop", "greedy", Used(2 * CORE, 0)),
        PodUsed("shop", "half", Used(None, 2 * GIB)),
        PodUsed("shop", "gone-meanwhile", Used(9 * CORE, GIB)),
    )
    usage.read(totals)
    assert usage.latest().beyond_requests == {
        "node-7": {
            key_of("shop", "greedy"): Measured(2 * CORE, 0),
            key_of("shop", "half"): Measured(0, 2 * GIB),
        }
    }
    assert usage.latest().pods == 3


@pytest.mark.parametrize("state", ["absent", "down"])
def test_a_reading_that_fails_leaves_the_last_one_for_a_while(
    usage: PodUsage, cluster: Cluster, clock: FakeClock, state: str
) -> None:
    usage.read(totals_of())
    assert usage.latest().pods == 0
    cluster.set_metrics(state)
    usage.read(totals_of())
    assert usage.latest().pods == 0
    clock.advance(1501)
    assert usage.latest().pods is None, "what is half an hour old says nothing of now"


def test_the_simulators_pods_are_all_known(usage: PodUsage, cluster: Cluster) -> None:
    cluster.add_pod("shop", "web", "node-1", cpu="1", memory="1Gi")
    usage.read(totals_of(pod("web", node="node-1")))
    reading = usage.latest()
    assert reading.pods == 1
    assert list(reading.beyond_requests) == ["node-1"], "a pod that requests nothing and uses something"
