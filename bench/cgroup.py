"""A control group of our own: a CPU quota, and what a process tree really uses. Version 1 or 2, as there is."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path

_V2 = Path("/sys/fs/cgroup/cgroup.controllers")
_PERIOD = 100_000


class Group:
    """Use as a context manager. Raises PermissionError where groups may not be made."""

    def __init__(self, name: str, cpu: float | None = None) -> None:
        self._cpu = cpu
        self._v2 = _V2.exists()
        controllers = ("",) if self._v2 else ("cpu", "cpuacct", "memory")
        root = Path("/sys/fs/cgroup")
        self._paths = {c: (root / c if c else root) / f"cloudoptim-{name}-{os.getpid()}" for c in controllers}

    def __enter__(self) -> Group:
        for path in self._paths.values():
            path.mkdir()
        if self._cpu is not None:
            quota = int(self._cpu * _PERIOD)
            if self._v2:
                (self._path("cpu") / "cpu.max").write_text(f"{quota} {_PERIOD}")
            else:
                (self._path("cpu") / "cpu.cfs_period_us").write_text(str(_PERIOD))
                (self._path("cpu") / "cpu.cfs_quota_us").write_text(str(quota))
        return self

    def __exit__(self, *_: object) -> None:
        for path in self._paths.values():
            for _attempt in range(50):
                try:
                    path.rmdir()
                    break
                except OSError:
                    time.sleep(0.1)  # Its processes are still being reaped.

    def wrap(self, command: Sequence[str]) -> list[str]:
        """``command``, to be run inside the group with all its children."""
        join = "; ".join(f"echo $$ > {path}/cgroup.procs" for path in self._paths.values())
        return ["/bin/sh", "-c", f'{join}; exec "$@"', "sh", *command]

    def cpu_seconds(self) -> float:
        """CPU used so far."""
        if self._v2:
            return _field(self._path("cpu") / "cpu.stat", "usage_usec") / 1e6
        return int((self._path("cpuacct") / "cpuacct.usage").read_text()) / 1e9

    def working_set(self) -> int:
        """Bytes the kubelet would count: usage less what the page cache could give back."""
        memory = self._path("memory")
        if self._v2:
            usage, inactive = "memory.current", _field(memory / "memory.stat", "inactive_file")
        else:
            usage, inactive = "memory.usage_in_bytes", _field(memory / "memory.stat", "total_inactive_file")
        return int((memory / usage).read_text()) - inactive

    def pss(self) -> int:
        """Bytes of all its processes, shared pages divided among those that share them."""
        total = 0
        for pid in (self._path("cpu") / "cgroup.procs").read_text().split():
            try:
                total += _field(Path(f"/proc/{pid}/smaps_rollup"), "Pss:") * 1024
            except OSError:
                continue
        return total

    def _path(self, controller: str) -> Path:
        return self._paths["" if self._v2 else controller]


def _field(path: Path, name: str) -> int:
    for line in path.read_text().splitlines():
        words = line.split()
        if words and words[0] == name:
            return int(words[1])
    raise KeyError(f"{name} in {path}")
