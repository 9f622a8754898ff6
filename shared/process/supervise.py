"""supervisord with the workers' imports loaded once and shared.

Everything is plain supervisord but one call: where it would exec ``python -m workers.X`` in the forked child,
the child runs that module in place, with the pages of the imports still shared with its siblings. Programs
of any other kind are exec'ed as ever.
"""

from __future__ import annotations

import gc
import importlib
import logging
import os
import runpy
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import supervisor.process
import supervisor.rpcinterface
import supervisor.supervisord
from supervisor import loggers
from supervisor.medusa import asyncore_25 as asyncore
from supervisor.options import ServerOptions
from supervisor.states import SupervisorStates
from supervisor.supervisord import Supervisor

from shared.basics.logs import JsonLine
from shared.process.confinement import end_with_parent

_LEVELS = {
    loggers.LevelsByName.CRIT: logging.CRITICAL,
    loggers.LevelsByName.ERRO: logging.ERROR,
    loggers.LevelsByName.WARN: logging.WARNING,
    loggers.LevelsByName.INFO: logging.INFO,
}


_NOT_CRITICAL = ("running without any HTTP authentication checking", "Supervisor is running as root")
"""What supervisord finds critical at each start: its socket asks for no password (the socket's mode guards it), and who
starts it as root, on a machine of theirs, knows."""


class SteadyTime:
    """The module ``time`` for supervisord, with a ``time()`` that is never set.

    It counts by the wall clock how long a program runs, how long it may take to stop, when it is started again:
    a clock that is set in the middle of a stop would have a worker killed, or waited for, for hours.
    """

    def __init__(self) -> None:
        self._difference = time.time() - time.monotonic()

    def time(self) -> float:
        """Seconds since 1970 as they were at the start, and the monotonic ones since."""
        return time.monotonic() + self._difference

    def __getattr__(self, name: str) -> Any:
        return getattr(time, name)


class PreloadedOptions(ServerOptions):  # type: ignore[misc]  # supervisor has no types
    """supervisord's options with children that run in place and a log in JSON."""

    supervisord = 0
    """Its pid."""
    cluster_id = ""
    log_format = "json"
    parse_criticals: list[str]
    parse_warnings: list[str]
    parse_infos: list[str]

    def execve(self, filename: str, argv: Sequence[str], env: Mapping[str, str]) -> None:
        """Called in the forked child, file descriptors already in place. Does not return.

        It must not raise either: supervisord's bare ``except`` would turn SystemExit into status 127.
        """
        end_with_parent(self.supervisord)
        module = worker_module(argv)
        if module is None:
            os.execve(filename, list(argv), dict(env))
        os._exit(run_in_place(module, env))

    def make_logger(self) -> None:
        """supervisord's own logger, its lines as JSON from the first on."""
        first_lines = self.parse_criticals, self.parse_warnings, self.parse_infos
        self.parse_criticals, self.parse_warnings, self.parse_infos = [], [], []
        super().make_logger()
        for handler in self.logger.handlers:
            if isinstance(handler, loggers.StreamHandler):
                emit = JsonEmitter(self.cluster_id) if self.log_format == "json" else handler.emit
                handler.emit = worth_saying(emit)
        for log, lines in zip((self.logger.critical, self.logger.warn, self.logger.info), first_lines, strict=True):
            for line in lines:
                log(line)


def worth_saying(emit: Callable[[loggers.LogRecord], None]) -> Callable[[loggers.LogRecord], None]:
    """``emit`` for all but what supervisord says at each start and nobody has to act on."""

    def filtered(record: loggers.LogRecord) -> None:
        if not any(said in str(record.msg) for said in _NOT_CRITICAL):
            emit(record)

    return filtered


class JsonEmitter:
    """Writes supervisord's own log records as JSON lines to stdout."""

    def __init__(self, cluster_id: str) -> None:
        self._formatter = JsonLine(cluster_id, "supervisord")

    def __call__(self, record: loggers.LogRecord) -> None:
        message = str(record.msg % record.kw if record.kw else record.msg).strip()
        level = _LEVELS.get(record.level, logging.DEBUG)
        line = self._formatter.format(logging.LogRecord("supervisord", level, "", 0, message, None, None))
        sys.stdout.write(line + "\n")
        sys.stdout.flush()


def worker_module(argv: Sequence[str]) -> str | None:
    """The module of a command ``python -m workers.X``; None for any other command."""
    if len(argv) == 3 and argv[1] == "-m" and argv[2].startswith("workers."):
        return argv[2]
    return None


def run_in_place(module: str, env: Mapping[str, str]) -> int:
    """Run ``module`` as ``__main__`` in this process as if it had been exec'ed; its exit status.

    One difference stays: the caller's os._exit neither waits for threads nor calls what atexit has.
    """
    for number in (signal.SIGTERM, signal.SIGQUIT, signal.SIGHUP, signal.SIGCHLD, signal.SIGUSR2):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.clear()
    os.environ.update(env)
    sys.argv = [module]
    sys.modules.pop(f"{module}.__main__", None)  # Preloaded for its imports; now it runs.
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
        status = 0
    except SystemExit as stop:
        status = exit_status(stop)
    except BaseException as error:
        sys.excepthook(*sys.exc_info())
        if isinstance(error, KeyboardInterrupt):
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            os.kill(os.getpid(), signal.SIGINT)  # As the interpreter ends then.
        status = 1
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            pass
    return status


def exit_status(stop: SystemExit) -> int:
    """The status the interpreter would end with for ``stop``: None is 0, a text is printed and is 1."""
    if stop.code is None:
        return 0
    if isinstance(stop.code, int):
        return stop.code & 0xFF
    print(stop.code, file=sys.stderr)
    return 1


def preload(modules: Sequence[str]) -> None:
    """Import ``modules`` and keep the garbage collector from touching (and so copying) their pages.

    Nothing they import may open a file descriptor or start a thread at import: the children close the
    descriptors and inherit no threads.
    """
    for module in modules:
        importlib.import_module(module)
    gc.collect()
    gc.freeze()


def supervise(arguments: Sequence[str], cluster_id: str, log_format: str) -> None:
    """Run supervisord in the foreground until it is told to shut down.

    A copy of supervisor.supervisord.main() but for the class of the options; ``supervisorctl reload`` comes
    round the loop and gets them again.
    """
    PreloadedOptions.supervisord = os.getpid()
    PreloadedOptions.cluster_id = cluster_id
    PreloadedOptions.log_format = log_format
    supervisor.process.time = supervisor.supervisord.time = supervisor.rpcinterface.time = SteadyTime()
    first = True
    while True:
        options = PreloadedOptions()
        options.realize(list(arguments), doc="supervisord of the CloudOptim agent")
        options.first = first
        options.test = False
        try:
            Supervisor(options).main()
        except asyncore.ExitNow:
            pass
        options.close_httpservers()
        options.close_logger()
        first = False
        if options.mood < SupervisorStates.RESTARTING:
            return
