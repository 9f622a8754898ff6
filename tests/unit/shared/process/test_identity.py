"""One id for each start of the agent."""

from __future__ import annotations

import os
import subprocess
import sys
import uuid

from shared.process.identity import instance_id

SHOW = "from shared.process.identity import instance_id; print(instance_id('pod-1'))"


def shown(code: str) -> list[str]:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    return done.stdout.split()


def test_it_is_a_uuid() -> None:
    assert uuid.UUID(instance_id("pod-1")).version == 5


def test_all_children_of_one_process_have_the_same_however_often_they_start() -> None:
    assert shown(SHOW) == shown(SHOW) == [instance_id("pod-1", supervisord=os.getpid())]


def test_another_parent_gives_another_id() -> None:
    nested = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {SHOW!r}])"
    first, second = shown(nested), shown(nested)
    assert len({*first, *second, *shown(SHOW)}) == 3


def test_another_pod_gives_another_id() -> None:
    ids = {instance_id(pod, supervisord=os.getpid()) for pod in ("pod-1", "pod-2", None)}
    assert len(ids) == 3


def test_a_parent_that_is_gone_still_gives_an_id() -> None:
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    assert uuid.UUID(instance_id("pod-1", supervisord=child.pid))
