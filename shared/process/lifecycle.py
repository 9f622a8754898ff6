"""The life of a worker process: start, loops that retry for ever, beats, an orderly stop.

A worker is a handful of loops. Each runs on its own thread: ``body()`` makes one pass and returns the seconds
until the next. What it raises is logged, counted and retried with backoff; only the stop event ends it.
"""

from __future__ import annotations

import contextlib
import faulthandler
import logging
import os
import signal
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

from shared import __version__, config
from shared.basics import logs, telemetry
from shared.basics.errors import EXIT_CONFIG, AgentError, ConfigurationError
from shared.basics.timing import SYSTEM_CLOCK, Backoff, Clock
from shared.config import Settings
from shared.process.beats import Beats
from shared.process.confinement import confine, end_with_parent
from shared.process.counters import Usage, begin_at_zero
from shared.process.identity import instance_id
from shared.process.programs import Programs
from shared.process.state import ENDED, TELEMETRY, WORKER
from shared.queue.client import Queue, QueueClient

PUBLISH_SECONDS = 5.0
"""How often a worker tells the queue's state how it is; a change is told at once."""

FIRST_RETRY = 0.5
"""Seconds the pause after a loop's first failure may take; each further one up to twice as long."""

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Loop:
    """Something a worker does again and again."""

    name: str
    body: Callable[[], float]
    """One pass; returns the seconds until the next one. May raise anything."""
    patience: float = 60.0
    """Seconds one pass may take before the loop counts as hung."""
    slowest_retry: float = 30.0
    """Seconds the pause after failures grows to."""


@dataclass
class Process:
    """What every worker needs, built once by its ``__main__``."""

    name: str
    settings: Settings
    queue: Queue
    programs: Programs
    instance_id: str
    clock: Clock = SYSTEM_CLOCK
    stop: threading.Event = field(default_factory=threading.Event)
    started_at: float = 0.0

    def __post_init__(self) -> None:
        self.started_at = self.clock.monotonic()
        self.beats = Beats(self.clock)
        self.facts: dict[str, Any] = {}
        self._connections: dict[str, dict[str, Any]] = {}
        self._news = threading.Event()
        self._usage = Usage(self.name)

    @property
    def uptime(self) -> float:
        """Seconds since this worker started."""
        return self.clock.monotonic() - self.started_at

    def connected(self, to: str) -> None:
        """``to`` (``central``, ``kubernetes``, ``stream``) answered just now."""
        self._note(to, True, "")

    def disconnected(self, to: str, why: object) -> None:
        """``to`` did not answer; ``why`` is shown by /ready."""
        self._note(to, False, str(why))

    def kubernetes_answered(self, ok: bool, why: str) -> None:
        """The API server did or did not answer; what Kube reports to."""
        telemetry.KUBE_CONNECTED.labels(self.name).set(int(ok))
        self._note("kubernetes", ok, why)

    def _note(self, to: str, ok: bool, detail: str) -> None:
        before = self._connections.get(to, {}).get("ok")
        self._connections[to] = {"ok": ok, "detail": detail[:300]}
        if before != ok:
            level = logging.INFO if ok else logging.WARNING
            _logger.log(level, "%s: %s", to, "connected" if ok else f"not connected: {detail}")
            self._news.set()

    def publish(self, patience: float = 1.0) -> None:
        """Tell the queue's state how this worker is and what it counted."""
        self._usage.measure()
        status = {
            "pid": os.getpid(),
            "uptime": round(self.uptime, 1),
            "overdue": self.beats.overdue(),
            "jobs": self.beats.jobs(),
            "connections": self._connections,
            **self.facts,
        }
        self.queue.set_state(
            {WORKER + self.name: status, TELEMETRY + self.name: [os.getpid(), telemetry.snapshot()]},
            patience=patience,
        )

    def publish_end(self, patience: float = 1.0) -> None:
        """Leave what was counted to the end where the worker's next process does not write over it."""
        self._usage.measure()
        key = f"{ENDED}{self.name}/{os.getpid()}"
        self.queue.set_state({key: telemetry.snapshot(), TELEMETRY + self.name: None}, patience=patience)

    def publish_until_stopped(self) -> None:
        """Publish at intervals and at once when something changed. A broker that is away is not our fault."""
        while not self.stop.is_set():
            try:
                self.publish()
            except AgentError as error:
                _logger.debug("could not publish: %s", error)
            logs.tell_left_out()
            self._news.wait(PUBLISH_SECONDS)
            self._news.clear()

    def wake_publisher(self) -> None:
        self._news.set()


