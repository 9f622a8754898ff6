"""How long a process runs: counted by the kernel since the machine's start, so by no clock that can be set."""

from __future__ import annotations

import os
from pathlib import Path

_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


def start_ticks(pid: int) -> str:
    """When ``pid`` was started, in ticks since the machine was; "" when there is no such process."""
    try:
        # Field 22 of proc(5) stat, counted behind the command name, which may hold spaces.
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""


def age_of(pid: int) -> float:
    """Seconds since ``pid`` was started; 0 when there is no such process."""
    started = start_ticks(pid)
    if not started:
        return 0.0
    uptime = float(Path("/proc/uptime").read_text(encoding="ascii").split()[0])
    return max(0.0, uptime - int(started) / _TICKS_PER_SECOND)
