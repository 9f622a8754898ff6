"""Starts the task-runner."""

from __future__ import annotations

import sys

from shared import USER_AGENT
from shared.central.client import CentralClient
from shared.central.identity import Caller
from shared.central.stream import TaskStream
from shared.kube.connection import Kube
from shared.process import lifecycle
from workers.task_runner.runner import Runner
from workers.task_runner.work import calls, evictor
from workers.task_runner.worker import TaskRunner


def main() -> int:
    process = lifecycle.start("task-runner")
    settings = process.settings
    central, cluster_id = settings.central, settings.agent.cluster_id
    caller = Caller(central.api_key, process.instance_id)
    connections = calls.PARALLEL + evictor.PARALLEL + 2
    kube = Kube(settings.kubernetes.kubeconfig, USER_AGENT, process.kubernetes_answered, connections)
    runner = Runner(settings, process.queue, kube)
    client = CentralClient(central.url, cluster_id, caller, central.ca_bundle)
    stream = TaskStream(central.url, cluster_id, caller, central.ca_bundle)
    return lifecycle.run(process, TaskRunner(process, runner, client, stream))


if __name__ == "__main__":
    sys.exit(main())
