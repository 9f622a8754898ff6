"""The bundle's pod in a container engine, and ways to look at it."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from types import TracebackType
from typing import Any

from testcontainers.core.container import DockerContainer

from tests.container.kubelet import Kubelet
from tests.sim.agent import free_port


class AgentPod:
    """Use as a context manager. It shares the host's network, so each one has a port of its own."""

    def __init__(self, kubelet: Kubelet, image: str, env: Mapping[str, str] | None = None) -> None:
        self.kubelet = kubelet
        self.port = free_port()
        self._container = DockerContainer(image).with_kwargs(network_mode="host", **kubelet.isolation())
        self._container.with_envs(**kubelet.environment())
        self._container.with_envs(HEALTH_CHECK_PORT=str(self.port), **(env or {}))
        for source, target, mode in kubelet.mounts():
            self._container.with_volume_mapping(source, target, mode)

    def __enter__(self) -> AgentPod:
        self._container.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            print(f"--- the agent's log ---\n{self.log_text()[-8000:]}")
        self._container.stop()

    def stop(self) -> tuple[int, float]:
        """SIGTERM, and SIGKILL after the grace; the exit status and the seconds it took."""
        started = time.monotonic()
        self._container.get_wrapped_container().stop(timeout=self.kubelet.grace_seconds)
        return self.wait(), time.monotonic() - started

    def wait(self) -> int:
        """The exit status, once it has ended."""
        return int(self._container.wait())

    def get(self, path: str) -> tuple[int, str]:
        """Status and body of an endpoint; (0, reason) when nobody answers."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=20) as answer:
                return int(answer.status), answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError as error:
            return 0, str(error)

    def wait_ready(self, timeout: float = 60.0) -> float:
        """Seconds until /ready was true. Raises TimeoutError."""
        started = time.monotonic()
        while self.get("/ready")[0] != 200:
            if time.monotonic() - started > timeout:
                raise TimeoutError(f"not ready after {timeout:g} s: {self.get('/ready')[1]}")
            time.sleep(0.1)
        return time.monotonic() - started

    def execute(self, *command: str) -> tuple[int, str]:
        """Exit status and output of a command inside, as by ``kubectl exec``."""
        done = self._container.exec(list(command))
        return int(done.exit_code or 0), done.output.decode()

    def log_text(self) -> str:
        return bytes(self._container.get_wrapped_container().logs()).decode(errors="replace")

    def stray_lines(self) -> list[str]:
        """Lines of its log that are no JSON objects; there must be none."""
        return [line for line in self.log_text().splitlines() if not line.startswith("{")]

    def log(self) -> list[dict[str, Any]]:
        """Its log lines."""
        return [dict(json.loads(line)) for line in self.log_text().splitlines() if line.startswith("{")]

    def working_set(self) -> float:
        """MiB of its cgroup that cannot be had back for the asking; the kubelet decides by this."""
        memory: Any = self._container.get_wrapped_container().stats(stream=False)["memory_stats"]
        detail = memory["stats"]
        inactive = detail["total_inactive_file"] if "total_inactive_file" in detail else detail["inactive_file"]
        return float(memory["usage"] - inactive) / 2**20
