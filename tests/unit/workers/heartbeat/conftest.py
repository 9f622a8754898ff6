"""A heartbeat worker with its outbox and a Central, by a clock of its own."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from shared.central.client import CentralClient
from shared.central.identity import Caller
from shared.process.lifecycle import Process
from shared.process.state import CLUSTER, HEALTH, REGISTRATION
from shared.queue.client import value
from shared.queue.memory import MemoryQueue
from tests.sim.central.server import Central
from tests.unit.conftest import FakeClock, process_of
from workers.heartbeat.delivery import Delivery
from workers.heartbeat.prices import PriceKeeper
from workers.heartbeat.worker import HeartbeatWorker

FACTS = {"kubernetes_version": "v1.36.2", "provider": "aws", "region": "eu-west-1", "node_count": 3}
HEALTHY = {
    "ready": True,
    "uptime_seconds": 61.5,
    "k8s_api_connected": True,
    "workers": {"metrics": "running"},
    "tasks_in_progress": 2,
}


def result(task_id: str) -> bytes:
    outcome = {"status": "success", "executed_at": "2026-03-01T12:00:00Z", "duration_seconds": 1.0, "error": None}
    return json.dumps({"task_id": task_id, "logs": "", **outcome}).encode()


class Uplink:
    """A heartbeat worker that beats for cluster ``demo`` at ``central``."""

    def __init__(self, central: Central, run_dir: Path, clock: FakeClock, key: str = "demo-key") -> None:
        self.central = central
        self.clock = clock
        self.queue = MemoryQueue(clock=clock)
        self.queue.set_state({CLUSTER: FACTS, HEALTH: HEALTHY})
        self.process: Process = process_of(run_dir, self.queue, "heartbeat", clock, {"CENTRAL_API_KEY": key})
        caller = Caller(self.process.settings.central.api_key, "instance-1")
        self.clients = [CentralClient(central.url, "demo", caller) for _ in range(3)]
        self.delivery = Delivery(self.queue, self.clients[1], "demo", clock)
        self.prices = PriceKeeper(self.process, self.clients[2])
        self.worker = HeartbeatWorker(self.process, self.clients[0], self.delivery, self.prices)
        self.worker._pause = clock.advance

    def close(self) -> None:
        for client in self.clients:
            client.close()

    def registration(self) -> dict[str, Any]:
        entry = self.queue.get_state(REGISTRATION).get(REGISTRATION)
        return dict(value(entry)) if entry is not None else {}

    def calls(self) -> list[str]:
        return [arrival.call for arrival in self.central.ledger.arrivals]

    def last(self, call: str) -> dict[str, Any]:
        return dict(self.central.ledger.of(call)[-1].body)

    def connection(self) -> dict[str, Any]:
        self.process.publish()
        return dict(value(self.queue.get_state("worker/heartbeat")["worker/heartbeat"])["connections"])


@pytest.fixture
def uplink(central: Central, run_dir: Path, clock: FakeClock) -> Iterator[Uplink]:
    uplink = Uplink(central, run_dir, clock)
    with closing(uplink):
        yield uplink
