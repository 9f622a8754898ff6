"""Workers run in place behave as if they had been exec'ed.

Each test looks at two supervisords with the same configuration and the same throwaway programs: one preloads, as
``cloudoptim-agent run`` does, the other is plain supervisord. What they say has to be what the test expects, twice.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import xmlrpc.client
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from supervisor.xmlrpc import SupervisorTransport

from tests.integration.conftest import FAST
from tests.sim.agent import ROOT, Agent
from tests.sim.central.server import Central

BIN = Path(sys.executable).parent

SHORT = {
    "end": "",
    "zero": "raise SystemExit(0)",
    "none": "raise SystemExit",
    "three": "raise SystemExit(3)",
    "unauthorized": "raise SystemExit(77)",
    "config": "raise SystemExit(78)",
    "large": "raise SystemExit(300)",
    "negative": "raise SystemExit(-1)",
    "reason": "import sys; sys.exit('a reason')",
    "bug": "def deep():\n    return 1 / 0\n\ndeep()",
    "absent": "import nowhere_to_be_found",
    "interrupt": "raise KeyboardInterrupt",
    "abort": "import os; os.abort()",
    "fast": "import os; os._exit(9)",
}
"""Programs that end by themselves, by the one way of ending that each is about."""

TELL = """
import json, os, signal, subprocess, sys, threading
listed = os.listdir("/proc/self/fd")
open_files = {number: f"/proc/self/fd/{number}" for number in listed if os.path.lexists(f"/proc/self/fd/{number}")}
handlers = {name: repr(signal.getsignal(getattr(signal, name))) for name in (
    "SIGTERM", "SIGINT", "SIGQUIT", "SIGHUP", "SIGCHLD", "SIGUSR1", "SIGUSR2", "SIGPIPE", "SIGALRM")}
print(json.dumps({
    "arguments": sys.argv, "main": [__name__, __file__, __package__, __spec__.name],
    "environment": {name: value for name, value in os.environ.items() if name != "SUPERVISOR_SERVER_URL"},
    "of a child": subprocess.check_output("echo $GIVEN $LATE", shell=True, text=True),
    "handlers": {name: text.partition(" at ")[0] for name, text in handlers.items()},
    "blocked": sorted(signal.pthread_sigmask(signal.SIG_BLOCK, [])),
    "descriptors": {number: os.readlink(path).partition(":")[0] for number, path in open_files.items()},
    "threads": [thread.name for thread in threading.enumerate()],
    "directory": os.getcwd(), "umask": os.umask(0o77), "leads its group": os.getpgrp() == os.getpid(),
    "buffered": [sys.stdout.line_buffering, sys.stderr.line_buffering, sys.stdout.encoding, sys.stderr.errors],
}))
"""

WRITE = """
import os, subprocess, sys
print("first words")
for number in range(4000):
    print(f"line {number:05d} {'x' * 60}")
print("out of order, as it is buffered", file=sys.stderr)
sys.stdout.flush()
os.write(1, b"past the buffer\\n")
subprocess.run(["echo", "a child's words"])
print("last words, no newline", end="")
"""

CHANCE = "import random, tempfile, uuid; print(random.random(), next(tempfile._get_candidate_names()), uuid.uuid4())"

WAIT = "import time\nprint('here', flush=True)\ntime.sleep(600)"

CATCH = """
import signal, sys, time
def end(number, frame):
    print("caught", signal.Signals(number).name, flush=True)
    sys.exit(5)
for name in ("SIGTERM", "SIGHUP", "SIGINT", "SIGUSR1", "SIGUSR2"):
    signal.signal(getattr(signal, name), end)
print("here", flush=True)
while True:
    time.sleep(600)
