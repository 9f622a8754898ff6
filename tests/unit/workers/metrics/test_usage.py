"""The usage of a sample: read where the cluster has it, and never anybody's trouble."""

from __future__ import annotations

from pathlib import Path

import pytest

from shared.kube.connection import Kube, optional
from tests.sim.kube.cluster import Cluster
from tests.unit.conftest import kube_of
from workers.metrics import usage
from workers.metrics.usage import NodeUsage


@pytest.mark.parametrize("state", ["absent", "down"])
def test_without_metrics_k8s_io_nothing_is_known_and_nothing_is_wrong(cluster: Cluster, kube: Kube, state: str) -> None:
    node_usage = NodeUsage(kube)
    assert len(node_usage.read()) == len(node_usage.last) == 3
    cluster.set_metrics(state)
    assert node_usage.read() == node_usage.last == {}


def test_an_api_server_that_is_away_is_the_watches_business(cluster: Cluster, kube: Kube) -> None:
    cluster.stop()
    assert NodeUsage(kube).read() == {}


@pytest.mark.parametrize("state", ["absent", "down"])
def test_a_metrics_server_that_is_away_does_not_make_the_agent_unready(
    cluster: Cluster, tmp_path: Path, state: str
) -> None:
    reports: list[bool] = []
    kube = kube_of(cluster.url, tmp_path, report=lambda ok, why: reports.append(ok))
    cluster.set_metrics(state)
    NodeUsage(kube).read()
    assert set(reports) == {True}


def test_nor_does_one_that_is_late(cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The API server waits for it and answers nothing meanwhile: that is no answer of its own."""
    monkeypatch.setattr(usage, "optional", lambda: optional(0.1))
    monkeypatch.setattr("shared.kube.connection.SHORTEST_TIMEOUT", 0.1)
    reports: list[bool] = []
    kube = kube_of(cluster.url, tmp_path, report=lambda ok, why: reports.append(ok))
    cluster.fail(path="/apis/metrics.k8s.io/", times=None, delay=60)
    assert NodeUsage(kube).read() == {}
    assert set(reports) == {True}
