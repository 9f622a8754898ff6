"""The task-runner's loops: poll, stream, and the gate both wait behind."""

from __future__ import annotations

import logging
import random
import threading
from typing import Any

from shared.basics.errors import AgentError, AuthenticationError, TemporaryError
from shared.basics.telemetry import RECONNECTS, STREAM_CONNECTED, TASKS_DROPPED
from shared.basics.timing import jittered
from shared.central.client import CentralClient
from shared.central.items import Offered
from shared.central.stream import PushedCancel, TaskStream, Unknown, parse
from shared.process.lifecycle import PUBLISH_SECONDS, Loop, Process, Worker
from shared.process.refusals import clear_refusal, report_refusal
from shared.process.state import AT_WORK, REGISTRATION
from shared.queue.client import value
from workers.task_runner.receiving.intake import by_urgency, decoded
from workers.task_runner.runner import Runner
from workers.task_runner.work.context import HandedBack, Suspended

_FINISH_SECONDS = 34.0
"""How long running tasks may go on when the pod stops; with the safe points, below stopwaitsecs 45."""

_RESTART_SECONDS = 2.0
"""How long when only this worker restarts: they are resumed a moment later anyway."""

_PROVED = 2
"""Answers after which a connection was worth something: the handshake and one more. Others back off further."""

_RECONNECT_SECONDS = 2.0
"""A connection that was worth something is opened again within so many seconds."""

_FULL = "as many tasks are claimed as there is room for; Central keeps the others until some of them end"
_UNREGISTERED = "the heartbeat worker has not tried yet to register with Central"

_logger = logging.getLogger(__name__)


class TaskRunner(Worker):
    """Receives by poll and by stream, whichever is first."""

    def __init__(self, process: Process, runner: Runner, client: CentralClient, stream: TaskStream) -> None:
        self._process = process
        self._runner = runner
        self._client = client
        self._stream = stream
        self._poll_seconds = process.settings.central.poll_seconds
        self._gate = threading.Lock()
        self._started = False
        self._shown: dict[str, Any] = {}
        self._show_again = 0.0

    def loops(self) -> list[Loop]:
        return [
            Loop("poll", self.poll, patience=90.0),
            Loop("stream", self.listen, patience=90.0),
            Loop("gauges", self.show),
        ]

    def poll(self) -> float:
        """One poll; the seconds until the next."""
        if not self._may_claim():
            self._process.beats.wait("poll", _UNREGISTERED)
            return 0.5
        try:
            tasks = self._client.tasks()
        except AgentError as error:
            self._process.disconnected("central", error)
            if isinstance(error, AuthenticationError):
                api_key = self._process.settings.central.api_key
                report_refusal(self._process.queue, "task-runner", error, api_key, self._process.clock)
            raise
        clear_refusal(self._process.queue, "task-runner")
        self._process.connected("central")
        self._note(tasks, "poll")
        for payload in by_urgency(tasks.tasks):
            self._runner.receive(decoded(payload), "poll")
        if self._runner.full:
            self._process.beats.wait("poll", _FULL)
        return jittered(self._poll_seconds)

    def listen(self) -> float:
        """Hold one connection of the stream until it ends."""
        if not self._may_claim():
            self._process.beats.wait("stream", _UNREGISTERED)
            return 0.5
        beats, patience = self._process.beats, 90.0
        answers = 0
        try:
            for frame in self._stream.frames():
                beats.expect("stream", patience)
                self._process.connected("stream")
                STREAM_CONNECTED.set(1)
                answers += 1
                if frame is not None:
                    self._take(frame)
        # A refused key is not reported here: if it is the key, the polls are refused as well.
        except TemporaryError as error:
            if self._process.stop.is_set():
                return 0.0
            self._process.disconnected("stream", error)
            if answers < _PROVED:
                raise
        finally:
            STREAM_CONNECTED.set(0)
            RECONNECTS.labels("stream").inc()
        return random.uniform(0.0, _RECONNECT_SECONDS)

    def _take(self, frame: bytes) -> None:
        push = parse(frame)
        if isinstance(push, PushedCancel):
            self._runner.cancel(push.task_id)
        elif isinstance(push, Unknown):
            _logger.warning("ignored a frame of the stream: %s", push.why)
        else:
            self._note(push, "stream")
            for payload in by_urgency(push.tasks):
                try:
                    self._runner.receive(decoded(payload), "stream")
                except TemporaryError as error:
                    _logger.warning("a pushed task could not be claimed (%s); the poll will bring it again", error)

    def _note(self, came: Offered, source: str) -> None:
        """Say and count what is not taken in of ``came``."""
        if came.junk:
            TASKS_DROPPED.labels("no_id").inc(came.junk)
            _logger.warning("dropped %d items of the %s that are no tasks: without a task_id", came.junk, source)
        if came.more:
            _logger.warning("the %s brought more tasks than are read at a time; the rest is left for later", source)

    def show(self) -> float:
        self._runner.expire()
        work = self._runner.show()
        self._process.facts["tasks_in_progress"] = self._runner.in_progress
        now = self._process.clock.monotonic()
        if work != self._shown or now >= self._show_again:  # Again, as it dies with the broker.
            self._process.queue.set_state({AT_WORK: work}, patience=1.0)
            self._shown, self._show_again = work, now + PUBLISH_SECONDS
        return 1.0

    def _may_claim(self) -> bool:
        """Whether registration was tried; resumes earlier tasks at that moment."""
        with self._gate:  # Both loops come by here, and earlier tasks are to be resumed once.
            if self._started:
                return True
            entry = self._process.queue.get_state(REGISTRATION).get(REGISTRATION)
            if entry is None or value(entry).get("instance_id") != self._process.instance_id:
                return False
            self._runner.start()
            self._started = True
            return True

    def close(self, pod_stopping: bool) -> None:
        """Accept nothing more, finish what runs for a while, hand the rest back or leave it for the restart."""
        self._runner.stop_accepting()
        self._stream.close()
        if pod_stopping:
            self._runner.drain(_FINISH_SECONDS, HandedBack)
        else:
            self._runner.drain(_RESTART_SECONDS, Suspended)
        self._runner.show()
        self._client.close()
