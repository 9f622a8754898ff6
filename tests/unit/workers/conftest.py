"""What runs in loops until it is killed, and supervisord's interface without a supervisord."""

from __future__ import annotations

import socketserver
import threading
import xmlrpc.client
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from xmlrpc.server import SimpleXMLRPCDispatcher, SimpleXMLRPCRequestHandler

import pytest

from shared.basics.errors import AgentError
from shared.process.programs import PROGRAMS
from tests.sim.kube.cluster import Cluster
from tests.unit.conftest import eventually


class Looping:
    """Bodies of loops, each on a thread and called again and again, until ``kill`` ends them in mid-watch."""

    def __init__(self, cluster: Cluster, *bodies: Callable[[], float], watches: int | None = None) -> None:
        """``watches`` is how many of the bodies watch the cluster: all, if it is not said."""
        self._cluster = cluster
        self._stop = threading.Event()
        before = len(cluster.store.subscriptions())
        self._threads = [threading.Thread(target=self._drive, args=(body,), daemon=True) for body in bodies]
        for thread in self._threads:
            thread.start()
        expected = before + (len(bodies) if watches is None else watches)
        eventually(lambda: len(cluster.store.subscriptions()) >= expected)

    def _drive(self, body: Callable[[], float]) -> None:
        while not self._stop.is_set():
            try:
                self._stop.wait(min(0.05, body()))
            except AgentError:
                self._stop.wait(0.01)

    def kill(self) -> None:
        """End them without a word, as SIGKILL does."""
        self._stop.set()
        while any(thread.is_alive() for thread in self._threads):
            self._cluster.drop_watches()
            for thread in self._threads:
                thread.join(0.01)


class _Handler(SimpleXMLRPCRequestHandler):
    rpc_paths = ("/RPC2",)
    disable_nagle_algorithm = False

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet."""

    def address_string(self) -> str:
        return "local"


class _Server(socketserver.ThreadingUnixStreamServer, SimpleXMLRPCDispatcher):
    daemon_threads = True

    def __init__(self, path: Path) -> None:
        SimpleXMLRPCDispatcher.__init__(self, allow_none=True)
        self.logRequests = False
        super().__init__(str(path), _Handler)


class FakeSupervisord:
    """All programs run, for an hour, unless told otherwise."""

    def __init__(self, path: Path) -> None:
        self.words = dict.fromkeys(PROGRAMS, "RUNNING")
        self.since = dict.fromkeys(PROGRAMS, 3600.0)
        self.stopping = False
        self.asked: list[tuple[str, ...]] = []
        self._server = _Server(path)
        for name in ("getState", "getAllProcessInfo", "signalProcess", "shutdown"):
            self._server.register_function(getattr(self, f"_{name}"), f"supervisor.{name}")
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _getState(self) -> dict[str, Any]:
        if self.stopping:
            raise xmlrpc.client.Fault(6, "SHUTDOWN_STATE")
        return {"statecode": 1, "statename": "RUNNING"}

    def _getAllProcessInfo(self) -> list[dict[str, Any]]:
        self.asked.append(("getAllProcessInfo",))
        # "now" and "start" are of a clock that was set.
        return [
            {"name": name, "statename": word, "now": 0, "start": 1_000_000, "pid": PROGRAMS.index(name)}
            for name, word in self.words.items()
        ]

    def age_of(self, pid: int) -> float:
        """For how long the process of this number runs."""
        return self.since[PROGRAMS[pid]]

    def _signalProcess(self, program: str, signal: str) -> bool:
        self.asked.append(("signalProcess", program, signal))
        return True

    def _shutdown(self) -> bool:
        self.asked.append(("shutdown",))
        return True


@pytest.fixture
def supervisord(run_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeSupervisord]:
    running = FakeSupervisord(run_dir / "supervisor.sock")
    monkeypatch.setattr("shared.process.programs.age_of", running.age_of)
    yield running
    running.stop()
