"""Starts the health worker: the queue's broker first, so that the others find it."""

from __future__ import annotations

import sys
import threading

from shared.basics.errors import ConfigurationError
from shared.process import lifecycle
from shared.queue.broker import Broker
from shared.queue.store import Store
from workers.health.worker import HealthWorker


def main() -> int:
    process = lifecycle.start("health")
    agent = process.settings.agent
    try:
        worker = HealthWorker(process)
    except ConfigurationError as error:
        raise lifecycle.misconfigured(error) from error
    broker = Broker(agent.queue_socket, Store(agent.spool))
    thread = threading.Thread(target=broker.serve, name="broker", daemon=True)
    thread.start()
    status = lifecycle.run(process, worker)
    broker.stop()
    thread.join(timeout=2.0)
    return status


if __name__ == "__main__":
    sys.exit(main())
