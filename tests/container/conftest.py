"""The image, and the bundle's pod made of it, beside the simulator and Central on the host's network.

Nothing here is skipped for want of an engine: it fails, and says what is missing.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from testcontainers.core.docker_client import DockerClient
from testcontainers.core.image import DockerImage

from shared import __version__
from tests.container.bundle import fill_in, rbac, render
from tests.container.kubelet import Account, Kubelet
from tests.container.pod import AgentPod
from tests.sim.agent import ROOT
from tests.sim.central.server import Central
from tests.sim.kube.cluster import Cluster
from tests.sim.kube.scenarios import demo

COMPONENTS = ("pod-labels",)
"""label_pod needs it; everything else runs with the base's role."""

INTERVALS = {"poll-interval-seconds": "1", "metrics-interval-seconds": "5", "HEARTBEAT_INTERVAL_SECONDS": "2"}
"""Shorter than in production, so that the tests are; as settings of the ConfigMap."""

_FIGURES: dict[str, str] = {}

NewPod = Callable[..., AgentPod]


@pytest.fixture(scope="session")
def figures() -> dict[str, str]:
    """What the tests measured; printed at the end."""
    return _FIGURES


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Show what was measured, and what did not run and why, whatever the verbosity."""
    for name, value in _FIGURES.items():
        terminalreporter.write_line(f"measured: {name}: {value}")
    skipped: Counter[str] = Counter()
    for report in terminalreporter.getreports("skipped"):
        skipped[str(report.longrepr[-1] if isinstance(report.longrepr, tuple) else report.longrepr)] += 1
    for reason, count in skipped.items():
        terminalreporter.write_line(f"NOT RUN: {count} tests: {reason.removeprefix('Skipped: ')}")


@pytest.fixture(scope="session")
def engine() -> DockerClient:
    """The container engine."""
    try:
        client = DockerClient()
        client.client.ping()
    except Exception as error:
        pytest.fail(f"no container engine answers ({error}); `make container-test` starts one where it can", False)
    return client


@pytest.fixture(scope="session")
def base_image() -> str:
    """The base image of BASE_IMAGE, or the Dockerfile's own."""
    (default,) = re.findall(r"^ARG BASE_IMAGE=(.+)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    return os.environ.get("BASE_IMAGE") or str(default)


@pytest.fixture(scope="session")
def image(engine: DockerClient, base_image: str) -> str:
    """The image built from this tree, or the one of AGENT_IMAGE."""
    if given := os.environ.get("AGENT_IMAGE"):
        return given
    return build(base_image, "cloudoptim/client-agent:test")


def build(base_image: str, tag: str, **options: Any) -> str:
    """The tag of the image, built from this tree as a release is."""
    arguments = {
        "BASE_IMAGE": base_image,
        "VERSION": __version__,
        "REVISION": "0123abc",
        "SOURCE": "https://git.test/agent",
    }
    DockerImage(ROOT, tag=tag, clean_up=False, buildargs=arguments, network_mode="host", rm=True, **options).build()
    return tag


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the simulated API server leaves its authority."""
    return tmp_path_factory.mktemp("tls")


@pytest.fixture(scope="module")
def cluster(tls: Path) -> Iterator[Cluster]:
    """A small cluster behind TLS, where the agent's account has what the bundle grants."""
    with Cluster(nodes=0, tls=tls, rbac=rbac(*COMPONENTS)) as cluster:
        demo(cluster, 0, 0)
        cluster.add_deployment("kube-system", "cloudoptim-agent")  # The engine runs its pod; the doctor looks for it.
        cluster.wait_settled()
        yield cluster


@pytest.fixture(scope="module")
def account(cluster: Cluster, tls: Path) -> Account:
    assert cluster.agent_token is not None
    return Account(cluster.url, cluster.agent_token, tls / "ca.crt")


@pytest.fixture(scope="module")
def central() -> Iterator[Central]:
    with Central() as central:
        yield central


@pytest.fixture(scope="module")
def new_pod(image: str, account: Account, central: Central, tmp_path_factory: pytest.TempPathFactory) -> NewPod:
    """Makes a pod of the bundle with these lines in config.env, this key and these components beside the usual ones."""

    def new(
        config: Mapping[str, str] | None = None, api_key: str = "demo-key", components: tuple[str, ...] = ()
    ) -> AgentPod:
        scratch = tmp_path_factory.mktemp("pod")
        values = {"central-server-url": central.url, **INTERVALS, **(config or {})}
        bundle = fill_in(scratch / "k8s", values, api_key, (*COMPONENTS, *components))
        return AgentPod(Kubelet(render(bundle), account, scratch), image)

    return new


@pytest.fixture(scope="module")
def agent(new_pod: NewPod) -> Iterator[AgentPod]:
    """One pod for the tests that leave it as they found it."""
    with new_pod() as agent:
        agent.wait_ready()
        yield agent
