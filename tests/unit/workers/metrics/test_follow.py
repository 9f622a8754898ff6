"""Totals that stay equal to the cluster: one list, one watch, and a look now and then whether they still are."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from shared.kube.connection import Kube
from shared.kube.errors import Gone, KubeUnavailable
from shared.kube.reads import PAGE, Resource
from tests.sim.kube.cluster import Cluster
from tests.unit.conftest import OddServer, counted, eventually, http, kube_of
from tests.unit.workers.conftest import Looping
from tests.unit.workers.metrics.conftest import counted as totals_of
from tests.unit.workers.metrics.conftest import pod
from workers.metrics.follow import Followed
from workers.metrics.pods import Pod, PodTotals


def followed(kube: Kube) -> Followed[Pod]:
    """The pods of a cluster."""
    return Followed("pods", Resource(kube, "/api/v1/pods", Pod), PodTotals, PodTotals.put, PodTotals.remove)


@pytest.fixture
def pods(kube: Kube) -> Followed[Pod]:
    return followed(kube)


@pytest.fixture
def looping(cluster: Cluster, pods: Followed[Pod]) -> Iterator[Looping]:
    """Follows the pods, again and again."""
    running = Looping(cluster, lambda: pods.follow(lambda: None))
    yield running
    running.kill()


def equal(cluster: Cluster, pods: Followed[Pod]) -> bool:
    """Whether the totals are what a fresh count gives."""
    with pods.lock:
        kept = (len(pods.totals), totals_of(pods.totals).requests.cpu)
    present = cluster.pods()
    bound = [one for one in present if one["spec"].get("nodeName") and one["status"]["phase"] in ("Running", "Pending")]
    return kept == (len(present), len(bound) * 100_000_000)


def lists(cluster: Cluster) -> int:
    return len([entry for entry in cluster.audit.select(verb="list", resource="pods") if entry.code == 200])


def relisted(reason: str) -> float:
    return counted("relists_total", resource="pods", reason=reason)


def test_before_the_first_list_there_are_no_totals(pods: Followed[Pod]) -> None:
    assert pods.totals is None


def test_one_list_and_then_changes(cluster: Cluster, pods: Followed[Pod], looping: Looping) -> None:
    cluster.add_deployment("shop", "web", 5)
    eventually(lambda: equal(cluster, pods) and len(pods.totals) == 5)
    cluster.add_pod("shop", "bare", "node-1")
    cluster.kubelet_evict("shop", "bare")
    eventually(lambda: equal(cluster, pods) and totals_of(pods.totals).phases["Failed"] == 1)
    assert lists(cluster) == 1


def test_pods_that_go_are_taken_away(cluster: Cluster, kube: Kube, pods: Followed[Pod], looping: Looping) -> None:
    cluster.add_pod("shop", "bare", "node-1")
    eventually(lambda: len(pods.totals) == 1)
    kube.call("DELETE", "/api/v1/namespaces/shop/pods/bare", None, {"gracePeriodSeconds": 0})
    eventually(lambda: len(pods.totals) == 0)


def test_a_watch_that_breaks_goes_on_without_a_list(cluster: Cluster, pods: Followed[Pod], looping: Looping) -> None:
    for number in range(3):
        cluster.drop_watches()
        cluster.add_pod("shop", f"bare-{number}", "node-1")
    eventually(lambda: equal(cluster, pods) and len(pods.totals) == 3)
    assert lists(cluster) == 1


def test_an_api_server_that_restarts_and_forgot_is_listed_again(
    cluster: Cluster, pods: Followed[Pod], looping: Looping
) -> None:
    before = relisted("gone")
    cluster.add_pod("shop", "first", "node-1")
    eventually(lambda: len(pods.totals) == 1)
    cluster.stop()
    cluster.add_pod("shop", "second", "node-1")
    cluster.compact()
    cluster.start()
    eventually(lambda: equal(cluster, pods) and len(pods.totals) == 2)
    assert relisted("gone") == before + 1


def test_while_a_fresh_list_is_under_way_the_old_totals_stand(cluster: Cluster, kube: Kube) -> None:
    pods = followed(kube)
    cluster.add_pod("shop", "bare", "node-1")
    running = Looping(cluster, lambda: pods.follow(lambda: None))
    running.kill()
    cluster.add_pod("shop", "other", "node-1")
    cluster.compact()
    pods.follow(lambda: None)  # ends with 410
    cluster.fail(verb="list", resource="pods", status=500)
    with pytest.raises(KubeUnavailable):
        pods.follow(lambda: None)
    assert len(pods.totals) == 1


def test_a_list_whose_version_is_gone_half_way_is_begun_anew(cluster: Cluster, kube: Kube) -> None:
    for number in range(PAGE + 1):
        cluster.add_pod("shop", f"bare-{number}", "node-1")
    pods = followed(kube)

    def move_on() -> None:
        cluster.add_pod("shop", "another", "node-1")
        cluster.compact()

    with pytest.raises(Gone):
        pods.follow(move_on)
    assert pods.totals is None, "half a list is none"
    Looping(cluster, lambda: pods.follow(lambda: None)).kill()
    assert equal(cluster, pods)


def test_pages_and_bunches_are_signs_of_life(cluster: Cluster, kube: Kube) -> None:
    pods, signs = followed(kube), list[None]()
    running = Looping(cluster, lambda: pods.follow(lambda: signs.append(None)))
    before = len(signs)
    assert before >= 1
    cluster.add_pod("shop", "bare", "node-1")
    eventually(lambda: len(signs) > before)
    running.kill()


def test_an_empty_watch_that_ends_at_once_is_not_opened_again_at_once(tmp_path: Path) -> None:
    listed = http(200, b'{"kind":"List","items":[],"metadata":{"resourceVersion":"7"}}')
    with OddServer(listed, http(200, b"")) as server:
        pods = followed(kube_of(server.url, tmp_path))
        assert pods.follow(lambda: None) >= 0.5
        assert pods.follow(lambda: None) >= 0.5


def test_a_watch_that_brought_something_is_opened_again_at_once(tmp_path: Path) -> None:
    listed = http(200, b'{"kind":"List","items":[],"metadata":{"resourceVersion":"7"}}')
    line = b'{"type":"ADDED","object":{"metadata":{"uid":"a","resourceVersion":"8"},"status":{"phase":"Pending"}}}\n'
    with OddServer(listed, http(200, line), http(200, b"")) as server:
        pods = followed(kube_of(server.url, tmp_path))
        assert pods.follow(lambda: None) == 0
        assert len(pods.totals) == 1
        pods.follow(lambda: None)
        assert b"resourceVersion=8&" in server.requests[2]


def test_a_watch_that_brought_something_and_broke_is_no_failure_that_adds_to_earlier_ones(tmp_path: Path) -> None:
    listed = http(200, b'{"kind":"List","items":[],"metadata":{"resourceVersion":"7"}}')
    line = b'{"type":"ADDED","object":{"metadata":{"uid":"a","resourceVersion":"8"},"status":{"phase":"Pending"}}}\n'
    unfinished = {"Content-Length": "100000"}
    with OddServer(listed, http(200, line, unfinished), http(200, b"", unfinished)) as server:
        pods = followed(kube_of(server.url, tmp_path))
        assert 0 < pods.follow(lambda: None) < 2
        assert len(pods.totals) == 1
        with pytest.raises(KubeUnavailable):
            pods.follow(lambda: None)


# -- the self-check -------------------------------------------------------------------------------


class Waits(list[float]):
    """The pauses a check asked for, none of which is made."""

    def __call__(self, seconds: float) -> None:
        self.append(seconds)


def checks(result: str) -> float:
    return counted("metrics_self_checks_total", resource="pods", result=result)


def test_totals_that_match_a_count_are_left_alone(cluster: Cluster, pods: Followed[Pod], looping: Looping) -> None:
    cluster.add_deployment("shop", "web", 5)
    eventually(lambda: equal(cluster, pods) and len(pods.totals) == 5)
    before, waits = checks("match"), Waits()
    assert pods.check(waits) is True
    assert (checks("match"), waits) == (before + 1, [])


def test_a_check_costs_one_object(cluster: Cluster, pods: Followed[Pod], looping: Looping) -> None:
    cluster.audit.clear()
    pods.check(Waits())
    assert len(list(cluster.audit)) == 1


def test_an_api_server_that_does_not_say_how_many_there_are_is_not_listed_again(tmp_path: Path) -> None:
    """``remainingItemCount`` is optional: it is left out with a selector, and by some servers from their caches."""
    before = [checks(result) for result in ("unknown", "mismatch")]
    one = b'{"kind":"List","items":[{"metadata":{"name":"a"}}],"metadata":{"resourceVersion":"7","continue":"more"}}'
    with OddServer(http(200, one)) as server:
        pods = followed(kube_of(server.url, tmp_path))
        pods.totals = PodTotals()
        assert pods.check(Waits()) is True
        assert len(server.requests) == 1
    assert [checks(result) for result in ("unknown", "mismatch")] == [before[0] + 1, before[1]]


def test_a_difference_that_passes_is_no_mismatch(cluster: Cluster, pods: Followed[Pod], looping: Looping) -> None:
    pods.totals.put(pod("ghost"))
    before = checks("mismatch")
    assert pods.check(lambda seconds: pods.totals.remove(pod("ghost"))) is True
    assert checks("mismatch") == before


def test_a_difference_that_is_now_this_way_and_now_that_is_no_mismatch(
    cluster: Cluster, pods: Followed[Pod], looping: Looping
) -> None:
    """Where pods come and go, the count and the totals are never of the same moment."""
    pods.totals.put(pod("ghost"))
    before = checks("mismatch")

    def churn(seconds: float) -> None:
        pods.totals.remove(pod("ghost"))
        with pods.lock:
            cluster.add_pod("shop", "new", "node-1")
            pods.totals.remove(msgspec.convert(cluster.pods()[0], Pod))

    assert pods.check(churn) is True
    assert checks("mismatch") == before


def test_a_difference_that_stays_is_listed_anew(
    cluster: Cluster, pods: Followed[Pod], looping: Looping, caplog: pytest.LogCaptureFixture
) -> None:
    cluster.add_deployment("shop", "web", 3)
    eventually(lambda: equal(cluster, pods) and len(pods.totals) == 3)
    with pods.lock:
        pods.totals.remove(msgspec.convert(cluster.pods()[0], Pod))
    before, waits = (checks("mismatch"), relisted("mismatch")), Waits()
    assert pods.check(waits) is False
    assert len(waits) == 9
    assert "the totals know 2 pods, the API server 3; listing them again" in caplog.text
    eventually(lambda: equal(cluster, pods))
    eventually(lambda: (checks("mismatch"), relisted("mismatch")) == (before[0] + 1, before[1] + 1))
    assert pods.check(waits) is True


def test_after_being_listed_anew_it_goes_on_watching(cluster: Cluster, pods: Followed[Pod], looping: Looping) -> None:
    pods.totals.put(pod("ghost"))
    pods.check(Waits())
    eventually(lambda: len(pods.totals) == 0)
    cluster.add_pod("shop", "bare", "node-1")
    eventually(lambda: len(pods.totals) == 1)
