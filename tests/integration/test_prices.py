"""Prices that Central knows, from its answer to the sample, and over restarts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.integration.conftest import FAST
from tests.sim.agent import Agent
from tests.sim.central.server import Central

OURS: list[dict[str, Any]] = [{"instance_type": "m5.large", "region": "us-east-1", "dollars_per_hour": 0.05}]


def test_what_central_answers_is_what_nodes_cost_also_after_a_restart_and_while_it_answers_no_more(
    central: Central, kubeconfig: Path
) -> None:
    central.prices = OURS

    def samples() -> list[Any]:
        return [sample.body for sample in central.ledger.of("metrics")]

    def priced(sample: Any) -> tuple[Any, Any]:
        return sample["priced_node_count_by_source"], sample["current_cost_per_hour"]

    with Agent(central.url, kubeconfig, FAST) as agent:
        agent.wait_ready()
        agent.wait(lambda: samples() and priced(samples()[-1]) == ({"central": 3}, 0.15))
        central.prices = None
        agent.supervisorctl("restart", "heartbeat", "metrics")
        before = len(samples())
        agent.wait(lambda: len(samples()) > before + 1)
        assert {str(priced(sample)) for sample in samples()[before + 1 :]} == {str(({"central": 3}, 0.15))}
        asked = central.ledger.of("prices")
        assert len(asked) == 1, "once a day"
    assert central.refused == []
