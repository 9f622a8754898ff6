"""The life of a worker: loops that retry for ever, beats, signals, an orderly stop."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from shared.basics.errors import EXIT_CONFIG, AuthenticationError, PermanentError, TemporaryError
from shared.process import lifecycle
from shared.process.lifecycle import Loop, Process, Worker
from shared.process.state import TELEMETRY, WORKER
from shared.queue.client import value
from shared.queue.memory import MemoryQueue
from tests.unit.conftest import FakeClock, counted, eventually, process_of

ROOT = Path(__file__).resolve().parents[4]


# -- what a worker says of itself -----------------------------------------------------------------


@pytest.fixture
def queue() -> MemoryQueue:
    return MemoryQueue()


def said(queue: MemoryQueue, name: str = "metrics") -> dict[str, Any]:
    entry = queue.get_state(WORKER + name)[WORKER + name]
    return dict(value(entry))


def test_a_worker_publishes_how_it_is(run_dir: Path, queue: MemoryQueue, clock: FakeClock) -> None:
    process = process_of(run_dir, queue, clock=clock)
    process.beats.expect("sample", 10)
    clock.advance(12.5)
    process.connected("kubernetes")
    process.facts["tasks_in_progress"] = 3
    process.publish()
    assert said(queue) == {
        "pid": os.getpid(),
        "uptime": 12.5,
        "overdue": {"sample": 2.5},
        "jobs": {"sample": {"done": 12.5}},
        "connections": {"kubernetes": {"ok": True, "detail": ""}},
        "tasks_in_progress": 3,
    }
    pid, families = value(queue.get_state(TELEMETRY)[f"{TELEMETRY}metrics"])
    assert pid == os.getpid()
    assert "cloudoptim_agent_ready" in families


def test_what_it_publishes_dies_with_the_broker(process: Process) -> None:
    process.publish()
    queue = process.queue
    assert isinstance(queue, MemoryQueue)
    queue.store.undo()
    assert len(queue.get_state("")) == 2, "it was not durable, and so not undone"


def test_a_connection_that_is_lost_says_why_briefly(process: Process, queue: MemoryQueue, run_dir: Path) -> None:
    process = process_of(run_dir, queue)
    process.connected("central")
    process.disconnected("central", TemporaryError("no route " + "x" * 1000))
    process.publish()
    connection = said(queue)["connections"]["central"]
    assert connection["ok"] is False
    assert connection["detail"].startswith("no route xxx")
    assert len(connection["detail"]) == 300


def test_what_the_api_server_did_is_a_gauge_and_a_connection(run_dir: Path, queue: MemoryQueue) -> None:
    process = process_of(run_dir, queue)
    process.kubernetes_answered(True, "the API server answers 200")
    assert counted("kube_connected", worker="metrics") == 1
    process.kubernetes_answered(False, "timed out")
    process.publish()
    assert counted("kube_connected", worker="metrics") == 0
    assert said(queue)["connections"]["kubernetes"] == {"ok": False, "detail": "timed out"}


def test_only_a_change_is_worth_a_line_in_the_log(process: Process, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    for _ in range(3):
        process.connected("central")
    for _ in range(3):
        process.disconnected("central", "timed out")
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("INFO", "central: connected"),
        ("WARNING", "central: not connected: timed out"),
    ]


def test_a_change_is_published_at_once_and_a_queue_that_is_away_is_no_fault(run_dir: Path, queue: MemoryQueue) -> None:
    process = process_of(run_dir, queue)
    thread = threading.Thread(target=process.publish_until_stopped, daemon=True)
    thread.start()
    eventually(lambda: queue.get_state(WORKER))
    process.connected("central")
    eventually(lambda: said(queue)["connections"])
    queue.store.close()
    process.disconnected("central", "gone")
    process.connected("central")
    assert thread.is_alive()
    process.stop.set()
    process.wake_publisher()
    thread.join(60)
    assert not thread.is_alive()


# -- loops ----------------------------------------------------------------------------------------


class Passes:
    """A loop's body that does one thing after the other, and stops the process at the end."""

    def __init__(self, process: Process, *outcomes: float | Exception) -> None:
        self._process = process
        self._outcomes = list(outcomes)
        self.overdue: list[dict[str, float]] = []

    def __call__(self) -> float:
        self.overdue.append(self._process.beats.overdue())
        if not self._outcomes:
            self._process.stop.set()
            return 0.0
        outcome = self._outcomes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome


