"""The command ``cloudoptim-agent``: run the agent, look at it, examine an installation, or say the version."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from shared import __version__
from shared.basics.errors import EXIT_CONFIG, EXIT_TAKEN, AgentError, ConfigurationError
from shared.process.confinement import RunDirectory, RunDirectoryTaken, confine

WORKERS = ("health", "heartbeat", "event_watcher", "metrics", "task_runner")
_CONF = "supervisord.conf"


def main(argv: list[str] | None = None) -> int:
    """Parse the command line and do it; the process's exit status."""
    parser = argparse.ArgumentParser(
        prog="cloudoptim-agent",
        description="The CloudOptim client agent.",
        epilog="Exit statuses: 0 all is well; 1 the doctor found what fails, or a command could not do its work;"
        " 2 the command line is wrong; 77 Central does not accept the key; 78 a setting is missing or malformed.",
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command", required=True)
    run_parser = commands.add_parser("run", help="run supervisord with the five workers, in the foreground")
    run_parser.add_argument("-c", "--configuration", type=Path, help=f"default: {_CONF} here or beside the code")
    doctor_parser = commands.add_parser("doctor", help="check the whole installation, and say what to do")
    doctor_parser.add_argument("--json", action="store_true", help="print the findings as JSON")
    doctor_parser.add_argument("-n", "--namespace", help="where the agent is; default: this pod's own, or kube-system")
    dead_parser = commands.add_parser("dead-letters", help="show what Central refused for good, and send it again")
    dead_parser.add_argument("--retry", action="store_true", help="queue all of them again")
    dead_parser.add_argument("--json", action="store_true", help="print them whole, one JSON object a line")
    status_parser = commands.add_parser("status", help="show the agent in this pod at a glance")
    status_parser.add_argument("--watch", action="store_true", help="show it again every other second, until Ctrl-C")
    status_parser.add_argument("--json", action="store_true", help="print it as JSON, as /status does")
    tasks_parser = commands.add_parser("tasks", help="list the tasks that are kept, or print the account of one")
    tasks_parser.add_argument("task_id", nargs="?", metavar="TASK_ID")
    tasks_parser.add_argument("--json", action="store_true", help="print them as JSON")
    commands.add_parser("version", help="print the version")
    arguments = parser.parse_args(argv)
    if arguments.command == "version":
        print(__version__)
        return 0
    if arguments.command == "doctor":
        return doctor(arguments.json, arguments.namespace)
    if arguments.command == "dead-letters":
        return dead_letters(arguments.retry, arguments.json)
    if arguments.command == "status":
        return status(arguments.watch, arguments.json)
    if arguments.command == "tasks":
        return tasks(arguments.task_id, arguments.json)
    return run(arguments.configuration)


def dead_letters(retry: bool, in_json: bool) -> int:
    """Print the dead letters of the agent in this pod; 1 when its queue does not answer."""
    from workers.commands import dead_letters as command

    return _print_from_queue(lambda queue: command.dead_letters(queue, retry, in_json))


def tasks(task_id: str | None, in_json: bool) -> int:
    """Print what the journal keeps, of one task or of all; 1 when it knows no such task, or does not answer."""
    from workers.commands import tasks as command

    if task_id is None:
        return _print_from_queue(lambda queue: command.tasks(queue, in_json))
    return _print_from_queue(lambda queue: command.account(queue, task_id, in_json))


def status(watch: bool, in_json: bool) -> int:
    """Print the agent in this pod at a glance; 1 when its queue does not answer."""
    from shared import config
    from shared.basics.timing import SYSTEM_CLOCK
    from shared.process.programs import Programs
    from shared.queue.client import QueueClient
    from workers.commands import status as command

    try:
        agent = config.load(os.environ).agent
    except AgentError as error:
        return _refuse(error)
    queue, programs = QueueClient(agent.queue_socket), Programs(agent.supervisor_socket)
    try:
        if watch:
            return command.watch(
                lambda: command.status(queue, programs, agent.cluster_id, SYSTEM_CLOCK, in_json),
                lambda text: print(text, end="", flush=True),
                time.sleep,
            )
        text, code = command.status(queue, programs, agent.cluster_id, SYSTEM_CLOCK, in_json)
        print(text)
        return code
    finally:
        queue.disconnect()


def _print_from_queue(lines: Callable[[Any], Iterable[str]]) -> int:
    """Print ``lines`` of the queue of the agent in this pod; 1 when they cannot be had."""
    from shared import config
    from shared.queue.client import QueueClient

    try:
        queue = QueueClient(config.load(os.environ).agent.queue_socket)
        try:
            for line in lines(queue):
                print(line)
        finally:
            queue.disconnect()
    except AgentError as error:
        return _refuse(error)
    return 0


def _refuse(error: AgentError) -> int:
    print(f"cloudoptim-agent: {error}", file=sys.stderr)
    return 1


def doctor(in_json: bool, namespace: str | None) -> int:
    """Examine the installation in ``namespace``, print the findings; 1 when something failed."""
    from workers.commands.doctor.examine import examine
    from workers.commands.doctor.findings import as_json, as_table, exit_status

    findings = list(examine(os.environ, namespace))
    print(as_json(findings) if in_json else as_table(findings))
    return exit_status(findings)


def run(configuration: Path | None) -> int:
    """Check the settings, then supervise the workers until told to stop.

    Returns 78 when the settings are wrong, 75 when another agent uses the run directory, a worker's fatal status where
    one left it, else 0.
    """
    confine()
    # As PID 1 a signal without a handler is ignored, and importing takes seconds under a small CPU limit.
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    from shared import config
    from shared.process import supervise

    try:
        settings = config.load(os.environ)
        conf = _find(configuration)
    except ConfigurationError as error:
        for problem in error.problems:
            print(f"cloudoptim-agent: {problem}", file=sys.stderr)
        return EXIT_CONFIG
    agent = settings.agent
    try:
        directory = RunDirectory(agent.run_dir)
        agent.fatal_file.unlink(missing_ok=True)
    except RunDirectoryTaken as error:
        print(f"cloudoptim-agent: {error}", file=sys.stderr)
        return EXIT_TAKEN
    except OSError as error:
        print(f"cloudoptim-agent: AGENT_RUN_DIR={agent.run_dir} cannot be used: {error}", file=sys.stderr)
        return EXIT_CONFIG
    os.environ["AGENT_RUN_DIR"] = os.environ["TMPDIR"] = str(agent.run_dir)
    # supervisord looks the command `python` up before it forks; it has to find this one.
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    if not directory.private:
        print(f"cloudoptim-agent: AGENT_RUN_DIR={agent.run_dir} is another user's: name one inside it", file=sys.stderr)
    supervise.preload([*(f"workers.{worker}.__main__" for worker in WORKERS), "encodings.ascii"])
    supervise.supervise(["-n", "-c", str(conf)], agent.cluster_id, agent.log_format)
    directory.release()
    return _fatal_status(agent.fatal_file)


def _find(configuration: Path | None) -> Path:
    beside_the_code = Path(__file__).resolve().parents[2] / _CONF
    candidates = [configuration] if configuration else [Path(_CONF).absolute(), beside_the_code]
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    raise ConfigurationError([f"{candidates[0]} does not exist; give its path with -c"])


def _fatal_status(path: Path) -> int:
    """The exit status a worker left for the whole agent, or 0."""
    try:
        return int(json.loads(path.read_text(encoding="utf-8"))["status"])
    except FileNotFoundError:
        return 0
    except (OSError, ValueError, KeyError, TypeError):
        return 1


if __name__ == "__main__":
    sys.exit(main())
