"""Measured usage: which version of metrics.k8s.io is asked, and what its answers mean."""

from __future__ import annotations

from pathlib import Path

import pytest

from shared.kube.connection import Kube
from shared.kube.errors import KubeUnavailable, NotFound
from shared.kube.usage import UsageApi, Used, used
from tests.sim.kube.cluster import Cluster
from tests.unit.conftest import OddServer, http, kube_of


def asked(cluster: Cluster) -> list[str]:
    return [entry.path.partition("?")[0] for entry in cluster.audit if "metrics.k8s.io" in entry.path]


def test_usage_is_by_node(cluster: Cluster, kube: Kube) -> None:
    usage = UsageApi(kube).nodes()
    assert set(usage) == {"node-1", "node-2", "node-3"}
    assert all(amount.cpu and amount.memory for amount in usage.values())


def test_nodes_that_could_not_be_scraped_are_left_out(cluster: Cluster, kube: Kube) -> None:
    cluster.set_metrics("ready", missing=["node-2"])
    assert set(UsageApi(kube).nodes()) == {"node-1", "node-3"}


@pytest.mark.parametrize(
    ("served", "version"),
    [(("v1beta1",), "v1beta1"), (("v1", "v1beta1"), "v1"), (("v1beta1", "v1"), "v1"), (("v1",), "v1")],
)
def test_the_best_version_that_is_served_is_asked_for(
    cluster: Cluster, kube: Kube, served: tuple[str, ...], version: str
) -> None:
    cluster.set_metrics(versions=served)
    api = UsageApi(kube)
    for _ in range(2):
        assert len(api.nodes()) == 3
    nodes = f"/apis/metrics.k8s.io/{version}/nodes"
    assert asked(cluster) == ["/apis/metrics.k8s.io", nodes, nodes]


def test_a_version_that_is_not_served_any_more_is_asked_for_again(cluster: Cluster, kube: Kube) -> None:
    api = UsageApi(kube)
    api.nodes()
    cluster.set_metrics(versions=("v1",))
    with pytest.raises(NotFound):
        api.nodes()
    assert len(api.nodes()) == 3
    assert api.version() == "v1"


def test_where_it_is_absent_or_of_another_age_there_is_none(cluster: Cluster, kube: Kube) -> None:
    cluster.set_metrics("absent")
    with pytest.raises(NotFound):
        UsageApi(kube).nodes()
    cluster.set_metrics(versions=("v2",))
    with pytest.raises(NotFound, match="it serves v2"):
        UsageApi(kube).nodes()


def test_an_answer_that_is_no_group_is_no_answer(tmp_path: Path) -> None:
    with OddServer(http(200, b"[]")) as server, pytest.raises(KubeUnavailable, match="no API group"):
        UsageApi(kube_of(server.url, tmp_path)).nodes()


def test_a_resource_that_is_not_named_is_unknown_and_not_zero(cluster: Cluster, kube: Kube) -> None:
    assert used({"memory": "1Ki"}) == Used(None, 1024)
    assert used({"cpu": "250m", "memory": "lots"}) == Used(250_000_000, None)
    assert used({"cpu": "0", "memory": "0"}) == Used(0, 0)
    cluster.set_metrics(lacking="cpu")
    assert all(amount.cpu is None and amount.memory for amount in UsageApi(kube).nodes().values())
