"""A broker on a real socket, and both forms of the queue behind one name."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from shared.basics.timing import SYSTEM_CLOCK, Clock
from shared.queue.broker import Broker
from shared.queue.client import Queue, QueueClient
from shared.queue.limits import Limits
from shared.queue.memory import MemoryQueue
from shared.queue.messages import Leased
from shared.queue.store import Store
from tests.unit.conftest import FakeClock


class RunningBroker:
    """A broker on a thread of its own; ``restart`` keeps its spool."""

    def __init__(self, folder: Path, limits: Limits | None = None, clock: Clock = SYSTEM_CLOCK) -> None:
        self.path = folder / "queue.sock"
        self.spool = folder / "spool.sqlite"
        self._limits = limits
        self._clock = clock
        self.start()

    def start(self) -> None:
        self.broker = Broker(self.path, Store(self.spool, self._limits, self._clock), self._clock)
        self.thread = threading.Thread(target=self.broker.serve, daemon=True)
        self.thread.start()

    def stop(self) -> None:
        if self.thread.is_alive():
            self.broker.stop()
            self.thread.join(60)
        assert not self.thread.is_alive()

    def restart(self) -> None:
        self.stop()
        self.start()


@pytest.fixture
def running(run_dir: Path) -> Iterator[RunningBroker]:
    broker = RunningBroker(run_dir)
    yield broker
    broker.stop()


@pytest.fixture
def client(running: RunningBroker) -> Iterator[QueueClient]:
    client = QueueClient(running.path)
    yield client
    client.disconnect()


SMALL = Limits(total_bytes=1000, messages={"results": 5, "events": 5, "metrics": 5})


@pytest.fixture(params=["memory", "broker"])
def queue(request: pytest.FixtureRequest, run_dir: Path, clock: FakeClock) -> Iterator[Queue]:
    """The queue in both forms, with little room and a clock that stands still."""
    if request.param == "memory":
        yield MemoryQueue(SMALL, clock)
        return
    broker = RunningBroker(run_dir, SMALL, clock)
    client = QueueClient(broker.path)
    yield client
    client.disconnect()
    broker.stop()


def messages(*keys: str, size: int = 0) -> list[tuple[str, bytes]]:
    """Messages whose body says their key, padded to ``size`` bytes."""
    return [(key, json.dumps(key.ljust(max(0, size - 2))).encode()) for key in keys]


def keys(leased: list[Leased]) -> list[str]:
    return [message.key for message in leased]


def body(message: Leased) -> Any:
    return json.loads(bytes(message.body))
