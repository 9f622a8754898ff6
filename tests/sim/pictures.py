"""``make pictures``: what the pages look like, taken by Chromium from the agent at work on the demo's cluster."""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path

from tests.browser import Browser, chromium
from tests.integration.conftest import FAST
from tests.sim.agent import ROOT, Agent
from tests.sim.central.server import Central
from tests.sim.picture import picture
from tests.sim.stage import SimulatedStage, Stage
from tests.tools import find

_FOLDER = ROOT / "docs" / "pictures"
_LARGEST = 200 * 1024
"""Bytes of one picture."""
_LIMITS = {"MAX_CORDONED_NODES": "4", "PROTECTED_LABELS": "karpenter.sh", "MAX_DRAINS_PER_HOUR": "20"}


def _work(stage: Stage, central: Central, agent: Agent) -> None:
    """Something to see: tasks that ended well and not, events, and at last a drain that a budget holds."""
    central.ledger.wait(lambda: central.streams, 60)
    spare = stage.spare_node()
    for task_type, parameters in (
        ("cordon_node", {"node_name": "no-such-node"}),
        ("label_node", {"node_name": spare, "labels": {"demo.cloudoptim.io/by": "push"}}),
        ("drain_node", {"node_name": spare, "dry_run": True}),
        ("drain_node", {"node_name": spare}),
    ):
        task = central.task(task_type, parameters)
        central.push(task)
        central.ledger.wait_result(task["task_id"], 120)
    for _, _, happen in stage.mishaps():
        happen()
    node, _ = stage.slow_node()
    central.push(central.task("drain_node", {"node_name": node, "skip_namespaces": ["kube-system", "shop"]}))
    agent.wait(lambda: any(task["held"] for task in json.loads(agent.get("/status")[1])["tasks"]["listed"]))
    time.sleep(8)  # Until the kubelets, the watches and both pages have told what happened.


def _take(browser: Browser, name: str) -> None:
    path = _FOLDER / name
    browser.picture(path)
    size = path.stat().st_size
    print(f"{path.relative_to(ROOT)}: {size // 1024} KiB")
    if size > _LARGEST:
        raise SystemExit(f"{name} is larger than {_LARGEST // 1024} KiB")


def main() -> int:
    binary, driver = find("chromium"), find("chromedriver")
    if binary is None or driver is None:
        print("apt-get install chromium chromium-driver", file=sys.stderr)
        return 1
    _FOLDER.mkdir(exist_ok=True)
    with (
        tempfile.TemporaryDirectory(prefix="cloudoptim-pictures-") as scratch,
        SimulatedStage(Path(scratch)) as stage,
        Central() as central,
        Agent(central.url, stage.kubeconfig, {**FAST, **_LIMITS}) as agent,
        chromium(binary, driver) as browser,
    ):
        agent.wait_ready(120)
        central.console.cluster = lambda: picture(stage.kube)
        browser.open(f"{central.url}/", 1280, 900)
        _work(stage, central, agent)
        browser.sees("pod_evicted", "#events")
        _take(browser, "console.png")
        browser.open(f"http://127.0.0.1:{agent.port}/", 1100, 1060)
        browser.sees("holds", "#tasks")
        _take(browser, "status.png")
        browser.open(f"http://127.0.0.1:{agent.port}/", 390, 800, dark=True)
        browser.sees("holds", "#tasks")
        _take(browser, "status-phone.png")
    return 0


if __name__ == "__main__":
    sys.exit(main())
