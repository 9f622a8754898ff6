"""The agent as it ships, as a child process: supervisord with the five workers, its endpoints and its log."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
CONF = ROOT / "supervisord.conf"


class Agent:
    """Use as a context manager, or ``start`` and ``stop``. ``env`` is added to the settings it needs."""

    def __init__(
        self,
        central_url: str,
        kubeconfig: Path | str,
        env: Mapping[str, str] | None = None,
        api_key: str = "demo-key",
        cluster_id: str = "demo",
        preload: bool = True,
        wrap: Callable[[Sequence[str]], Sequence[str]] = list,
    ) -> None:
        self._scratch = tempfile.TemporaryDirectory(prefix="cloudoptim-", ignore_cleanup_errors=True)
        self.run_dir = Path(self._scratch.name) / "run"
        self.port = free_port()
        self._wrap = wrap
        self.preload = preload
        """Whether ``cloudoptim-agent run`` starts it, or plain supervisord."""
        self.env = {
            "CENTRAL_SERVER_URL": central_url,
            "CENTRAL_API_KEY": api_key,
            "CLUSTER_ID": cluster_id,
            "KUBECONFIG": str(kubeconfig),
            "AGENT_RUN_DIR": str(self.run_dir),
            "HEALTH_CHECK_PORT": str(self.port),
            "HEALTH_CHECK_ADDRESS": "127.0.0.1",
            "TERMINATION_LOG": str(Path(self._scratch.name) / "termination-log"),
            **(env or {}),
        }
        self.log_path = Path(self._scratch.name) / "agent.log"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> Agent:
        self.run_dir.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "workers.commands", "run", "-c", str(CONF)]
        if not self.preload:
            command = [str(Path(sys.executable).parent / "supervisord"), "-n", "-c", str(CONF)]
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                self._wrap(command), cwd=ROOT, env=self.environment(), stdout=log, stderr=log
            )
        return self

    def stop(self, timeout: float = 100.0) -> int:
        """SIGTERM to supervisord; its exit status once it is gone."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.kill()
            raise

    def kill(self) -> None:
        """SIGKILL to supervisord and its children, as a node that dies does."""
        assert self.process is not None
        for pid in [self.process.pid, *_children(self.process.pid)]:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self.process.wait(60)

    def __enter__(self) -> Agent:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process is not None and self.process.poll() is None:
            self.kill()
        if error is not None:
            print(f"--- the agent's log ---\n{self.log_path.read_text(errors='replace')[-8000:]}")
        self._scratch.cleanup()

    # -- looking at it ----------------------------------------------------------------------------

    def get(self, path: str) -> tuple[int, str]:
        """Status and body of an endpoint; (0, reason) when nobody answers."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=20) as answer:
                return int(answer.status), answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError as error:
            return 0, str(error)

    def ready(self) -> dict[str, Any]:
        """What /ready says; empty when nobody answers."""
        status, body = self.get("/ready")
        return dict(json.loads(body)) if status else {}

    def wait_ready(self, timeout: float = 60.0) -> float:
        """Seconds until /ready was true."""
        return self.wait(lambda: self.ready().get("ready"), timeout, lambda: f"not ready: {self.ready()}")

    def wait(
        self, condition: Callable[[], object], timeout: float = 60.0, why: Callable[[], str] = lambda: "in vain"
    ) -> float:
        """Seconds until ``condition()`` was true. Raises TimeoutError."""
        started = time.monotonic()
        while not condition():
            if time.monotonic() - started > timeout:
                raise TimeoutError(f"waited {timeout:g} s, {why()}")
            time.sleep(0.05)
        return time.monotonic() - started

    def metric(self, sample: str) -> float:
        """The value of a sample on /metrics, by its whole name with labels; 0 when it is not there."""
        match = re.search(rf"^{re.escape(sample)} (\S+)$", self.get("/metrics")[1], re.MULTILINE)
        return float(match[1]) if match else 0.0

    def supervisorctl(self, *arguments: str) -> str:
        """The output of ``supervisorctl``."""
        command = [str(Path(sys.executable).parent / "supervisorctl"), "-c", str(CONF), *arguments]
        done = subprocess.run(command, env=self.environment(), capture_output=True, text=True, timeout=120)
        return done.stdout + done.stderr

    def pids(self) -> dict[str, int]:
        """Programs that run, by name."""
        found = re.findall(r"^(\S+)\s+RUNNING\s+pid (\d+)", self.supervisorctl("status"), re.MULTILINE)
        return {name: int(pid) for name, pid in found}

    def log(self, component: str | None = None) -> list[dict[str, Any]]:
        """The JSON lines of its log so far, of one component or all."""
        lines = []
        for text in self.log_path.read_text(errors="replace").splitlines():
            try:
                line = json.loads(text)
            except ValueError:
                continue
            if component in (None, line.get("component")):
                lines.append(line)
        return lines

    def environment(self) -> dict[str, str]:
        """Only what it is given, and what any process needs: a KUBECONFIG of the caller must not leak in."""
        names = ("PATH", "HOME", "PYTHONOPTIMIZE", "LANG", "SSL_CERT_FILE")
        kept = {name: os.environ[name] for name in names if name in os.environ}
        kept["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{kept.get('PATH', os.defpath)}"
        return {**kept, **self.env}


def _children(pid: int) -> list[int]:
    listed = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(child) for child in listed.read_text().split()] if listed.exists() else []


def free_port() -> int:
    """A TCP port nobody listens on right now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
