"""Children that run in place of an exec: what must look as if nothing had been preloaded."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from supervisor import loggers

from shared.process.supervise import JsonEmitter, exit_status, worker_module, worth_saying

ROOT = Path(__file__).resolve().parents[4]


# -- what is run in place -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("argv", "module"),
    [
        (["python", "-m", "workers.metrics"], "workers.metrics"),
        (["/usr/bin/python3.11", "-m", "workers.task_runner"], "workers.task_runner"),
        (["python", "-m", "http.server"], None),
        (["python", "-m", "workers.metrics", "--flag"], None),
        (["python", "workers/metrics.py"], None),
        (["python", "-m"], None),
        (["sleep", "600"], None),
        ([], None),
    ],
)
def test_only_workers_run_in_place(argv: list[str], module: str | None) -> None:
    assert worker_module(argv) == module


@pytest.mark.parametrize(
    ("code", "status"), [(None, 0), (0, 0), (3, 3), (78, 78), (256, 0), (-1, 255), (True, 1), ("a reason", 1), ([], 1)]
)
def test_an_exit_status_is_what_the_interpreter_would_end_with(
    code: Any, status: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert exit_status(SystemExit(code)) == status
    assert capsys.readouterr().err == ("" if isinstance(code, (int, type(None))) else f"{code}\n")


def in_place(folder: Path, body: str, before: str = "", **env: str) -> subprocess.CompletedProcess[str]:
    """Run a module of this ``body`` in place, in a process of its own that looks like supervisord's child."""
    package = folder / "workers_of_test"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "__main__.py").write_text(body)
    code = f"""
import os, signal, sys
sys.path.insert(0, {str(folder)!r})
from shared.process.supervise import preload, run_in_place
os.environ["LEFT"] = "over"
sys.argv = ["supervisord", "-n"]
for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD):
    signal.signal(number, lambda *_: None)
{before}
os._exit(run_in_place("workers_of_test", {env!r}))
"""
    return subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)


def test_a_module_runs_as_main_with_its_own_arguments_and_environment(tmp_path: Path) -> None:
    body = "import os, sys; print(__name__, len(sys.argv), sorted(os.environ), os.environ['GIVEN'])"
    done = in_place(tmp_path, body, GIVEN="yes")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "__main__ 1 ['GIVEN'] yes\n"


def test_the_signal_handlers_of_supervisord_are_gone(tmp_path: Path) -> None:
    body = (
        "import signal\n"
        "names = ('SIGTERM', 'SIGQUIT', 'SIGHUP', 'SIGCHLD', 'SIGUSR2')\n"
        "print({signal.getsignal(getattr(signal, name)) for name in names})\n"
        "print(signal.getsignal(signal.SIGINT) is signal.default_int_handler)"
    )
    assert in_place(tmp_path, body).stdout == "{<Handlers.SIG_DFL: 0>}\nTrue\n"


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        ("", 0, ""),
        ("raise SystemExit(77)", 77, ""),
        ("import sys; sys.exit('a reason')", 1, "a reason\n"),
        ("1 / 0", 1, "ZeroDivisionError: division by zero\n"),
        ("raise KeyboardInterrupt", -signal.SIGINT, "KeyboardInterrupt\n"),
        ("import sys; sys.stdout.close()", 0, ""),
    ],
    ids=["end", "status", "reason", "bug", "interrupt", "closed stdout"],
)
def test_however_it_ends_the_status_is_kept_and_nothing_is_raised(
    tmp_path: Path, body: str, status: int, said: str
) -> None:
    done = in_place(tmp_path, body)
    assert done.returncode == status
    assert done.stderr.endswith(said)
    assert bool(done.stderr) == bool(said)


def test_what_was_printed_last_is_not_lost(tmp_path: Path) -> None:
    assert in_place(tmp_path, "print('last words', end='')").stdout == "last words"


def test_a_module_that_was_preloaded_runs_without_a_word(tmp_path: Path) -> None:
    """runpy warns of modules it finds imported already, on stderr, where every line has to be JSON."""
    done = in_place(tmp_path, "print(__name__)", before="preload(['workers_of_test.__main__'])")
    assert done.stdout == "workers_of_test.__main__\n__main__\n"
    assert done.stderr == ""


# -- what is preloaded ----------------------------------------------------------------------------


def test_nothing_that_is_preloaded_opens_a_descriptor_or_starts_a_thread() -> None:
    """supervisord's child closes descriptors 3 to 1023 under whoever holds them, and inherits no threads."""
    code = """
import os, threading
def present():
    return sorted(os.listdir("/proc/self/fd")), threading.active_count()
before = present()
from workers.commands.__main__ import WORKERS
from shared.process.supervise import preload
preload([f"workers.{worker}.__main__" for worker in WORKERS])
after = present()
import gc
print(before == after, gc.get_freeze_count() > 10_000)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout == "True True\n"


# -- supervisord's own log ------------------------------------------------------------------------


def emitted(capsys: pytest.CaptureFixture[str], level: int, message: str, **kw: object) -> dict[str, Any]:
    JsonEmitter("demo")(loggers.LogRecord(level, message, **kw))
    line = capsys.readouterr().out
    assert line.endswith("\n")
    return dict(json.loads(line))


@pytest.mark.parametrize(
    ("level", "word"),
    [
        (loggers.LevelsByName.CRIT, "CRITICAL"),
        (loggers.LevelsByName.ERRO, "ERROR"),
        (loggers.LevelsByName.WARN, "WARNING"),
        (loggers.LevelsByName.INFO, "INFO"),
        (loggers.LevelsByName.DEBG, "DEBUG"),
        (loggers.LevelsByName.TRAC, "DEBUG"),
        (loggers.LevelsByName.BLAT, "DEBUG"),
    ],
)
def test_supervisords_words_are_json_lines_of_ours(capsys: pytest.CaptureFixture[str], level: int, word: str) -> None:
    line = emitted(capsys, level, "spawned: 'metrics' with pid 7\n")
    assert line.pop("timestamp").endswith("Z")
    assert line == {
        "level": word,
        "cluster_id": "demo",
        "component": "supervisord",
        "message": "spawned: 'metrics' with pid 7",
    }


@pytest.mark.parametrize(
    "words",
    [
        "Server 'unix_http_server' running without any HTTP authentication checking",
        "Supervisor is running as root.  Privileges were not dropped because no user is specified in the config file.",
    ],
)
def test_what_it_finds_critical_at_each_start_is_not_shown(words: str) -> None:
    """Its socket is guarded by its mode; whoever starts it as root knows."""
    shown: list[str] = []
    emit = worth_saying(lambda record: shown.append(record.msg))
    for said in (words, "supervisord started with pid 1"):
        emit(loggers.LogRecord(loggers.LevelsByName.CRIT, said))
    assert shown == ["supervisord started with pid 1"]


def test_a_percent_sign_in_supervisords_words_is_a_percent_sign(capsys: pytest.CaptureFixture[str]) -> None:
    assert emitted(capsys, loggers.LevelsByName.INFO, "100% of %s")["message"] == "100% of %s"
    assert emitted(capsys, loggers.LevelsByName.INFO, "%(what)s", what="filled in")["message"] == "filled in"
