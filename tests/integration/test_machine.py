"""The machine below the agent: its files, its processes' end, its clock."""

from __future__ import annotations

import os
import signal
import stat
import time
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from shared.process.programs import PROGRAMS
from tests.integration.conftest import FAST
from tests.integration.shipped import Shipped, shipped
from tests.sim.agent import Agent
from tests.sim.central.server import Central
from tests.tools import find_faketime, require

DAY = 86_400


@pytest.fixture(scope="module")
def stopwatch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file that says by how many seconds the agent's wall clock is wrong."""
    path = tmp_path_factory.mktemp("clock") / "offset"
    path.write_text("+0")
    return path


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory, stopwatch: Path) -> Iterator[Shipped]:
    """An agent whose wall clock, and nothing else, can be set where libfaketime is installed."""
    env = {
        "LD_PRELOAD": find_faketime() or "",
        "FAKETIME_TIMESTAMP_FILE": str(stopwatch),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }
    with shipped(tmp_path_factory.mktemp("machine"), nodes=6, env=env) as shop:
        yield shop


# -- files ----------------------------------------------------------------------------------------


def test_nobody_else_reads_what_the_agent_writes(shop: Shipped) -> None:
    """Whatever the umask it was started with: the spool holds results, and what they say of the cluster."""
    run_dir = shop.agent.run_dir
    assert stat.S_IMODE(run_dir.stat().st_mode) == 0o700
    found = {path.name: stat.S_IMODE(path.lstat().st_mode) for path in run_dir.iterdir()}
    assert {"spool.sqlite", "spool.sqlite-wal", "queue.sock", "supervisor.sock", "supervisord.pid", "lock"} <= set(
        found
    )
    assert {name: oct(mode) for name, mode in found.items() if mode & 0o077} == {}


def test_no_worker_leaves_a_dump_of_its_memory(shop: Shipped) -> None:
    for pid in shop.agent.pids().values():
        limits = Path(f"/proc/{pid}/limits").read_text()
        (line,) = [line for line in limits.splitlines() if line.startswith("Max core file size")]
        assert line.split()[4:6] == ["1", "1"]


# -- the clock ------------------------------------------------------------------------------------


def worked(shop: Shipped, node: str) -> None:
    """A task goes through, whatever the agent's clock says: its deadline is far off."""
    deadline = (datetime.now(timezone.utc) + timedelta(days=3)).isoformat()
    task_id = shop.offer("cordon_node", node, deadline=deadline)
    assert shop.result(task_id)["status"] == "success"


@pytest.mark.parametrize("step", [-DAY, -7200, 3600, DAY])
def test_a_clock_that_is_set_under_load_disturbs_nobody(shop: Shipped, stopwatch: Path, step: int) -> None:
    """Nobody is taken for hung, nothing is unready for it, tasks go on being answered."""
    require("libfaketime")
    pids = shop.agent.pids()
    beats = len(shop.central.ledger.of("heartbeat"))
    worked(shop, "node-1")
    stopwatch.write_text(f"{step:+d}")
    worked(shop, "node-2")
    began = time.monotonic()
    unready = []
    while time.monotonic() - began < 8 or len(shop.central.ledger.of("heartbeat")) < beats + 8:
        unready += [shop.agent.ready()] if not shop.agent.ready().get("ready") else []
        time.sleep(0.2)
    worked(shop, "node-3")
    stopwatch.write_text("+0")
    worked(shop, "node-1")
    shop.agent.wait_ready()
    assert unready == []
    assert {arrival.body["status"] for arrival in shop.central.ledger.of("heartbeat")[beats + 1 :]} == {"healthy"}
    assert shop.agent.pids() == pids


def test_a_hung_worker_is_found_and_replaced_while_the_clock_is_two_hours_back(shop: Shipped, stopwatch: Path) -> None:
    require("libfaketime")
    stopwatch.write_text("-7200")
    hung = shop.agent.pids()["event-watcher"]
    os.kill(hung, signal.SIGSTOP)
    shop.agent.wait(lambda: shop.agent.pids().get("event-watcher", hung) != hung, timeout=180)
    shop.agent.wait_ready()
    stopwatch.write_text("+0")


# -- the end of supervisord -----------------------------------------------------------------------


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.parametrize("preload", [True, False], ids=["preloaded", "plain"])
def test_workers_end_with_a_supervisord_that_is_killed(preload: bool, central: Central, kubeconfig: Path) -> None:
    """Where it is not PID 1, they would go on beside those of the next: two task-runners for one cluster."""
    with Agent(central.url, kubeconfig, FAST, preload=preload) as agent:
        agent.wait_ready()
        pids = agent.pids()
        assert set(pids) == set(PROGRAMS)
        assert agent.process is not None
        agent.process.kill()
        agent.process.wait(60)
        agent.wait(lambda: not any(is_running(pid) for pid in pids.values()))
        agent.start()
        agent.wait_ready()
        assert not set(agent.pids().values()) & set(pids.values())
