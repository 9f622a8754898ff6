"""The Central that docs/central-api.md prints, run as it stands there, with the agent as it ships."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.integration.conftest import FAST
from tests.sim.agent import ROOT, Agent, free_port
from tests.sim.kube.cluster import Cluster
from tests.unit.conftest import eventually

KEY = "key-of-the-docs"
PAGE = (ROOT / "docs" / "central-api.md").read_text()


def program() -> str:
    """The only Python of the page."""
    (text,) = re.findall(r"^```python\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    return str(text)


@pytest.fixture
def central(tmp_path: Path) -> Iterator[str]:
    """Its address."""
    path, port = tmp_path / "central.py", free_port()
    path.write_text(program())
    url = f"http://127.0.0.1:{port}"
    with subprocess.Popen([sys.executable, str(path), str(port), KEY], stderr=subprocess.DEVNULL) as running:
        try:
            eventually(lambda: _answers(url))
            yield url
        finally:
            running.kill()


def _answers(url: str) -> bool:
    try:
        return requests.get(f"{url}/seen", timeout=60).status_code == 401
    except requests.ConnectionError:
        return False


def test_it_has_80_lines() -> None:
    lines = [line for line in program().splitlines() if line.strip()]
    assert len(lines) <= 80
    assert max(map(len, lines)) <= 120


def test_the_agent_works_with_it(central: str, cluster: Cluster, kubeconfig: Path) -> None:
    def call(path: str, **body: Any) -> Any:
        headers = {"Authorization": f"Bearer {KEY}"}
        method = "POST" if body else "GET"
        return requests.request(method, f"{central}{path}", json=body or None, headers=headers, timeout=60).json()

    with Agent(central, kubeconfig, FAST, api_key=KEY) as agent:
        agent.wait_ready()
        agent.wait(lambda: agent.metric("cloudoptim_stream_connected") == 1)
        call("/tasks", cluster_id="demo", task_type="drain_node", parameters={"node_name": "node-1"})
        (result,) = eventually(lambda: call("/seen")["results"]).values()
        assert result["status"] == "success"
        cluster.oom_kill("shop", cluster.pods(namespace="shop")[0]["metadata"]["name"])
        eventually(lambda: "oom_killed" in [event["event_type"] for event in call("/seen")["events"].values()])
        eventually(lambda: call("/seen")["samples"])
        assert agent.stop() == 0
    assert call("/seen")["agents"]["demo"]["last"] == "deregister"
