"""Starts the heartbeat."""

from __future__ import annotations

import sys

from shared.central.client import CentralClient
from shared.central.identity import Caller
from shared.clouds.azure import AzureRetail
from shared.process import lifecycle
from workers.heartbeat.delivery import Delivery
from workers.heartbeat.prices import PriceKeeper
from workers.heartbeat.worker import HeartbeatWorker


def main() -> int:
    process = lifecycle.start("heartbeat")
    central, cluster_id = process.settings.central, process.settings.agent.cluster_id
    url, ca_bundle = central.url, central.ca_bundle
    caller = Caller(central.api_key, process.instance_id)
    client = CentralClient(url, cluster_id, caller, ca_bundle)
    delivery = Delivery(process.queue, CentralClient(url, cluster_id, caller, ca_bundle), cluster_id)
    azure = AzureRetail() if process.settings.metrics.live_prices == "azure" else None
    prices = PriceKeeper(process, CentralClient(url, cluster_id, caller, ca_bundle), azure)
    return lifecycle.run(process, HeartbeatWorker(process, client, delivery, prices))


if __name__ == "__main__":
    sys.exit(main())
