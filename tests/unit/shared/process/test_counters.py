"""What a worker uses of the machine."""

from __future__ import annotations

import subprocess
import sys

_FORKED = """
import os
from shared.process.counters import private_bytes
shared = bytearray(b"x" * 64 * 2**20)
before = private_bytes()
if os.fork() == 0:
    own = bytearray(b"y" * 8 * 2**20)
    print(before // 2**20, private_bytes() // 2**20, flush=True)
    os._exit(0)
os.wait()
"""


def test_memory_that_is_shared_since_the_fork_is_nobodys_own() -> None:
    """As the five share what their parent loaded; in a process of its own, with nothing else in it."""
    done = subprocess.run([sys.executable, "-c", _FORKED], capture_output=True, text=True, check=True, timeout=120)
    parent, child = map(int, done.stdout.split())
    assert parent >= 64
    assert 8 <= child < 40