"""

LONG = {"wait": WAIT, "catch": CATCH}

CONF = """
[supervisord]
nodaemon=true
logfile={folder}/supervisord.log
pidfile={folder}/supervisord.pid
childlogdir={folder}
umask=077
[unix_http_server]
file={folder}/s.sock
[rpcinterface:supervisor]
supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface
[supervisorctl]
serverurl=unix://{folder}/s.sock
"""

PROGRAM = """
[program:{name}]
command={command}
autorestart=false
startsecs=0
environment=GIVEN="100%% yes"
stdout_logfile={folder}/{name}.out
stderr_logfile={folder}/{name}.err
"""

PRELOADED = """
import os, sys
from shared.process.supervise import preload, supervise
os.environ["LATE"] = "set after the start"
preload([f"workers.{name}" for name in sys.argv[2:]])
supervise(["-n", "-c", sys.argv[1]], "demo", "text")
"""


class Supervised:
    """A supervisord in a directory of its own, with throwaway packages in the place of ours."""

    def __init__(self, folder: Path, programs: Mapping[str, str], preloaded: bool) -> None:
        self.folder = folder
        self.conf = folder / "s.conf"
        self.conf.write_text(CONF.format(folder=folder))
        (folder / "workers").mkdir()
        (folder / "workers" / "__init__.py").touch()
        for name, body in programs.items():
            self.add(name, f"python -m workers.{name}")
            package = folder / "workers" / name
            package.mkdir()
            (package / "__init__.py").touch()
            (package / "__main__.py").write_text(body)
        command = [str(BIN / "supervisord"), "-n", "-c", str(self.conf)]
        if preloaded:
            command = [sys.executable, "-c", PRELOADED, str(self.conf), *programs]
        env = {"PATH": f"{BIN}{os.pathsep}{os.defpath}", "PYTHONPATH": str(ROOT), "LANG": "C.UTF-8"}
        if not preloaded:
            env["LATE"] = "set after the start"
        quiet = subprocess.DEVNULL
        self.process = subprocess.Popen(command, cwd=folder, env=env, stdout=quiet, stderr=quiet)

    def add(self, name: str, command: str) -> None:
        with self.conf.open("a") as conf:
            conf.write(PROGRAM.format(name=name, command=command, folder=self.folder))

    def end(self) -> None:
        """Kill it and what it runs: in order it would take a second for each program."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        running = children.read_text().split() if children.exists() else []
        self.process.kill()
        for pid in running:
            os.kill(int(pid), signal.SIGKILL)
        self.process.wait(60)

    # -- looking at it ----------------------------------------------------------------------------

    def info(self, name: str) -> dict[str, Any]:
        """What supervisord says of a program; empty when it does not answer."""
        transport = SupervisorTransport(serverurl=f"unix://{self.folder}/s.sock")
        try:
            with xmlrpc.client.ServerProxy("http://127.0.0.1", transport=transport) as server:
                return dict(server.supervisor.getProcessInfo(name))  # type: ignore[arg-type]
        except (OSError, xmlrpc.client.Fault):
            return {}

    def running(self, name: str) -> int:
        """The pid of a program, once it runs and has said that it is here."""
        self.wait(lambda: self.info(name).get("statename") == "RUNNING")
        pid = int(self.info(name)["pid"])
        self.wait(lambda: self.out(name).endswith("here\n"))
        return pid

    def ended(self, name: str) -> str:
        """How a program ended last, in supervisord's words."""
        self.wait(lambda: self.info(name).get("statename") == "EXITED")
        found = re.findall(rf"exited: {name} \((.*?)[;)]", (self.folder / "supervisord.log").read_text())
        return str(found[-1])

    def out(self, name: str) -> str:
        path = self.folder / f"{name}.out"
        return path.read_text() if path.exists() else ""

    def err(self, name: str) -> str:
        return (self.folder / f"{name}.err").read_text()

    def ctl(self, *arguments: str) -> str:
        command = [str(BIN / "supervisorctl"), "-c", str(self.conf), *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=60).stdout

    def in_place(self, pid: int) -> bool:
        """Whether the process is a fork that exec'ed nothing."""
        command_lines = [Path(f"/proc/{number}/cmdline").read_bytes() for number in (pid, self.process.pid)]
        return command_lines[0] == command_lines[1]

    def wait(self, condition: Callable[[], object]) -> None:
        deadline = time.monotonic() + 60
        while not condition():
            assert time.monotonic() < deadline, (self.folder / "supervisord.log").read_text()
            assert self.process.poll() is None, "supervisord ended"
            time.sleep(0.05)


@pytest.fixture(scope="module")
def both() -> Iterator[list[Supervised]]:
    """The two supervisords: first the one that preloads."""
    programs = {**SHORT, **LONG, "tell": TELL, "write": WRITE, "chance": CHANCE, "luck": CHANCE}
    with tempfile.TemporaryDirectory(prefix="co-") as one, tempfile.TemporaryDirectory(prefix="co-") as other:
        supervised = [Supervised(Path(one), programs, True), Supervised(Path(other), programs, False)]
        try:
            yield supervised
        finally:
            for each in supervised:
                each.end()


