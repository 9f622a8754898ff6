"""Starts the event-watcher."""

from __future__ import annotations

import sys

from shared import USER_AGENT
from shared.kube.connection import Kube
from shared.process import lifecycle
from workers.event_watcher.worker import EventWatcher


def main() -> int:
    process = lifecycle.start("event-watcher")
    kube = Kube(process.settings.kubernetes.kubeconfig, USER_AGENT, process.kubernetes_answered)
    return lifecycle.run(process, EventWatcher(process, kube))


if __name__ == "__main__":
    sys.exit(main())