def drive(process: Process, *outcomes: float | Exception) -> Passes:
    """Run a loop whose passes end so, until they are used up; on this thread."""
    body = Passes(process, *outcomes)
    lifecycle._driven(process, Loop("test", body, patience=60.0, slowest_retry=0.01))()
    return body


@pytest.mark.parametrize(
    "error",
    [
        TemporaryError("away"),
        PermanentError("never"),
        AuthenticationError("who?"),
        ValueError("a bug"),
        RecursionError(),
        MemoryError(),
    ],
    ids=lambda error: type(error).__name__,
)
def test_whatever_a_pass_raises_the_loop_goes_on(
    process: Process, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    before = counted("loop_failures_total", loop="test")
    body = drive(process, 0.0, error, 0.0)
    assert len(body.overdue) == 4
    assert counted("loop_failures_total", loop="test") == before + 1
    assert "test failed" in caplog.text


def test_a_bug_is_logged_whole_and_trouble_in_one_line(process: Process, caplog: pytest.LogCaptureFixture) -> None:
    drive(process, TemporaryError("away"), ValueError("a bug"))
    trouble, bug = caplog.records
    assert re.fullmatch(r"test failed \(1 in a row\), next try in \d\.\d s: away", trouble.getMessage())
    assert trouble.exc_info is None
    assert bug.exc_info is not None


def test_failures_are_counted_until_a_pass_succeeds(process: Process, caplog: pytest.LogCaptureFixture) -> None:
    away = TemporaryError("away")
    drive(process, away, away, 0.0, away)
    assert [record.getMessage()[:24] for record in caplog.records] == [
        "test failed (1 in a row)",
        "test failed (2 in a row)",
        "test failed (1 in a row)",
    ]


def test_the_other_sides_wish_is_the_least_pause(process: Process, caplog: pytest.LogCaptureFixture) -> None:
    drive(process, TemporaryError("busy", delay=0.2))
    pause = re.search(r"next try in (\d\.\d) s", caplog.text)
    assert pause
    assert float(pause[1]) >= 0.2, "slowest_retry would be far less"


def test_a_loop_that_waits_is_not_hung_and_one_that_does_not_come_back_is(run_dir: Path) -> None:
    clock = FakeClock()
    process = process_of(run_dir, MemoryQueue(), clock=clock)

    def body() -> float:
        clock.advance(61)
        assert process.beats.overdue() == {"test": 1.0}, "a pass of more than its patience"
        process.stop.set()
        return 300.0

    lifecycle._driven(process, Loop("test", body, patience=60.0))()
    clock.advance(359)
    assert process.beats.overdue() == {}, "the pause it asked for, and its patience on top"
    clock.advance(2)
    assert process.beats.overdue() == {"test": 1.0}


def test_stopping_ends_the_longest_pause(process: Process) -> None:
    thread = threading.Thread(target=lifecycle._driven(process, Loop("test", lambda: 3600.0)), daemon=True)
    thread.start()
    process.stop.set()
    thread.join(60)
    assert not thread.is_alive()


# -- signals --------------------------------------------------------------------------------------


@pytest.fixture
def handlers() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    assert {number: signal.getsignal(number) for number in before} == before, "they are put back"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_wait_and_sets_the_event(handlers: None, number: signal.Signals) -> None:
    stop = threading.Event()
    with lifecycle.stopped_by_signals(stop) as wait:
        assert not stop.is_set()
        os.kill(os.getpid(), number)
        wait()
        assert stop.is_set()
        assert signal.getsignal(number) is signal.SIG_DFL, "a second one does what it does to any process"


class Script:
    """A worker in a process of its own, written down as a text."""

    def __init__(self, folder: Path, body: str, **env: str) -> None:
        code = f"""
import sys, threading
from pathlib import Path
from shared.process import lifecycle
from shared.process.lifecycle import Loop, Worker

class Test(Worker):
    def loops(self):
        return [Loop("test", self.test)]
    def test(self):
        print("pass", flush=True)
        return 60.0
    def close(self, pod_stopping):
        print("close", pod_stopping, flush=True)
{body}
process = lifecycle.start("metrics")
sys.exit(lifecycle.run(process, Test()))
"""
        environ = {
            "PATH": os.environ["PATH"],
            "CENTRAL_SERVER_URL": "http://127.0.0.1:1",
            "CENTRAL_API_KEY": "s3cr3t",
            "CLUSTER_ID": "demo",
            "AGENT_RUN_DIR": str(folder),
            **env,
        }
        self.process = subprocess.Popen(
            [sys.executable, "-c", code],
            cwd=ROOT,
            env=environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.lines: list[str] = []

    def wait_for(self, word: str) -> None:
        assert self.process.stdout is not None
        while not self.lines or word not in self.lines[-1]:
            line = self.process.stdout.readline()
            assert line, f"it ended: {self.process.communicate()[1]}"
            self.lines.append(line.rstrip("\n"))

    def end(self) -> tuple[int, list[str], str]:
        """Exit status, all lines of stdout and stderr."""
        out, err = self.process.communicate(timeout=60)
        return self.process.returncode, [*self.lines, *out.splitlines()], err


def test_a_worker_runs_until_sigterm_and_closes(run_dir: Path) -> None:
    script = Script(run_dir, "")
    script.wait_for("pass")
    script.process.send_signal(signal.SIGTERM)
    status, lines, err = script.end()
    assert (status, err) == (0, "")
    assert "close True" in lines, "with no supervisord to ask, all of the agent stops"
    messages = [json.loads(line)["message"] for line in lines if line.startswith("{")]
    assert re.fullmatch(r"metrics started, version \d+\.\d+\.\d+", messages[0])
    assert messages[1] == "metrics stops; the pod is stopping"
    assert messages[2].startswith("the end was not orderly: the queue at "), "there is no broker to hear it"
    assert messages[3] == "metrics stopped"
    assert "s3cr3t" not in "".join(lines)


def test_an_error_while_closing_is_logged_and_the_end_is_still_clean(run_dir: Path) -> None:
    body = """
        from shared.basics.errors import TemporaryError
        raise TemporaryError("nobody listens")
"""
    script = Script(run_dir, body)
    script.wait_for("pass")
    script.process.send_signal(signal.SIGINT)
    status, lines, _ = script.end()
    assert status == 0
    assert any("the end was not orderly: nobody listens" in line for line in lines)


def test_a_second_signal_ends_a_close_that_hangs(run_dir: Path) -> None:
    script = Script(run_dir, "        threading.Event().wait()\n")
    script.wait_for("pass")
    script.process.send_signal(signal.SIGTERM)
    script.wait_for("close")
    script.process.send_signal(signal.SIGTERM)
    status, _, _ = script.end()
    assert status == -signal.SIGTERM


def test_sigusr1_shows_what_every_thread_does(run_dir: Path) -> None:
    script = Script(run_dir, "")
    script.wait_for("pass")
    script.process.send_signal(signal.SIGUSR1)
    assert script.process.stderr is not None
    shown: list[str] = []
    while not shown or " in <module>" not in shown[-1]:  # The main thread comes last.
        shown.append(script.process.stderr.readline())
        assert shown[-1], "it ended"
    script.process.send_signal(signal.SIGTERM)
    status, _, _ = script.end()
    assert status == 0
    assert any("hread 0x" in line for line in shown)  # "Current" only if one holds the interpreter just then.
    assert any(line.endswith(" in drive\n") for line in shown), "a loop's thread"


def test_the_process_shows_its_name(run_dir: Path) -> None:
    script = Script(run_dir, "")
    script.wait_for("pass")
    assert Path(f"/proc/{script.process.pid}/comm").read_text() == "co-metrics\n"
    script.process.kill()
    script.end()


def test_wrong_settings_are_logged_and_end_with_78(run_dir: Path) -> None:
    status, lines, err = Script(run_dir, "", CENTRAL_SERVER_URL="nowhere", LOG_FORMAT="xml").end()
    assert (status, err) == (EXIT_CONFIG, "")
    assert [(json.loads(line)["level"], json.loads(line)["message"]) for line in lines] == [
        ("CRITICAL", "configuration: LOG_FORMAT='xml'; expected one of json, text"),
        (
            "CRITICAL",
            "configuration: CENTRAL_SERVER_URL='nowhere'; expected a URL such as https://central.example.com",
        ),
    ]


def test_a_worker_may_have_nothing_to_close() -> None:
    class Plain(Worker):
        def loops(self) -> list[Loop]:
            return []

    close: Callable[[bool], None] = Plain().close
    close(True)