# -- ending ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "how"),
    [
        ("end", "exit status 0"),
        ("zero", "exit status 0"),
        ("none", "exit status 0"),
        ("three", "exit status 3"),
        ("unauthorized", "exit status 77"),
        ("config", "exit status 78"),
        ("large", "exit status 44"),
        ("negative", "exit status 255"),
        ("reason", "exit status 1"),
        ("bug", "exit status 1"),
        ("absent", "exit status 1"),
        ("interrupt", "terminated by SIGINT"),
        ("abort", "terminated by SIGABRT"),
        ("fast", "exit status 9"),
    ],
)
def test_supervisord_sees_how_a_program_ended(both: list[Supervised], name: str, how: str) -> None:
    assert [each.ended(name).partition(" (")[0] for each in both] == [how, how]


def test_a_reason_is_said_on_stderr(both: list[Supervised]) -> None:
    for each in both:
        each.ended("reason")
    assert [each.err("reason") for each in both] == ["a reason\n"] * 2


@pytest.mark.parametrize(
    ("name", "last"),
    [
        ("bug", "ZeroDivisionError: division by zero"),
        ("absent", "ModuleNotFoundError: No module named 'nowhere_to_be_found'"),
    ],
)
def test_an_error_nobody_caught_leaves_its_traceback_on_stderr(both: list[Supervised], name: str, last: str) -> None:
    """From the program's own first line on it is the same; before that it says who ran it."""
    own = []
    for each in both:
        each.ended(name)
        text = each.err(name)
        assert text.startswith("Traceback (most recent call last):\n")
        own.append(text[text.index(f'  File "{each.folder}/workers/{name}') :].replace(str(each.folder), ""))
    assert own[0] == own[1]
    assert own[0].endswith(f"{last}\n")


# -- what a program finds -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def told(both: list[Supervised]) -> list[dict[str, Any]]:
    """What a program finds around it, without the one thing that differs: its directory."""
    for each in both:
        each.ended("tell")
    return [json.loads(each.out("tell").replace(str(each.folder), "FOLDER")) for each in both]


def test_a_program_finds_the_same_arguments_and_is_main(told: list[dict[str, Any]]) -> None:
    path = "FOLDER/workers/tell/__main__.py"
    assert [found["arguments"] for found in told] == [[path]] * 2
    assert [found["main"] for found in told] == [["__main__", path, "workers.tell", "workers.tell.__main__"]] * 2


def test_a_program_finds_the_same_environment_and_hands_it_on(told: list[dict[str, Any]]) -> None:
    assert told[0]["environment"] == told[1]["environment"]
    assert told[0]["environment"]["GIVEN"] == "100% yes"
    assert told[0]["environment"]["SUPERVISOR_PROCESS_NAME"] == "tell"
    assert [found["of a child"] for found in told] == ["100% yes set after the start\n"] * 2


def test_a_program_finds_no_handler_and_no_mask_of_supervisord(told: list[dict[str, Any]]) -> None:
    assert told[0]["handlers"] == told[1]["handlers"]
    assert "Handlers.SIG_DFL" in told[0]["handlers"]["SIGTERM"]
    assert [found["blocked"] for found in told] == [[], []]


def test_a_program_inherits_its_three_pipes_and_nothing_else(told: list[dict[str, Any]]) -> None:
    assert [found["descriptors"] for found in told] == [dict.fromkeys("012", "pipe")] * 2
    assert [found["threads"] for found in told] == [["MainThread"]] * 2


@pytest.mark.parametrize("what", ["directory", "umask", "leads its group", "buffered"])
def test_a_program_finds_the_same_process_around_it(told: list[dict[str, Any]], what: str) -> None:
    assert told[0][what] == told[1][what]


def test_siblings_draw_different_numbers(both: list[Supervised]) -> None:
    """They are forks of one process, which has one state of every generator."""
    drawn = []
    for each in both:
        for name in ("chance", "luck"):
            each.ended(name)
            drawn += each.out(name).split()
    assert len(set(drawn)) == len(drawn) == 12


# -- what supervisord hears -----------------------------------------------------------------------


def test_all_output_is_captured_in_order_and_once(both: list[Supervised]) -> None:
    lines = ["first words", *(f"line {number:05d} {'x' * 60}" for number in range(4000))]
    expected = "\n".join([*lines, "past the buffer", "a child's words", "last words, no newline"])
    for each in both:
        assert each.ended("write") == "exit status 0"
        each.wait(lambda each=each: each.out("write").endswith("no newline"))  # type: ignore[misc]
        assert each.out("write") == expected
        assert each.err("write") == "out of order, as it is buffered\n"