class Worker(ABC):
    """One of the five. Tests call the loops' bodies; ``run`` stays trivial."""

    @abstractmethod
    def loops(self) -> list[Loop]:
        """What to do until told to stop."""

    def close(self, pod_stopping: bool) -> None:  # noqa: B027 - nothing to do is a fair default
        """End in order, within the stop time of supervisord.conf. ``pod_stopping``: all of the agent ends."""


def start(name: str) -> Process:
    """Settings, log and queue of the worker ``name``; exits with 78 when the settings are wrong."""
    end_with_parent(os.getppid())
    confine()
    faulthandler.register(signal.SIGUSR1)
    _set_process_title(name)
    try:
        settings = config.load(os.environ)
    except ConfigurationError as error:
        logs.configure(name, os.environ.get("CLUSTER_ID", ""))
        raise misconfigured(error) from error
    agent = settings.agent
    api_key = settings.central.api_key
    logs.configure(name, agent.cluster_id, agent.log_level, agent.log_format, api_key.redacted)
    stop = threading.Event()
    return Process(
        name=name,
        settings=settings,
        queue=QueueClient(agent.queue_socket),
        programs=Programs(agent.supervisor_socket),
        instance_id=instance_id(settings.pod.uid),
        stop=stop,
    )


def misconfigured(error: ConfigurationError) -> SystemExit:
    """The end of a worker whose settings cannot be used; each problem is logged as a sentence."""
    for problem in error.problems:
        _logger.critical("configuration: %s", problem)
    return SystemExit(EXIT_CONFIG)


def run(process: Process, worker: Worker) -> int:
    """Run ``worker`` until SIGTERM, close it and return the exit status."""
    with stopped_by_signals(process.stop) as signalled:
        _logger.info("%s started, version %s", process.name, __version__)
        begin_at_zero(process.name)
        for loop in worker.loops():
            telemetry.RETRIES.labels(loop.name)
            target = _driven(process, loop)
            threading.Thread(target=target, name=loop.name, daemon=True).start()
        threading.Thread(target=process.publish_until_stopped, name="publisher", daemon=True).start()
        signalled()
        stopping = process.programs.pod_is_stopping()
        _logger.info("%s stops; %s", process.name, "the pod is stopping" if stopping else "only this worker")
        process.wake_publisher()
        try:
            worker.close(stopping)
            process.publish_end()
        except AgentError as error:
            _logger.warning("the end was not orderly: %s", error)
        logs.tell_left_out()
        _logger.info("%s stopped", process.name)
    return 0


@contextlib.contextmanager
def stopped_by_signals(stop: threading.Event) -> Iterator[Callable[[], None]]:
    """SIGTERM and SIGINT end the call that is handed out, which then sets ``stop``.

    The handler only writes a byte: to set an Event it would need the lock that the interrupted thread may hold.
    A second signal does what it does to any process.
    """
    reading, writing = os.pipe()

    def handle(number: int, frame: FrameType | None) -> None:
        signal.signal(number, signal.SIG_DFL)
        os.write(writing, b"x")

    def wait() -> None:
        os.read(reading, 1)
        stop.set()

    before = {number: signal.signal(number, handle) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield wait
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        os.close(reading)
        os.close(writing)


def _driven(process: Process, loop: Loop) -> Callable[[], None]:
    def drive() -> None:
        pauses = Backoff(first=FIRST_RETRY, cap=loop.slowest_retry)
        while not process.stop.is_set():
            process.stop.wait(one_pass(process.beats, loop, pauses))

    return drive


def one_pass(beats: Beats, loop: Loop, pauses: Backoff) -> float:
    """One pass of ``loop``, whatever comes of it; the seconds until the next."""
    beats.begin(loop.name, loop.patience)
    try:
        delay = loop.body()
    except Exception as error:  # A bug must not end the loop.
        delay = pauses.pause(getattr(error, "delay", None))
        _failed(loop, pauses.failures, delay, error)
        beats.fail(loop.name, delay + loop.patience, error)
    else:
        pauses.reset()
        beats.end(loop.name, delay + loop.patience)
    return delay


def _failed(loop: Loop, failures: int, delay: float, error: Exception) -> None:
    telemetry.RETRIES.labels(loop.name).inc()
    if isinstance(error, AgentError):
        _logger.warning("%s failed (%d in a row), next try in %.1f s: %s", loop.name, failures, delay, error)
    else:  # Nobody expected it: it is logged whole.
        _logger.error("%s failed unexpectedly: %s", loop.name, error, exc_info=error)


def _set_process_title(name: str) -> None:
    """Show the program's name in ps and top: forked workers would all look like supervisord."""
    try:
        Path("/proc/self/comm").write_text(f"co-{name}"[:15], encoding="ascii")
    except OSError:
        pass
