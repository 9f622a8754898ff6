"""Measured usage, where the cluster has it."""

from __future__ import annotations

from pathlib import Path

import pytest

from shared.kube.connection import Kube
from shared.kube.resources import Amount
from tests.sim.kube.cluster import Cluster
from tests.unit.conftest import kube_of
from workers.metrics.usage import read_usage


def test_usage_is_by_node(cluster: Cluster, kube: Kube) -> None:
    usage = read_usage(kube)
    assert set(usage) == {"node-1", "node-2", "node-3"}
    assert all(isinstance(amount, Amount) and amount.cpu > 0 and amount.memory > 0 for amount in usage.values())


def test_nodes_that_could_not_be_scraped_are_left_out(cluster: Cluster, kube: Kube) -> None:
    cluster.set_metrics("ready", missing=["node-2"])
    assert set(read_usage(kube)) == {"node-1", "node-3"}


@pytest.mark.parametrize("state", ["absent", "down"])
def test_without_metrics_k8s_io_nothing_is_known_and_nothing_is_wrong(cluster: Cluster, kube: Kube, state: str) -> None:
    cluster.set_metrics(state)
    assert read_usage(kube) == {}


def test_an_api_server_that_is_away_is_the_watches_business(cluster: Cluster, kube: Kube) -> None:
    cluster.stop()
    assert read_usage(kube) == {}


@pytest.mark.parametrize("state", ["absent", "down"])
def test_a_metrics_server_that_is_away_does_not_make_the_agent_unready(
    cluster: Cluster, tmp_path: Path, state: str
) -> None:
    reports: list[bool] = []
    kube = kube_of(cluster.url, tmp_path, report=lambda ok, why: reports.append(ok))
    cluster.set_metrics(state)
    read_usage(kube)
    assert reports == [True]
