"""``make demo``: the agent at work, told step by step. Exit status 0 only if each step was seen to happen.

It runs against the simulator, or against the cluster of ``KUBECONFIG``, where it asks before it writes.
``KEEP=1`` leaves everything running at the end.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from shared.schemas.parameters import PARAMETERS
from tests.sim.agent import Agent
from tests.sim.central.server import Central
from tests.sim.picture import picture
from tests.sim.stage import RealStage, SimulatedStage, Stage

_INTERVALS = {
    "TASK_POLL_INTERVAL_SECONDS": "1",
    "METRICS_POLL_INTERVAL_SECONDS": "5",
    "HEARTBEAT_INTERVAL_SECONDS": "5",
}
"""Shorter than in production, so that there is something to see within two minutes."""


class Failed(Exception):
    """A step did not happen."""


def say(text: str = "") -> None:
    print(text, flush=True)


def step(title: str) -> None:
    say(f"\n\033[1m== {title}\033[0m" if sys.stdout.isatty() else f"\n== {title}")


def check(condition: object, what: str) -> None:
    """Tell that ``what`` was seen, or fail."""
    if not condition:
        raise Failed(what)
    say(f"  ok  {what}")


class Demo:
    """One run of the demo on a stage."""

    def __init__(self, stage: Stage, central: Central, agent: Agent) -> None:
        self._stage = stage
        self._central = central
        self._agent = agent

    def run(self) -> None:
        started = time.monotonic()
        self.cluster()
        self.registration()
        self.tasks()
        self.failing_task()
        self.metrics()
        self.events()
        self.restart_in_mid_drain()
        if os.environ.get("KEEP") == "1":
            self.keep()
        self.shutdown()
        say(f"\nAll of it was seen to happen, in {time.monotonic() - started:.0f} s.")

    def cluster(self) -> None:
        step("The cluster")
        for line in self._stage.describe():
            say(f"  {line}")

    def registration(self) -> None:
        step("The agent starts: supervisord with five workers")
        self._agent.start()
        seconds = self._agent.wait_ready(60)
        for line in self._agent.supervisorctl("status").splitlines():
            say(f"  {line}")
        check(True, f"/ready after {seconds:.1f} s: {self._agent.get('/ready')[1].strip()}")
        check(self._agent.get("/health")[0] == 200, f"/health: {self._agent.get('/health')[1].strip()}")
        registered = self._arrived("register", lambda body: True)
        check(registered, f"registered: {_some(registered, 'agent_version', 'kubernetes_version', 'node_count')}")
        beat = self._arrived("heartbeat", lambda body: body["status"] == "healthy")
        check(beat, f"heartbeat: {_some(beat, 'status', 'workers')}")

    def tasks(self) -> None:
        step("One task of each type, by poll and by push")
        self._central.ledger.wait(lambda: self._central.streams, 30)
        node = self._stage.spare_node()
        for way in ("poll", "push"):
            pod = self._stage.pod()
            victim, mover = self._stage.pods_elsewhere(2)
            for task_type, parameters in (
                ("cordon_node", {"node_name": node}),
                ("uncordon_node", {"node_name": node}),
                ("label_node", {"node_name": node, "labels": {"demo.cloudoptim.io/by": way}}),
                ("label_pod", {**pod, "labels": {"demo.cloudoptim.io/by": way}}),
                ("delete_pod", victim),
                ("reschedule_pod", mover),
                ("drain_node", {"node_name": node}),
            ):
                self._stage.before(task_type, parameters)
                result = self._execute(way, task_type, parameters)
                last = result["logs"].splitlines()[-1] if result["logs"] else result["error"]
                check(result["status"] == "success", f"{way}: {task_type}, {result['duration_seconds']:.2f} s; {last}")
                self._stage.after(task_type, parameters)
        check(len(PARAMETERS) == 7, "that is all seven types")

    def failing_task(self) -> None:
        step("A task that must fail, with its reason")
        result = self._execute("push", "drain_node", {"node_name": self._stage.spare_node(), "grace": 5})
        check(result["status"] == "failed", f"unknown parameter: {result['error']}")
        result = self._execute("push", "cordon_node", {"node_name": "no-such-node"})
        check(result["status"] == "failed", f"missing node: {result['error']}")

    def metrics(self) -> None:
        step("The metrics that arrived")
        sample = self._arrived("metrics", lambda body: body["node_count"] == self._stage.node_count())
        for line in (
            _some(sample, "node_count", "spot_node_count", "on_demand_node_count", "ready_node_count"),
            _some(sample, "total_cpu_cores", "allocated_cpu_cores", "limit_cpu_cores", "cpu_utilization_percent"),
            _some(sample, "total_memory_gb", "allocated_memory_gb", "memory_utilization_percent"),
            _some(sample, "pod_count", "running_pod_count", "pending_pod_count", "failed_pod_count"),
            _some(sample, "current_cost_per_hour", "spot_cost_per_hour", "on_demand_cost_per_hour"),
            _some(sample, "nodes_by_instance_type", "priced_node_count_by_source"),
        ):
            say(f"  {line}")
        check(sample["current_cost_per_hour"] > 0, f"{len(self._central.ledger.of('metrics'))} samples arrived so far")
        sample_name = 'cloudoptim_tasks_total{status="success",task_type="drain_node"}'
        self._wait(lambda: self._agent.metric(sample_name) == 2, "Prometheus sees the two drains")
        check(True, f"Prometheus sees the two drains on /metrics: {sample_name} 2")

    def events(self) -> None:
        step("Events that are forwarded")
        for what, event_type, happen in self._stage.mishaps():
            seen = len(self._events(event_type))
            happen()
            self._wait(lambda kind=event_type, before=seen: len(self._events(kind)) > before, what)  # type: ignore[misc]
            event = self._events(event_type)[-1]
            check(True, f"{what}: {_some(event, 'event_type', 'severity', 'kind', 'name', 'owner', 'message')}")
        self._stage.recover()
        if not self._stage.simulated:
            say("  (OOMKilled and NotReady are made to happen on the simulator only)")

    def restart_in_mid_drain(self) -> None:
        step("supervisorctl restart task-runner in mid-drain")
        node, blocked = self._stage.slow_node()
        task = self._central.task("drain_node", {"node_name": node})
        self._central.push(task)
        self._wait(lambda: self._stage.is_cordoned(node), "the drain begins")
        say(f"  the drain of {node} runs; {blocked}")
        before = self._agent.pids()
        for line in self._agent.supervisorctl("restart", "task-runner").splitlines():
            say(f"  {line}")
        after = self._agent.pids()
        check(before["task-runner"] != after.get("task-runner"), "the task-runner has a new pid")
        others = {name: pid for name, pid in before.items() if name != "task-runner"}
        check(others.items() <= after.items(), "no other worker was disturbed")
        check(not self._central.ledger.results(task["task_id"]), "the drain has no result yet")
        self._stage.unblock()
        result = self._central.ledger.wait_result(task["task_id"], 90)
        check("resumed" in result["logs"], f"it was resumed: {result['logs'].splitlines()[-1]}")
        check(result["status"] == "success", "it succeeded")
        check(len(self._central.ledger.results(task["task_id"])) == 1, "and was answered once")
        check(not self._central.ledger.of("deregister"), "nobody deregistered")
        self._stage.after("drain_node", {"node_name": node})

    def shutdown(self) -> None:
        step("SIGTERM: the orderly shutdown")
        samples = len(self._central.ledger.of("metrics"))
        started = time.monotonic()
        status = self._agent.stop()
        check(status == 0, f"supervisord ended with status 0 after {time.monotonic() - started:.1f} s")
        check(len(self._central.ledger.of("metrics")) > samples, "a final snapshot arrived")
        check(self._central.ledger.arrivals[-1].call == "deregister", "the deregistration is the last call Central saw")
        check(not self._central.refused, "Central refused nothing")
        self._stage.verdict(check)

    def keep(self) -> None:
        step("KEEP=1: left running")
        say(f"  {self._central.url}/             # in a browser: the cluster, tasks to click, what arrives")
        say(f"  http://localhost:{self._agent.port}/             # in a browser: the agent's own status page")
        for line in self._stage.what_to_try():
            say(f"  {line}")
        say(f"  curl '{self._central.url}/sim/arrivals?call=metrics'")
        body = json.dumps({"task_type": "cordon_node", "parameters": {"node_name": self._stage.spare_node()}})
        say(f"  curl -d '{body}' {self._central.url}/sim/push")
        say(f"  curl localhost:{self._agent.port}/ready      # and /health, /metrics, /status")
        say(f"  AGENT_RUN_DIR={self._agent.run_dir} .venv/bin/supervisorctl -c supervisord.conf status")
        say(f"  tail -f {self._agent.log_path}")
        say("  Ctrl-C ends it.")
        try:
            while True:
                time.sleep(1)
        except KeyboardInterrupt:
            say()

    # -- inside -----------------------------------------------------------------------------------

    def _execute(self, way: str, task_type: str, parameters: dict[str, Any]) -> dict[str, Any]:
        task = self._central.task(task_type, parameters)
        if way == "poll":
            self._central.offer(task)
        else:
            self._central.push(task)
        return self._central.ledger.wait_result(task["task_id"])

    def _arrived(self, call: str, wanted: Callable[[Any], bool]) -> dict[str, Any]:
        """The newest body that arrived by ``call`` and is ``wanted``."""

        def newest() -> Any:
            return next((a.body for a in reversed(self._central.ledger.of(call)) if wanted(a.body)), None)

        try:
            found: dict[str, Any] = self._central.ledger.wait(newest, 30)
        except TimeoutError as error:
            raise Failed(f"{call} did not arrive") from error
        return found

    def _events(self, event_type: str) -> list[dict[str, Any]]:
        batches = self._central.ledger.of("events")
        return [event for batch in batches for event in batch.body["events"] if event["event_type"] == event_type]

    def _wait(self, condition: Callable[[], object], what: str) -> None:
        try:
            self._agent.wait(condition, 30)
        except TimeoutError as error:
            raise Failed(what) from error


def _some(body: dict[str, Any], *fields: str) -> str:
    return ", ".join(f"{field}={body[field]}" for field in fields)


def main() -> int:
    kubeconfig = os.environ.get("KUBECONFIG")
    with tempfile.TemporaryDirectory(prefix="cloudoptim-demo-") as scratch:
        stage = RealStage(Path(kubeconfig)) if kubeconfig else SimulatedStage(Path(scratch))
        with stage, Central() as central:
            central.console.cluster = lambda: picture(stage.kube)
            say(f"To watch it in a browser: {central.url}/")
            agent = Agent(central.url, stage.kubeconfig, _INTERVALS)
            try:
                Demo(stage, central, agent).run()
            except (Failed, TimeoutError, LookupError) as failure:
                say(f"\nFAILED: {failure}\n--- the agent's last words ({agent.log_path}) ---")
                say(agent.log_path.read_text(errors="replace")[-4000:] if agent.log_path.exists() else "")
                return 1
            finally:
                if agent.process is not None and agent.process.poll() is None:
                    agent.kill()
    return 0


if __name__ == "__main__":
    sys.exit(main())
