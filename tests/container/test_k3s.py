"""The bundle and the image in a real cluster, a K3s in a container: where K3S_IMAGE names one that can be pulled."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from testcontainers.community.k3s import K3SContainer
from testcontainers.core.docker_client import DockerClient

from shared import __version__
from tests.container.bundle import fill_in, kubectl
from tests.sim.central.server import Central

LONE_NODE = {"allow-control-plane-nodes": "true"}
"""Its only node is of the control plane."""

_IMAGE = f"cloudoptim/client-agent:{__version__}"


@pytest.fixture
def k3s(engine: DockerClient, image: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[K3SContainer]:
    """A cluster that has the image, and kubectl pointed at it."""
    given = os.environ.get("K3S_IMAGE")
    if not given:
        pytest.skip("K3S_IMAGE names no image of K3s, such as rancher/k3s:v1.34.1-k3s1")
    agent = engine.client.images.get(image)
    agent.tag(_IMAGE)
    archive = tmp_path / "agent.tar"
    archive.write_bytes(b"".join(agent.save(named=_IMAGE)))
    # K3s loads what lies there when it starts.
    with K3SContainer(given).with_volume_mapping(archive, "/var/lib/rancher/k3s/agent/images/agent.tar") as k3s:
        (tmp_path / "kubeconfig").write_text(k3s.config_yaml())
        monkeypatch.setenv("KUBECONFIG", str(tmp_path / "kubeconfig"))
        yield k3s


def test_works_in_a_cluster(k3s: K3SContainer, tmp_path: Path) -> None:
    gateway = k3s.get_docker_client().gateway_ip(k3s.get_container_id())
    with Central(host="0.0.0.0") as central:
        url = f"http://{gateway}:{central.url.rpartition(':')[2]}"
        bundle = str(fill_in(tmp_path / "k8s", {"central-server-url": url, "poll-interval-seconds": "2", **LONE_NODE}))
        kubectl("apply", "-k", bundle)
        kubectl("rollout", "status", "deployment/cloudoptim-agent", "-n", "kube-system", "--timeout=180s")
        node = kubectl("get", "nodes", "-o", "name").stdout.strip().removeprefix("node/")
        for task_type in ("cordon_node", "uncordon_node"):
            task_id = central.offer(central.task(task_type, {"node_name": node}))
            assert central.ledger.wait_result(task_id)["status"] == "success"
        kubectl("delete", "-k", bundle)
        central.ledger.wait(lambda: central.ledger.of("deregister"), timeout=120)
