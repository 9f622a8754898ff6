"""supervisord as its programs see it: a real one, on its Unix socket."""

from __future__ import annotations

import gc
import os
import socket
import subprocess
import sys
import tempfile
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.process.programs import PROGRAMS, Programs, ProgramState, SupervisorUnavailable
from tests.unit.conftest import eventually

pytestmark = pytest.mark.filterwarnings("ignore:Exception ignored in.*socket:pytest.PytestUnraisableExceptionWarning")
"""Until test_a_call_leaves_no_socket_behind passes."""

CONF = """
[supervisord]
nodaemon=true
logfile=/dev/null
logfile_maxbytes=0
pidfile={folder}/pid
[unix_http_server]
file={folder}/supervisor.sock
[rpcinterface:supervisor]
supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface
[program:metrics]
command={python} -c "import time; time.sleep(601)"
startsecs=0
autorestart=true
[program:stubborn]
command=sh -c "trap '' TERM; echo deaf; sleep 600 & while true; do wait; done"
startsecs=0
stopwaitsecs=600
stopasgroup=true
killasgroup=true
[program:done]
command=true
startsecs=0
autorestart=false
"""


class Supervisord:
    def __init__(self, folder: Path) -> None:
        conf = folder / "supervisord.conf"
        conf.write_text(CONF.format(folder=folder, python=sys.executable))
        command = [str(Path(sys.executable).parent / "supervisord"), "-c", str(conf)]
        self.process = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.programs = Programs(folder / "supervisor.sock")
        eventually(self.settled, timeout=60)

    def settled(self) -> bool:
        try:
            states = {name: state.word for name, state in self.programs.states().items()}
        except SupervisorUnavailable:
            return False
        return states == {"metrics": "running", "stubborn": "running", "done": "exited"}

    def end(self) -> None:
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        for pid in children.read_text().split() if children.exists() else []:
            os.killpg(os.getpgid(int(pid)), 9)
        self.process.kill()
        self.process.wait()


@pytest.fixture(scope="module")
def supervisord() -> Iterator[Supervisord]:
    with tempfile.TemporaryDirectory(prefix="co-") as folder:
        running = Supervisord(Path(folder))
        yield running
        running.end()


def test_programs_are_named_in_the_order_they_start() -> None:
    conf = (Path(__file__).resolve().parents[4] / "supervisord.conf").read_text()
    sections = [section.partition("]") for section in conf.split("[program:")[1:]]
    priority = {name: int(body.partition("priority=")[2].split()[0]) for name, _, body in sections}
    assert tuple(sorted(priority, key=lambda name: priority[name])) == PROGRAMS


def test_states_are_supervisords_own_words_and_for_how_long(supervisord: Supervisord) -> None:
    states = supervisord.programs.states()
    assert {name: state.word for name, state in states.items()} == {
        "metrics": "running",
        "stubborn": "running",
        "done": "exited",
    }
    assert all(isinstance(state, ProgramState) and 0 <= state.since_start < 600 for state in states.values())


def test_while_it_runs_the_pod_is_not_stopping(supervisord: Supervisord) -> None:
    assert supervisord.programs.pod_is_stopping() is False


def test_a_call_leaves_no_socket_behind(supervisord: Supervisord) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        supervisord.programs.states()
        gc.collect()
    assert [str(warning.message) for warning in caught if warning.category is ResourceWarning] == []


def test_a_hung_program_is_killed_and_supervisord_starts_it_again(supervisord: Supervisord) -> None:
    def pids() -> list[str]:
        command = ["pgrep", "-P", str(supervisord.process.pid), "-f", "sleep.601"]
        return subprocess.run(command, capture_output=True, text=True).stdout.split()

    before = pids()
    supervisord.programs.restart("metrics")
    eventually(lambda: supervisord.settled() and pids() not in ([], before))


def test_a_program_nobody_knows_cannot_be_restarted(supervisord: Supervisord) -> None:
    with pytest.raises(SupervisorUnavailable, match="cannot restart nobody: BAD_NAME"):
        supervisord.programs.restart("nobody")


def test_a_program_that_does_not_run_cannot_be_restarted(supervisord: Supervisord) -> None:
    with pytest.raises(SupervisorUnavailable, match="cannot restart done: NOT_RUNNING"):
        supervisord.programs.restart("done")


def test_zz_once_it_stops_every_question_is_answered_by_that(supervisord: Supervisord) -> None:
    """The last test of this supervisord: one of its programs does not let it go."""
    supervisord.programs.shut_down()
    eventually(supervisord.programs.pod_is_stopping)
    supervisord.programs.shut_down()
    with pytest.raises(SupervisorUnavailable, match="supervisord does not tell: SHUTDOWN_STATE"):
        supervisord.programs.states()
    with pytest.raises(SupervisorUnavailable, match="cannot restart metrics: SHUTDOWN_STATE"):
        supervisord.programs.restart("metrics")
    assert supervisord.process.poll() is None


def test_with_no_supervisord_to_ask_the_pod_is_stopping(run_dir: Path) -> None:
    programs = Programs(run_dir / "supervisor.sock")
    assert programs.pod_is_stopping() is True
    for call in (programs.states, programs.shut_down, lambda: programs.restart("metrics")):
        with pytest.raises(SupervisorUnavailable, match=f"supervisord does not answer at {run_dir}/supervisor.sock"):
            call()


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"garbage\r\n\r\n",
        b"HTTP/1.0 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.0 200 OK\r\nContent-Type: text/xml\r\nContent-Length: 9\r\n\r\nnot XML <",
        b"HTTP/1.0 200 OK\r\nContent-Type: text/xml\r\nContent-Length: 7\r\n\r\n<html/>",
    ],
    ids=["hangs up", "no HTTP", "500", "no XML", "no XML-RPC"],
)
def test_a_supervisord_that_answers_nonsense_does_not_answer(run_dir: Path, answer: bytes) -> None:
    path = run_dir / "supervisor.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen(4)

        def serve() -> None:
            for _ in range(2):  # xmlrpc.client tries a second time when the connection was closed on it
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    connection.recv(65536)
                    connection.sendall(answer)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            with pytest.raises(SupervisorUnavailable):
                Programs(path).states()
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join(60)
