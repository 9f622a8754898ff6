"""The published API and the embedded Central hold each other to the truth."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import response_schema_conformance, status_code_conformance

from scripts.contract.__main__ import files
from scripts.contract.examples import BODIES
from scripts.contract.openapi import CALLS, Call, document
from tests.sim.agent import ROOT, Agent
from tests.sim.central.server import Central

_CONFIG: dict[str, Any] = {"phases": {"coverage": {"unexpected-methods": []}}}
"""Methods that no call has are the HTTP library's business, not the contract's."""

schema = schemathesis.openapi.from_dict(document(), config=schemathesis.Config.from_dict(_CONFIG))


def test_the_published_documents_are_made_from_the_schemas() -> None:
    stale = [name for name, text in files().items() if (ROOT / "docs" / name).read_text() != text]
    assert stale == [], "run `make docs`"


@pytest.fixture(scope="module")
def server() -> Iterator[Central]:
    with Central() as central:
        central.prices = [{"instance_type": "m5.large", "region": "eu-west-1", "dollars_per_hour": 0.061}]
        yield central


@schema.parametrize()
@settings(max_examples=40, suppress_health_check=list(HealthCheck))
def test_central_answers_as_the_document_says(server: Central, case: Any) -> None:
    """Generated requests, right and wrong ones."""
    case.headers = {**(case.headers or {}), "Authorization": "Bearer demo-key"}
    checks = [not_a_server_error, status_code_conformance, response_schema_conformance]
    case.call_and_validate(base_url=f"{server.url}/api/v1/client", checks=checks, timeout=10)


@pytest.mark.parametrize("call", CALLS, ids=lambda call: call.operation)
def test_central_takes_the_examples(server: Central, call: Call) -> None:
    body = BODIES[call.operation]
    path = call.path.replace("{task_id}", str(body.get("task_id")))
    headers = {"Authorization": "Bearer demo-key", "X-Agent-Instance": "0b7f6c1e-5d4a-5c3b-9e2f-1a0d9c8b7e6f"}
    answer = requests.post(f"{server.url}/api/v1/client{path}", json=body, headers=headers, timeout=60)
    assert answer.status_code == 200, answer.text


def test_what_the_agent_sends_is_what_the_document_says(agent: Agent, central: Central) -> None:
    """Central refuses what breaks the contract; a whole life of the agent has nothing refused."""
    task = central.task("drain_node", {"node_name": "node-1"})
    central.offer(task)
    central.ledger.wait_result(task["task_id"])
    agent.wait(lambda: central.ledger.of("metrics") and central.ledger.of("events"))
    agent.stop()
    assert central.refused == []
    calls = {arrival.call for arrival in central.ledger.arrivals}
    assert calls == {"register", "tasks", "stream", "heartbeat", "result", "metrics", "events", "deregister"}
