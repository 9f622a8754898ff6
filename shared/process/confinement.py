"""What every process of the agent is held to: files that are its own, no dump of its memory, an end with its parent.

A directory of its own, too: one agent at a time, and nobody else looks into it.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import resource
import signal
import stat
import time
from pathlib import Path

from shared.basics.errors import TemporaryError

LOCK_PATIENCE = 20.0
"""Seconds to wait for another agent to leave the run directory: on a volume, the pod before this one may still end."""

_LOCK = "lock"

_WRITTEN = ("spool.sqlite*", "fatal.json", "supervisord.pid")
"""Files that an earlier version may have left readable for others; whatever else is there is not ours to change."""

_PR_SET_PDEATHSIG = 1
"""prctl(2), linux/prctl.h."""


class RunDirectoryTaken(TemporaryError):
    """Another agent uses the run directory."""


def confine() -> None:
    """Files from now on for this user only, and no core dump: the API key is in memory.

    The limit is 1, not 0: a dump that is piped to a program of the node's knows no limit but that one (core(5)).
    """
    os.umask(0o077)
    hard = resource.getrlimit(resource.RLIMIT_CORE)[1]
    limit = 1 if hard == resource.RLIM_INFINITY else min(1, hard)
    resource.setrlimit(resource.RLIMIT_CORE, (limit, limit))


def end_with_parent(parent: int) -> None:
    """Be killed when ``parent`` ends; at once if it has ended already. All of the agent is built to be killed.

    Else the workers of a supervisord that was killed would go on beside those of the next.
    """
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)


class RunDirectory:
    """``path``, made if need be, locked for as long as this process lives, closed to all other users."""

    def __init__(self, path: Path, patience: float = LOCK_PATIENCE) -> None:
        """Take the directory, waiting up to ``patience`` seconds for another agent to leave it.

        Raises:
            RunDirectoryTaken: another agent holds the lock.
            OSError: the directory cannot be used.
        """
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.private = _close_to_others(path)
        """Whether it is; a volume's own directory may be root's, and then it is for a directory inside to be used."""
        self._lock = os.open(path / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        until = time.monotonic() + patience
        while not _locked(self._lock):
            if time.monotonic() >= until:
                os.close(self._lock)
                raise RunDirectoryTaken(f"another agent uses AGENT_RUN_DIR={path}, and still does after {patience:g} s")
            time.sleep(0.2)

    def release(self) -> None:
        """Let another agent in."""
        os.close(self._lock)


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _close_to_others(path: Path) -> bool:
    """Take all rights of others from the directory and the files of an earlier run in it; False if it is not ours."""
    if path.stat().st_mode & stat.S_ISVTX:  # Meant to be shared, as /tmp is.
        return False
    try:
        path.chmod(0o700)
    except PermissionError:
        return False
    for pattern in _WRITTEN:
        for entry in path.glob(pattern):
            if stat.S_ISREG(entry.lstat().st_mode):
                entry.chmod(0o600)
    return True
