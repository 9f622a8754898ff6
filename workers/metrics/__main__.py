"""Starts the metrics worker."""

from __future__ import annotations

import sys

from shared import USER_AGENT
from shared.kube.connection import Kube
from shared.process import lifecycle
from workers.metrics.worker import MetricsWorker


def main() -> int:
    process = lifecycle.start("metrics")
    kube = Kube(process.settings.kubernetes.kubeconfig, USER_AGENT, process.kubernetes_answered)
    return lifecycle.run(process, MetricsWorker(process, kube))


if __name__ == "__main__":
    sys.exit(main())
