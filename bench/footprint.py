"""What the agent costs on a small cluster: memory, CPU to start, time until ready, preloaded and plain.

    python -m bench.footprint

With the settings of the image, and the Python that runs this.
"""

from __future__ import annotations

import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from bench import image
from bench.cgroup import Group
from bench.report import Figure, report
from bench.scale import MIB, Sampler, simulator
from tests.sim.agent import Agent
from tests.sim.central.server import Central

SETTLE_SECONDS = 45.0


@dataclass(frozen=True)
class Start:
    """One start of the agent."""

    ready: float
    """Seconds from exec until /ready said true, asked directly."""
    cpu: float
    """CPU-seconds used by then."""


def start(kubeconfig: Path, preload: bool, cpu: float | None) -> Start:
    """Start it, wait until it is ready, end it."""
    with Group("start", cpu=cpu) as group, Central() as central:
        began = time.monotonic()
        with Agent(central.url, kubeconfig, image.environment(), preload=preload, wrap=group.wrap) as agent:
            agent.wait_ready(120)
            return Start(time.monotonic() - began, group.cpu_seconds())


def memory(kubeconfig: Path, preload: bool) -> Sampler:
    """Run it for a while; the highest that was seen of its memory."""
    with (
        Group("memory") as group,
        Sampler(group) as sampler,
        Central() as central,
        Agent(central.url, kubeconfig, image.environment(), preload=preload, wrap=group.wrap) as agent,
    ):
        agent.wait_ready(120)
        central.ledger.wait(lambda: central.streams, 30)
        for node in ("ip-10-0-0-10.ec2.internal", "ip-10-0-1-10.ec2.internal"):
            task = central.task("drain_node", {"node_name": node})
            central.push(task)
            with suppress(TimeoutError):
                central.ledger.wait_result(task["task_id"], 60)
        time.sleep(SETTLE_SECONDS)
    return sampler


def main() -> None:
    with tempfile.TemporaryDirectory() as scratch, simulator(Path(scratch), 20, 600) as (_, kubeconfig):
        start(kubeconfig, preload=True, cpu=None)  # Byte-compiles what is not yet.
        full = sorted(start(kubeconfig, preload=True, cpu=None).cpu for _ in range(3))[1]
        limited = start(kubeconfig, preload=True, cpu=0.2)
        plain_start = start(kubeconfig, preload=False, cpu=None)
        plain_limited = start(kubeconfig, preload=False, cpu=0.2)
        preloaded = memory(kubeconfig, preload=True)
        plain = memory(kubeconfig, preload=False)
    report(
        "footprint",
        [
            Figure("peak working set, 20 nodes, two drains", preloaded.working_set / MIB, "MiB", 96.0),
            Figure("peak sum of PSS", preloaded.pss / MIB, "MiB", 96.0),
            Figure("CPU until ready", full, "s", 1.0),
            Figure("until ready at a limit of 200m", limited.ready, "s", 8.0),
            Figure("plain supervisord: peak working set", plain.working_set / MIB, "MiB"),
            Figure("plain supervisord: peak sum of PSS", plain.pss / MIB, "MiB"),
            Figure("plain supervisord: CPU until ready", plain_start.cpu, "s"),
            Figure("plain supervisord: until ready at a limit of 200m", plain_limited.ready, "s"),
            Figure("preloaded to plain, PSS", preloaded.pss / plain.pss, ""),
            Figure("preloaded to plain, CPU", full / plain_start.cpu, ""),
        ],
        "20 nodes, 600 pods, 20 changes a second",
    )


if __name__ == "__main__":
    main()