# -- signals, restarts, reloads: these end and start programs -------------------------------------


@pytest.mark.parametrize("name", ["TERM", "INT", "HUP", "QUIT", "USR1", "USR2", "KILL"])
def test_a_signal_does_what_it_does_to_any_process(both: list[Supervised], name: str) -> None:
    said = []
    for each in both:
        if each.info("wait").get("statename") == "EXITED":
            each.ctl("start", "wait")
        each.running("wait")
        each.ctl("signal", name, "wait")
        said.append(each.ended("wait").partition(" (")[0])
    assert said == [f"terminated by SIG{name}"] * 2


@pytest.mark.parametrize("name", ["TERM", "INT", "HUP", "USR1", "USR2"])
def test_a_handler_of_the_program_is_called(both: list[Supervised], name: str) -> None:
    for each in both:
        if each.info("catch").get("statename") == "EXITED":
            each.ctl("start", "catch")
        each.running("catch")
        each.ctl("signal", name, "catch")
        assert each.ended("catch") == "exit status 5"
        assert each.out("catch").endswith(f"here\ncaught SIG{name}\n")


def test_restart_runs_the_program_anew(both: list[Supervised]) -> None:
    for each in both:
        assert each.ctl("restart", "catch").endswith("catch: started\n")
        before = each.running("catch")
        assert each.ctl("restart", "catch") == "catch: stopped\ncatch: started\n"
        each.wait(lambda each=each: each.out("catch").endswith("caught SIGTERM\nhere\n"))  # type: ignore[misc]
        assert each.running("catch") != before


def test_only_the_one_that_preloads_runs_workers_in_place(both: list[Supervised]) -> None:
    """Else all of the above would compare supervisord with itself."""
    assert [each.in_place(each.running("catch")) for each in both] == [True, False]


def test_zz_reload_reads_the_configuration_anew_and_runs_all_programs_again(both: list[Supervised]) -> None:
    for each in both:
        before = each.running("catch")
        for name in ("write", "tell"):
            (each.folder / f"{name}.out").unlink()
        each.add("sleep", "sleep 600")
        assert each.ctl("reload") == "Restarted supervisord\n"
        each.wait(lambda each=each: each.info("sleep").get("statename") == "RUNNING")  # type: ignore[misc]
        assert each.ended("write") == "exit status 0"
        assert each.ended("config") == "exit status 78"
        assert each.ended("tell") == "exit status 0"
        assert json.loads(each.out("tell"))["descriptors"] == dict.fromkeys("012", "pipe")
        each.wait(lambda each=each: each.info("catch").get("statename") == "RUNNING")  # type: ignore[misc]
        assert each.running("catch") != before
        command = Path(f"/proc/{each.info('sleep')['pid']}/cmdline").read_bytes()
        assert command == b"sleep\x00600\x00", "what is no worker is exec'ed"
    assert [each.in_place(each.running("catch")) for each in both] == [True, False]


# -- the agent as it ships ------------------------------------------------------------------------


@pytest.mark.parametrize("preload", [True, False], ids=["preloaded", "plain"])
def test_the_agent_comes_back_from_a_reload(preload: bool, central: Central, kubeconfig: Path) -> None:
    """To the others it is a stop and a start: deregistered, registered, and its tasks done."""
    with Agent(central.url, kubeconfig, FAST, preload=preload) as agent:
        agent.wait_ready(60)
        before = agent.pids()
        assert agent.supervisorctl("reload") == "Restarted supervisord\n"
        assert central.ledger.wait(lambda: len(central.ledger.of("register")) == 2, 60)
        agent.wait_ready(60)
        assert not set(before.values()) & set(agent.pids().values())
        task_id = central.offer(central.task("cordon_node", {"node_name": "node-2"}))
        assert central.ledger.wait_result(task_id)["status"] == "success"
        assert agent.process is not None
        assert agent.process.poll() is None
        calls = [arrival.call for arrival in central.ledger.arrivals]
        assert calls.index("deregister") < len(calls) - 1 - calls[::-1].index("register")
        os.kill(agent.pids()["task-runner"], signal.SIGKILL)
        agent.wait(lambda: len(agent.pids()) == 5)
