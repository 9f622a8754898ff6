"""The heartbeat's loops, and the goodbye."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable
from typing import Any

from shared import __version__
from shared.basics import telemetry
from shared.basics.errors import EXIT_UNAUTHORIZED, AgentError, AuthenticationError
from shared.basics.timing import Deadline, jittered
from shared.central.client import CentralClient
from shared.central.verdicts import NotOffered
from shared.process.lifecycle import Loop, Process, Worker
from shared.process.refusals import Refusal, clear_refusal, refusals, report_refusal
from shared.process.state import CLUSTER, HEALTH, REGISTRATION
from shared.queue.client import value
from shared.schemas.agent import Deregistration, Heartbeat, Registration
from workers.heartbeat.delivery import Delivery
from workers.heartbeat.goodbye import CLOSE_SECONDS, FLUSH_SECONDS, deliver_rest, over, say_what_is_left
from workers.heartbeat.prices import PriceKeeper

_CLUSTER_WAIT = 3.0
"""Seconds to wait for the metrics worker's facts before registering without them."""

_ASK_AGAIN_SECONDS = 300.0

_WAIT = 1.0
"""Seconds to wait for something to deliver; a stop waits that long for the loop to look up."""

_logger = logging.getLogger(__name__)


class HeartbeatWorker(Worker):
    """Has two connections to Central, so that a slow delivery never delays a heartbeat; prices open one a day."""

    _pause: Callable[[float], None] = staticmethod(time.sleep)

    def __init__(self, process: Process, client: CentralClient, delivery: Delivery, prices: PriceKeeper) -> None:
        self._process = process
        self._client = client
        self._delivery = delivery
        self._prices = prices
        self._calling = threading.Lock()
        self._delivering = threading.Lock()
        self._closed = False
        self._registered = False
        self._ask_again: Deadline | None = None
        """When to register once more after an answer that need not have been Central's."""
        self._fatal = False
        """The key is refused for good: nothing more is sent."""
        self._stopping = False
        """supervisord was told so; until it heard, it is asked again."""

    def loops(self) -> list[Loop]:
        return [
            Loop("register", self.register, patience=90.0),
            Loop("beat", self.beat, patience=90.0),
            Loop("deliver", self.deliver, patience=300.0),
            Loop("refusals", self.decide),
            Loop("prices", self._prices.look, patience=300.0),
        ]

    # -- registration -----------------------------------------------------------------------------

    def register(self) -> float:
        """Register until Central took it; keep the queue's state saying so, also after the broker restarted."""
        entry = self._process.queue.get_state(REGISTRATION).get(REGISTRATION)
        known = value(entry) if entry is not None else {}
        if known.get("instance_id") == self._process.instance_id and known.get("ok"):
            self._registered = True  # By this process, or the one before it.
        telemetry.REGISTERED.set(int(self._registered))
        if self._registered:
            if not known.get("ok"):
                self._tell_registration(ok=True)
            if self._ask_again is None or not self._ask_again.expired:
                return 5.0
        try:
            self._call(self._client.register, self._registration().to_json())
            self._ask_again = None
        except NotOffered as error:
            _logger.info("Central has no registration, going on without: %s", error)
            # An ingress that is being rolled out says the same.
            self._ask_again = None if error.certain else Deadline.after(_ASK_AGAIN_SECONDS, self._process.clock)
        except AgentError as error:
            self._tell_registration(ok=self._registered, why=str(error))
            raise
        self._registered = True
        self._tell_registration(ok=True)
        _logger.info("registered cluster %s as instance %s", self._cluster_id, self._process.instance_id)
        if self._process.settings.tasks.limits.current().read_only:
            _logger.info("registered without task types: the agent is read-only")
        return 5.0

    def _tell_registration(self, ok: bool, why: str = "") -> None:
        news = {"instance_id": self._process.instance_id, "tried": True, "ok": ok, "why": why}
        self._process.queue.set_state({REGISTRATION: news})

    def _registration(self) -> Registration:
        facts = self._cluster_facts()
        return Registration(
            cluster_id=self._cluster_id,
            instance_id=self._process.instance_id,
            agent_version=__version__,
            timestamp=self._process.clock.now(),
            kubernetes_version=facts.get("kubernetes_version"),
            provider=facts.get("provider"),
            region=facts.get("region"),
            node_count=facts.get("node_count"),
            task_types=self._process.settings.tasks.limits.current().task_types,
        )

    def _cluster_facts(self) -> dict[str, Any]:
        """What metrics knows of the cluster by now; nothing if it does not say so soon."""
        version, deadline = 0, Deadline.after(_CLUSTER_WAIT, self._process.clock)
        while not deadline.expired and not self._process.stop.is_set():
            entries, version = self._process.queue.watch_state(CLUSTER, version, min(1.0, deadline.remaining))
            if CLUSTER in entries:
                facts: dict[str, Any] = value(entries[CLUSTER]) or {}
                return facts
        return {}

    # -- heartbeat --------------------------------------------------------------------------------

    def beat(self) -> float:
        """One heartbeat; the seconds until the next."""
        try:
            self._call(self._client.heartbeat, self._heartbeat("healthy").to_json())
        except AgentError:
            self._delivery.patience.central_failed()
            raise
        self._delivery.patience.central_answered()
        clear_refusal(self._process.queue, "heartbeat")
        return jittered(self._process.settings.central.heartbeat_seconds)

    def _heartbeat(self, status: str) -> Heartbeat:
        health: dict[str, Any] = {}
        stats = self._process.queue.stats()
        entry = self._process.queue.get_state(HEALTH).get(HEALTH)
        if entry is not None:
            health = value(entry) or {}
        if status == "healthy" and not health.get("ready", False):
            status = "degraded"
        return Heartbeat.model_validate(
            {
                "cluster_id": self._cluster_id,
                "instance_id": self._process.instance_id,
                "agent_version": __version__,
                "timestamp": self._process.clock.now(),
                "status": status,
                "uptime_seconds": health.get("uptime_seconds", round(self._process.uptime, 1)),
                "k8s_api_connected": health.get("k8s_api_connected", False),
                "workers": health.get("workers", {}),
                "tasks_in_progress": health.get("tasks_in_progress", 0),
                "queue_depth": {topic: fill.depth for topic, fill in stats.items()},
                "dropped": {topic: fill.dropped for topic, fill in stats.items()},
                "dead_letters": {topic: fill.buried for topic, fill in stats.items()},
                "reasons": health.get("reasons", []),
            }
        )

    # -- delivery ---------------------------------------------------------------------------------

    def deliver(self) -> float:
        """Deliver one lease of the outbox, waiting for it to fill."""
        with self._delivering:
            if self._closed:
                return 1.0
            # A refused key is not reported here: if it is the key, the heartbeats are refused as well.
            if self._delivery.deliver_next(wait=_WAIT):
                self._process.connected("central")
        return 0.0

    # -- refusals ---------------------------------------------------------------------------------

    def decide(self) -> float:
        """Stop the pod once a refusal of the key is confirmed: a person has to look."""
        for worker, refusal in refusals(self._process.queue).items():
            if refusal.confirmed and not self._stopping:
                self._fatal = True
                self._stop_the_pod(worker, refusal)
                self._stopping = True
        return 2.0

    def _stop_the_pod(self, worker: str, refusal: Refusal) -> None:
        agent = self._process.settings.agent
        reason = (
            f"Central refused the API key {refusal.times} times over {refusal.last - refusal.first:.0f} s"
            f" ({worker}): {refusal.reason}. Put the right key into the Secret; the agent stops."
        )
        _logger.critical("%s", reason)
        for path, text in (
            (agent.fatal_file, json.dumps({"status": EXIT_UNAUTHORIZED, "reason": reason})),
            (agent.termination_log, reason),
        ):
            try:
                path.write_text(text, encoding="utf-8")
            except OSError as error:
                _logger.error("cannot write the reason to %s: %s", path, error)
        self._process.programs.shut_down()

    # -- the end ----------------------------------------------------------------------------------

    def close(self, pod_stopping: bool) -> None:
        """When the pod stops: deliver what is left, say what could not be, and deregister as the last call."""
        if not pod_stopping:
            return
        end = Deadline.after(CLOSE_SECONDS, self._process.clock)
        delivered = end.within(FLUSH_SECONDS)
        self._closed = True
        if not over(self._delivering, self._delivery.hurry, delivered):
            _logger.warning("a delivery does not end; deregistering all the same")
        elif not self._fatal:
            deliver_rest(self._delivery, self._process.queue, delivered, self._pause)
        say_what_is_left(self._process.queue)
        if not over(self._calling, self._client.sever, end):
            _logger.warning("a call to Central does not end; nothing is deregistered")
            return
        self._client.finish_by(end)
        self._deregister()
        self._client.close()

    def _deregister(self) -> None:
        if self._fatal or not self._registered:
            return
        goodbye = Deregistration(
            cluster_id=self._cluster_id,
            instance_id=self._process.instance_id,
            timestamp=self._process.clock.now(),
            reason="shutdown",
        )
        try:
            self._client.deregister(goodbye.to_json())
            _logger.info("deregistered")
        except AgentError as error:
            _logger.warning("deregistration failed: %s", error)

    # -- calls ------------------------------------------------------------------------------------

    @property
    def _cluster_id(self) -> str:
        return self._process.settings.agent.cluster_id

    def _call(self, call: Any, body: bytes) -> None:
        """One call on the heartbeat's own connection, noted for /ready. Nothing follows the deregistration."""
        with self._calling:
            if self._closed:
                return
            try:
                call(body)
            except NotOffered:
                self._note(True)
                raise
            except AgentError as error:
                self._note(False, error)  # Who answers and refuses is no more use than who does not answer.
                if isinstance(error, AuthenticationError):
                    api_key = self._process.settings.central.api_key
                    report_refusal(self._process.queue, "heartbeat", error, api_key, self._process.clock)
                raise
            self._note(True)

    def _note(self, ok: bool, why: object = "") -> None:
        telemetry.CENTRAL_CONNECTED.set(int(ok))
        if ok:
            self._process.connected("central")
        else:
            self._process.disconnected("central", why)
