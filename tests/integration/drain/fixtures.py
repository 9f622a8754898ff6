"""The ground and the task-runner of a test; in tests/integration/conftest.py for all that want them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from shared.queue.memory import MemoryQueue
from tests.integration.drain import ground as grounds
from tests.integration.drain.ground import EVERYTHING, Ground, RealCluster
from tests.integration.drain.work import Tasks, clock_of

Start = Callable[..., Tasks]


@pytest.fixture(scope="session")
def real_cluster(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealCluster]:
    cluster = RealCluster(Path(request.config.getoption("--kubeconfig")), tmp_path_factory.mktemp("real"))
    with cluster.prepared():
        yield cluster


@pytest.fixture
def ground(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Ground]:
    """Two nodes and a namespace: of a new simulator, or of the cluster that --kubeconfig names."""
    if request.config.getoption("--kubeconfig"):
        with request.getfixturevalue("real_cluster").ground() as ground:
            yield ground
    else:
        with grounds.simulated(tmp_path) as ground:
            yield ground


@pytest.fixture
def start(ground: Ground, tmp_path: Path) -> Iterator[Start]:
    """Starts task-runners, with the grants of the bundle and its components unless a test says otherwise.

    Their clock runs thirty times as fast, so that a budget's five seconds are a moment.
    """
    started: list[Tasks] = []

    def begin(
        kubeconfig: Path | None = None, times: float = 30.0, queue: MemoryQueue | None = None, **env: Any
    ) -> Tasks:
        tasks = Tasks(kubeconfig or ground.kubeconfig(*EVERYTHING), tmp_path, env, clock_of(times), queue)
        started.append(tasks)
        return tasks

    yield begin
    for tasks in started:
        tasks.close()


@pytest.fixture
def tasks(start: Start) -> Tasks:
    return start()
