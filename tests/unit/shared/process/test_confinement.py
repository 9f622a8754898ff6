"""What every process of the agent is held to, tried on processes of its own."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from shared.process.confinement import RunDirectory, RunDirectoryTaken
from tests.sim.agent import ROOT
from tests.unit.conftest import eventually


def run(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)


def modes(folder: Path) -> dict[str, int]:
    return {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}


def test_files_are_its_own_from_then_on(tmp_path: Path) -> None:
    done = run(
        "import sys; from pathlib import Path; from shared.process.confinement import confine\n"
        "confine(); folder = Path(sys.argv[1]); (folder / 'file').touch(); (folder / 'folder').mkdir()",
        str(tmp_path),
    )
    assert done.returncode == 0, done.stderr
    assert modes(tmp_path) == {"file": 0o600, "folder": 0o700}


def test_no_core_is_dumped(tmp_path: Path) -> None:
    """Neither into a file nor, which a limit of 0 would allow, into a program of the node's (core(5))."""
    process = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import os, resource; from shared.process.confinement import confine; confine()\n"
            "assert resource.getrlimit(resource.RLIMIT_CORE)[0] == 1\n"
            "os.kill(os.getpid(), 11)",
        ],
        cwd=ROOT,
    )
    _, status = os.waitpid(process.pid, 0)
    process.returncode = 0
    assert os.WIFSIGNALED(status)
    assert os.WTERMSIG(status) == signal.SIGSEGV
    assert not os.WCOREDUMP(status)


CHILD = """
import os, sys, time
from shared.process.confinement import end_with_parent
parent = os.getpid()
if os.fork() == 0:
    if sys.argv[2] == "late":
        while os.getppid() == parent:
            time.sleep(0.01)
    open(sys.argv[1], "w").write(str(os.getpid()))
    end_with_parent(parent)
    open(sys.argv[1] + ".bound", "w")
    time.sleep(600)
if sys.argv[2] == "late":
    os._exit(0)
time.sleep(600)
"""


@pytest.mark.parametrize("when", ["in time", "late"])
def test_a_child_ends_with_its_parent_also_if_that_has_ended_before(tmp_path: Path, when: str) -> None:
    note = tmp_path / "pid"
    process = subprocess.Popen([sys.executable, "-c", CHILD, str(note), when], cwd=ROOT)
    if when == "in time":
        eventually(Path(f"{note}.bound").exists)
    else:
        eventually(lambda: note.exists() and note.read_text())
    child = int(note.read_text())
    process.kill()
    process.wait(60)
    eventually(lambda: not Path(f"/proc/{child}/cmdline").exists() or not Path(f"/proc/{child}/cmdline").read_bytes())


# -- the run directory ----------------------------------------------------------------------------


def test_the_directory_is_made_and_nobody_else_looks_into_it(tmp_path: Path) -> None:
    path = tmp_path / "a" / "run"
    directory = RunDirectory(path)
    assert directory.private
    assert stat.S_IMODE(path.stat().st_mode) == 0o700
    assert modes(path) == {"lock": 0o600}
    directory.release()


def test_what_an_earlier_run_left_open_to_others_is_closed(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    for name in ("spool.sqlite", "spool.sqlite-wal", "fatal.json"):
        (tmp_path / name).touch(0o644)
    (tmp_path / "kubeconfig").touch(0o644)
    (tmp_path / "spool.sqlite.corrupt").symlink_to("/etc/hostname")
    directory = RunDirectory(tmp_path)
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o700
    assert {name for name, mode in modes(tmp_path).items() if mode & 0o077} == {"kubeconfig", "spool.sqlite.corrupt"}
    directory.release()


def test_a_directory_that_is_meant_to_be_shared_is_left_as_it_is(tmp_path: Path) -> None:
    """Somebody set AGENT_RUN_DIR=/tmp, and runs it as root."""
    tmp_path.chmod(0o1777)
    (tmp_path / "spool.sqlite").touch(0o644)
    directory = RunDirectory(tmp_path)
    assert not directory.private
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o1777
    assert modes(tmp_path)["spool.sqlite"] == 0o644
    directory.release()


def test_two_agents_do_not_share_it(tmp_path: Path) -> None:
    first = RunDirectory(tmp_path)
    with pytest.raises(RunDirectoryTaken, match="another agent uses AGENT_RUN_DIR="):
        RunDirectory(tmp_path, patience=0.0)
    first.release()
    RunDirectory(tmp_path, patience=0.0).release()


def test_the_lock_is_waited_for(tmp_path: Path) -> None:
    """As the pod before this one ends, on the same volume."""
    holder = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import sys; from pathlib import Path; from shared.process.confinement import RunDirectory\n"
            "held = RunDirectory(Path(sys.argv[1])); print('held', flush=True); sys.stdin.read()",
            str(tmp_path),
        ],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert holder.stdout is not None
    assert holder.stdin is not None
    assert holder.stdout.readline() == b"held\n"
    with pytest.raises(RunDirectoryTaken):
        RunDirectory(tmp_path, patience=0.0)
    holder.stdin.close()
    RunDirectory(tmp_path, patience=60.0).release()
    holder.stdout.close()
    assert holder.wait(60) == 0
