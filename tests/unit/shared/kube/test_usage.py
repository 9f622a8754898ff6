"""Measured usage: which version of metrics.k8s.io is asked, and what its answers mean."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from shared.basics.timing import Deadline
from shared.kube.connection import Kube
from shared.kube.errors import KubeUnavailable, NoSuchApi
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


@pytest.mark.parametrize("ask", [UsageApi.nodes, lambda api: pods_of(api)], ids=["nodes", "pods"])
def test_a_version_that_is_not_served_any_more_is_asked_for_again(
    cluster: Cluster, kube: Kube, ask: Callable[[UsageApi], object]
) -> None:
    api = UsageApi(kube)
    ask(api)
    cluster.set_metrics(versions=("v1",))
    with pytest.raises(NoSuchApi):
        ask(api)
    ask(api)
    assert api.version() == "v1"


@pytest.mark.parametrize("status", [404, 503])
def test_a_version_that_is_announced_and_not_served_gives_way_to_the_other(
    cluster: Cluster, kube: Kube, status: int
) -> None:
    cluster.set_metrics(versions=("v1", "v1beta1"))
    cluster.fail(path="/apis/metrics.k8s.io/v1/", times=None, status=status)
    api = UsageApi(kube)
    with pytest.raises(KubeUnavailable):
        api.nodes()
    for _ in range(2):
        assert len(api.nodes()) == 3
    assert api.version() == "v1beta1"


def test_where_it_is_absent_or_of_another_age_there_is_none(cluster: Cluster, kube: Kube) -> None:
    cluster.set_metrics("absent")
    with pytest.raises(NoSuchApi):
        UsageApi(kube).nodes()
    cluster.set_metrics(versions=("v2",))
    with pytest.raises(NoSuchApi, match="it serves v2"):
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


# -- pods -----------------------------------------------------------------------------------------


def pods_of(api: UsageApi, silence: float = 5.0, seconds: float = 60.0) -> dict[str, Used]:
    found: dict[str, Used] = {}
    for some in api.pods(silence, Deadline.after(seconds)):
        found.update({f"{pod.namespace}/{pod.name}": pod.used for pod in some})
    return found


def test_usage_of_pods_is_that_of_their_containers_together(cluster: Cluster, kube: Kube) -> None:
    cluster.add_pod("shop", "web", "node-1", cpu="1", memory="1Gi", containers=[{"name": "logs", "resources": {}}])
    [listed] = json.loads(kube.get("/apis/metrics.k8s.io/v1beta1/namespaces/shop/pods"))["items"]
    shares = [used(container["usage"]) for container in listed["containers"]]
    assert len(shares) == 2
    together = Used(sum(one.cpu or 0 for one in shares), sum(one.memory or 0 for one in shares))
    assert pods_of(UsageApi(kube)) == {"shop/web": together}


def test_where_a_container_does_not_say_the_pods_usage_is_unknown() -> None:
    containers = [{"usage": {"cpu": "1", "memory": "1"}}, {"usage": {"memory": "1"}}]
    assert pods_of(serving(metrics("a", containers)))["shop/a"] == Used(None, 2)


def metrics(name: str, containers: Any = None) -> dict[str, Any]:
    usage = [{"name": "app", "usage": {"cpu": "1", "memory": "1Ki"}}]
    return {"metadata": {"name": name, "namespace": "shop"}, "containers": usage if containers is None else containers}


def serving(*items: dict[str, Any]) -> UsageApi:
    """An API whose server sends these items as a real one writes them, in pieces of a few bytes."""
    head = {"kind": "PodMetricsList", "apiVersion": "metrics.k8s.io/v1", "metadata": {}, "items": list(items)}
    body = json.dumps(head, separators=(",", ":")).encode() + b"\n"
    return api_of([body[start : start + 7] for start in range(0, len(body), 7)])


def api_of(chunks: Iterable[bytes]) -> UsageApi:
    class Served(Kube):
        def get(self, path: str, query: Any = None) -> bytes:
            return b'{"versions":[{"version":"v1"}]}'

        def chunks(self, path: str, query: Any, silence: float, hangup: Any = None) -> Iterator[bytes]:
            return iter(chunks)

    return UsageApi(Served(None, "test"))


def test_a_list_is_read_in_whatever_pieces_it_comes() -> None:
    names = ["a", 'b,{"metadata":{"name":"x"', "c" * 100, "é\\"]
    assert list(pods_of(serving(*(metrics(name) for name in names)))) == [f"shop/{name}" for name in names]
    assert pods_of(serving()) == {}
    assert pods_of(api_of([b'{"kind":"PodMetricsList","items":null}\n'])) == {}


def test_one_that_cannot_be_read_hides_no_other() -> None:
    odd = metrics("odd", [{"usage": {"cpu": 7}}])
    assert list(pods_of(serving(metrics("a"), odd, metrics("b")))) == ["shop/a", "shop/b"]


def test_a_list_of_150000_pods_is_never_held_whole() -> None:
    one = json.dumps(metrics("web"), separators=(",", ":")).encode()
    pages = itertools.chain([b'{"items":[' + one], (b"," + one for _ in range(5000)), [b"]}"])
    batches = list(api_of(pages).pods(5, Deadline.after(60)))
    assert sum(map(len, batches)) == 5001
    assert max(map(len, batches)) <= 2


def test_what_is_no_list_is_given_up_before_it_fills_the_memory() -> None:
    endless = itertools.repeat(b" " * 2**20)
    with pytest.raises(KubeUnavailable, match="no item of a list"):
        pods_of(api_of(endless))


def test_one_that_drips_is_given_up_at_the_deadline() -> None:
    with pytest.raises(KubeUnavailable, match="too slowly"):
        pods_of(api_of(itertools.repeat(b"")), seconds=0)
