"""What many unit tests need: a clock of their own, settings, a process, and servers that answer oddly."""

from __future__ import annotations

import contextlib
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from shared import config
from shared.basics import telemetry
from shared.basics.timing import SYSTEM_CLOCK, Clock
from shared.config import Settings
from shared.kube.connection import Kube, Report
from shared.process.lifecycle import Process
from shared.process.programs import Programs
from shared.queue.client import Queue
from shared.queue.memory import MemoryQueue
from tests.sim.central.server import Central
from tests.sim.kube.cluster import Cluster
from tests.sim.kube.credentials import kubeconfig

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=timezone.utc)


class FakeClock:
    """Stands still until it is told to ``advance``."""

    def __init__(self) -> None:
        self._elapsed = 0.0

    def monotonic(self) -> float:
        return 1000.0 + self._elapsed

    def now(self) -> datetime:
        return NOON + timedelta(seconds=self._elapsed)

    def advance(self, seconds: float) -> None:
        self._elapsed += seconds


class FastClock:
    """The machine's clock, ``times`` as fast: what takes a minute by it takes a moment of the test."""

    def __init__(self, times: float = 30.0) -> None:
        self._times = times
        self._begun, self._epoch = time.monotonic(), datetime.now(timezone.utc)

    def monotonic(self) -> float:
        return (time.monotonic() - self._begun) * self._times

    def now(self) -> datetime:
        return self._epoch + timedelta(seconds=self.monotonic())


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def run_dir() -> Iterator[Path]:
    """A directory with a path short enough for sockets."""
    with tempfile.TemporaryDirectory(prefix="co-") as path:
        yield Path(path)


@pytest.fixture
def central() -> Iterator[Central]:
    with Central() as central:
        yield central


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    """Three empty nodes whose pods start and end almost at once."""
    with Cluster(nodes=3, start_seconds=0.02, termination_seconds=0.05) as cluster:
        yield cluster


@pytest.fixture
def kube(cluster: Cluster, tmp_path: Path) -> Kube:
    return kube_of(cluster.url, tmp_path)


@pytest.fixture
def process(run_dir: Path) -> Process:
    return process_of(run_dir, MemoryQueue())


def kube_of(
    url: str,
    folder: Path,
    token: str | None = None,
    report: Report = lambda ok, why: None,
    clock: Clock = SYSTEM_CLOCK,
    connections: int = 4,
) -> Kube:
    """A connection to the API server at ``url``, through a kubeconfig in ``folder``."""
    path = folder / "kubeconfig"
    path.write_text(kubeconfig(url, token, None), encoding="utf-8")
    return Kube(str(path), "tests", report, connections, clock)


def settings_of(run_dir: Path, **variables: str) -> Settings:
    """Settings of an agent that works in ``run_dir``."""
    environ = {
        "CENTRAL_SERVER_URL": "http://127.0.0.1:1",
        "CENTRAL_API_KEY": "demo-key",
        "CLUSTER_ID": "demo",
        "AGENT_RUN_DIR": str(run_dir),
        "TERMINATION_LOG": str(run_dir / "termination-log"),
        "HEALTH_CHECK_PORT": "0",
        "HEALTH_CHECK_ADDRESS": "127.0.0.1",
    }
    return config.load({**environ, **variables})


def process_of(
    run_dir: Path,
    queue: Queue,
    name: str = "metrics",
    clock: Clock = SYSTEM_CLOCK,
    env: Mapping[str, str] | None = None,
) -> Process:
    """A worker's surroundings; there is no supervisord at its socket unless a test starts one."""
    settings = settings_of(run_dir, **(env or {}))
    programs = Programs(settings.agent.supervisor_socket)
    return Process(name, settings, queue, programs, "instance-1", clock)


def counted(sample: str, **labels: str) -> float:
    """The present value of one of the agent's Prometheus samples."""
    return telemetry.REGISTRY.get_sample_value(f"cloudoptim_{sample}", labels) or 0.0


def eventually(condition: Callable[[], Any], timeout: float = 60.0) -> Any:
    """What ``condition()`` returns once it is true."""
    deadline = time.monotonic() + timeout
    while not (found := condition()):
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.005)
    return found


def http(status: int, body: bytes = b"", headers: Mapping[str, str] | None = None) -> bytes:
    """An HTTP answer as bytes; its length is said unless ``headers`` say otherwise."""
    lines = {"Content-Length": str(len(body)), "Connection": "close", **(headers or {})}
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return f"HTTP/1.1 {status} Whatever\r\n{head}\r\n".encode() + body


class OddServer:
    """Answers one request a connection with the next of ``answers``, byte for byte; the last one again and again."""

    def __init__(self, *answers: bytes) -> None:
        self.requests: list[bytes] = []
        self._answers = list(answers)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> OddServer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join(60)
        self._listener.close()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection:
                self.requests.append(_read_request(connection))
                answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
                try:
                    connection.sendall(answer)
                except OSError:
                    pass  # The client had enough.


class Dripping:
    """A server that sends ``head`` and then ``drip`` again and again, until the client hangs up.

    After ten seconds it is ``over`` at the latest: what would wait for ever is to fail.
    """

    def __init__(self, head: bytes, drip: bytes) -> None:
        self._head, self._drip = head, drip
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self.over = threading.Event()
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                with connection, contextlib.suppress(OSError):
                    connection.recv(65536)
                    connection.sendall(self._head)
                    for _ in range(500):
                        if self.over.wait(0.02):
                            return
                        connection.sendall(self._drip)
                    self.over.set()

    def close(self) -> None:
        self.over.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


def _read_request(connection: socket.socket) -> bytes:
    request = b""
    while b"\r\n\r\n" not in request:
        piece = connection.recv(65536)
        if not piece:
            return request
        request += piece
    head, _, body = request.partition(b"\r\n\r\n")
    size = next((int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-le")), 0)
    while len(body) < size:
        body += connection.recv(65536)
    return head + b"\r\n\r\n" + body
