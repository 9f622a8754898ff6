"""One watch of pods for all tasks."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

from shared.basics.timing import SYSTEM_CLOCK
from shared.kube.connection import Kube
from shared.kube.errors import KubeUnavailable
from shared.kube.pods import Pods
from tests.sim.kube.cluster import Cluster
from tests.unit.conftest import eventually
from workers.task_runner.work.view import Interest, View


def open_watches(cluster: Cluster) -> int:
    return len([entry for entry in cluster.audit if entry.verb == "watch"])


def test_a_room_has_the_pods_of_its_interest_as_they_change(cluster: Cluster, kube: Kube) -> None:
    cluster.add_pod("shop", "web-1", "node-1")
    view, woken = View(kube, SYSTEM_CLOCK), threading.Event()
    with view.room(Interest("node", "node-1"), woken.set) as room:
        eventually(lambda: room.since is not None)
        page = Pods(kube).cached({"fieldSelector": "spec.nodeName=node-1"})
        room.listed(page.items, page.metadata.resource_version)
        cluster.add_pod("shop", "web-2", "node-1")
        cluster.add_pod("shop", "web-3", "node-2")
        eventually(lambda: sorted(pod.metadata.name for pod in room.pods.values()) == ["web-1", "web-2"])
        assert woken.is_set()
        kube.call("DELETE", "/api/v1/namespaces/shop/pods/web-1", None, {"gracePeriodSeconds": 0})
        eventually(lambda: [pod.metadata.name for pod in room.pods.values()] == ["web-2"])


def test_there_is_one_watch_however_many_rooms_and_none_without(cluster: Cluster, kube: Kube) -> None:
    view = View(kube, SYSTEM_CLOCK)
    with view.room(Interest("node", "node-1"), lambda: None) as first:
        eventually(lambda: first.since is not None)
        with view.room(Interest("pod", "shop/web"), lambda: None) as second:
            assert second.since is not None, "the watch is there already"
            assert open_watches(cluster) == 1
    assert view._watch is None


class Breaking(Kube):
    """Its watches break, and are slow to say so again."""

    breaks = False

    def _send(self, *arguments: Any) -> Any:
        if self.breaks and "watch" in str(arguments):
            raise KubeUnavailable("connection reset")
        return super()._send(*arguments)


def test_a_room_that_is_entered_while_the_watch_is_broken_knows_since_when(cluster: Cluster, tmp_path: Path) -> None:
    """The watch goes on from where it was, and begins nothing anew: who waits for that waits for ever."""
    kube = Breaking(str(cluster.write_kubeconfig(tmp_path / "kubeconfig")), "tests")
    view = View(kube, SYSTEM_CLOCK)
    with view.room(Interest("node", "node-1"), lambda: None) as first:
        eventually(lambda: first.since is not None)
        kube.breaks = True
        cluster.drop_watches()
        eventually(lambda: first.trouble)
        with view.room(Interest("node", "node-2"), lambda: None) as second:
            assert second.since is not None


def test_a_pod_that_was_looked_at_before_a_room_was_entered_is_older_than_its_first_list(
    cluster: Cluster, kube: Kube
) -> None:
    view = View(kube, SYSTEM_CLOCK)
    with view.room(Interest("node", "node-1"), lambda: None) as first:
        eventually(lambda: first.since is not None)
        metadata = {"name": "web", "namespace": "shop", "uid": "u", "resourceVersion": "4711"}
        view._decode(json.dumps({"metadata": metadata, "spec": {"nodeName": "node-2"}}).encode())
        with view.room(Interest("node", "node-2"), lambda: None) as second:
            assert second.since == "4711"
            assert not second.takes("4710")
