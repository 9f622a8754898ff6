"""What is counted is on /metrics from the first page to the last, whoever is restarted in between."""

from __future__ import annotations

import pytest

from shared.process.programs import PROGRAMS
from shared.schemas.parameters import PARAMETERS
from shared.schemas.tasks import STATUSES
from tests.sim.agent import Agent
from tests.sim.central.server import Central


def test_counters_begin_at_zero(agent: Agent) -> None:
    """Prometheus sees no increase in a counter that appears."""
    page = agent.get("/metrics")[1]
    for task_type in PARAMETERS:
        for status in STATUSES:
            assert f'cloudoptim_tasks_total{{status="{status}",task_type="{task_type}"}} 0.0' in page
    for worker in PROGRAMS:
        assert f'cloudoptim_worker_restarts_total{{worker="{worker}"}} 0.0' in page
    for topic in ("results", "events", "metrics"):
        assert f'cloudoptim_dead_letters_total{{topic="{topic}"}} 0.0' in page


def test_each_worker_says_what_it_uses_of_the_machine(agent: Agent) -> None:
    for worker in PROGRAMS:
        agent.wait(lambda worker=worker: agent.metric(f'cloudoptim_worker_memory_bytes{{worker="{worker}"}}') > 2**20)  # type: ignore[misc]
        assert agent.metric(f'cloudoptim_worker_cpu_seconds_total{{worker="{worker}"}}') > 0


@pytest.mark.parametrize("program", ["task-runner", "health"])
def test_an_orderly_restart_loses_no_count(agent: Agent, central: Central, program: str) -> None:
    """Not even of the last second: the task is done, and its worker or the one who adds up restarts at once."""
    counted = 'cloudoptim_tasks_total{status="success",task_type="cordon_node"}'
    for times in range(1, 4):
        task = central.task("cordon_node", {"node_name": "node-3"})
        central.offer(task)
        assert central.ledger.wait_result(task["task_id"])["status"] == "success"
        agent.supervisorctl("restart", program)
        agent.wait_ready()
        agent.wait(lambda times=times: agent.metric(counted) == times)  # type: ignore[misc]
