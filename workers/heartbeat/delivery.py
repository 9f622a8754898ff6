"""Delivers the outbox: results before notices, events and metrics, each until Central took or refused it for good."""

from __future__ import annotations

import hashlib
import json
import logging
from collections import deque
from collections.abc import Iterator, Sequence

from shared.basics import telemetry
from shared.basics.errors import AgentError, AuthenticationError, PermanentError, TemporaryError
from shared.basics.logs import cut_middle
from shared.basics.timing import SYSTEM_CLOCK, Clock, Deadline
from shared.central.client import CentralClient
from shared.central.verdicts import TooLarge, Unclear
from shared.queue.client import Queue
from shared.queue.messages import EVENTS, NOTICES, RESULTS, TOPICS, Leased
from workers.heartbeat.patience import LAST_PAUSE, PARKED_SECONDS, Next, Patience, bound

LEASE_SECONDS = 120.0
"""Longer than any one delivery takes with its time-outs."""

PASS_SECONDS = 20.0
"""How long one lease is worked on: with a slow Central the loop would seem hung, and the lease end on the way."""

BATCH_MESSAGES = 200
BATCH_BYTES = 256 * 1024
"""Size of one POST of events, before compression."""

_BATCHED = (NOTICES, EVENTS)
"""What one call takes many of. Notices do not gather: each goes at once, and those that come with it."""

EVENTS_PAUSE = 0.5
"""Seconds after a post of events in which the next ones gather: a storm begins at once and goes on in batches."""

_CUT_LOGS = (16 * 1024, 1024)
"""Characters a result's logs are cut to, one after the other, when Central finds it too large."""

_logger = logging.getLogger(__name__)


class Delivery:
    """Moves messages from ``queue`` to Central."""

    def __init__(self, queue: Queue, client: CentralClient, cluster_id: str, clock: Clock = SYSTEM_CLOCK) -> None:
        self._queue = queue
        self._clock = clock
        self._gathering_until = clock.monotonic()
        self._client = client
        self._cluster_id = cluster_id
        self._taken: dict[tuple[int, str], None] = {}
        """Ids and keys of what Central took and the queue, being away, was not told: they are not sent again."""
        self._hurried = False
        self.patience = Patience(clock)
        self._unconfirmed: list[str] = []
        """Keys of the batch that failed last: it may have arrived, so it is sent again as it was, by the same key."""

    def hurry(self) -> None:
        """End what another thread delivers, after the present call, for which Central gets no more time."""
        self._hurried = True
        self._client.sever()

    def last_chance(self, end: Deadline) -> None:
        """Everything is tried until the ``end``, whatever was set aside, and no failure holds up what is behind it."""
        self._hurried = False
        self.patience.last_chance()
        self._client.finish_by(end)
        try:
            self._queue.release_all()
        except AgentError as error:
            _logger.warning("what is set aside may stay so: %s", error)

    def deliver_next(self, wait: float, within: float = PASS_SECONDS) -> bool:
        """Deliver what a lease hands out; whether there was anything within ``wait`` seconds.

        While a topic is set aside or events gather, the others go. Without a ``wait`` nothing gathers. What is not
        begun ``within`` so many seconds is queued again.

        Raises:
            TemporaryError, AuthenticationError: Central does not take it now; everything is queued again.
        """
        gathering = self._gathering_until - self._clock.monotonic()
        topics = [topic for topic in TOPICS if not self.patience.is_aside(topic)]
        if wait and gathering > 0.0 and EVENTS in topics:
            topics.remove(EVENTS)
            wait = min(wait, gathering)
        # With no topic left it waits as well.
        leased = self._queue.lease(topics, BATCH_MESSAGES, LEASE_SECONDS, wait)
        undelivered = {message.id for message in leased}
        try:
            waiting = self._acknowledge_taken(leased)
            undelivered = {message.id for message in waiting}
            pending = deque[Sequence[Leased]](_batches(waiting, self._unconfirmed))
            end = Deadline.after(within, self._clock)
            while pending and not end.expired and not self._hurried and not self.patience.is_aside(pending[0][0].topic):
                batch = pending.popleft()
                parts = self._deliver(batch)
                pending.extendleft(reversed(parts))
                if not parts:
                    undelivered -= {message.id for message in batch}
        finally:
            if undelivered:
                self._queue.release(undelivered)
        if leased and leased[0].topic == EVENTS and len(leased) < BATCH_MESSAGES:
            self._gathering_until = self._clock.monotonic() + EVENTS_PAUSE
        return bool(leased)

    def _acknowledge_taken(self, leased: Sequence[Leased]) -> list[Leased]:
        """Those of ``leased`` that are still to be sent."""
        taken = [message for message in leased if (message.id, message.key) in self._taken]
        if taken:
            self._acknowledge(taken)
        return [message for message in leased if message not in taken]

    def _acknowledge(self, batch: Sequence[Leased]) -> None:
        keys = [(message.id, message.key) for message in batch]
        self._taken.update(dict.fromkeys(keys))
        bound(self._taken)
        self._queue.ack([message.id for message in batch])
        for key in keys:
            self._taken.pop(key, None)

    def _deliver(self, batch: Sequence[Leased]) -> list[Sequence[Leased]]:
        """Send one batch and acknowledge, bury or park it; else the parts to send instead."""
        topic = batch[0].topic
        try:
            self._send(batch)
        except PermanentError as error:
            if len(batch) > 1:  # It is too large, or one event is at fault: the others are not to go with it.
                return _halves(batch, error)
            if isinstance(error, TooLarge) and not error.certain:
                return self._set_back(batch, Unclear(str(error)))
            self._bury(batch, error)
            return []
        except (TemporaryError, AuthenticationError) as error:
            return self._set_back(batch, error)
        except Exception as error:  # A bug of ours in one message must not hold up those behind it.
            _logger.exception("cannot send %s", batch[0].key)
            return self._set_back(batch, TemporaryError(f"{type(error).__name__}: {error}"))
        telemetry.DELIVERIES.labels(topic, "delivered").inc(len(batch))
        self._acknowledge(batch)
        if freed := self.patience.went(topic, [message.key for message in batch]):
            self._queue.release(freed)
        return []

    def _send(self, batch: Sequence[Leased]) -> None:
        first = batch[0]
        if first.topic == RESULTS:
            self._send_result(first)
        elif first.topic in _BATCHED:
            body = b'{"cluster_id":%b,"events":[%b]}' % (
                json.dumps(self._cluster_id).encode(),
                b",".join(bytes(message.body) for message in batch),
            )
            self._client.send_events(body, _key_of(batch))
        else:
            self._client.send_metrics(bytes(first.body), first.key)

    def _send_result(self, message: Leased) -> None:
        """Send a result; one that is too large for Central with less and less of its logs."""
        body = bytes(message.body)
        for size in _CUT_LOGS:
            try:
                self._client.send_result(message.key, body, message.key)
                return
            except TooLarge as error:
                _logger.warning("%s; cutting the logs of %s to %d characters", error, message.key, size)
                result = json.loads(bytes(message.body))
                body = json.dumps({**result, "logs": cut_middle(result["logs"], size)}).encode()
        self._client.send_result(message.key, body, message.key)

    def _bury(self, batch: Sequence[Leased], error: AgentError) -> None:
        topic = batch[0].topic
        keys = ", ".join(message.key for message in batch[:5])
        _logger.error("Central refuses %d of %s for good (%s): %s", len(batch), topic, keys, error)
        telemetry.DEAD_LETTERS.labels(topic).inc(len(batch))
        self._queue.bury([message.id for message in batch], str(error))
        self.patience.forget(topic, [message.key for message in batch])

    def _set_back(self, batch: Sequence[Leased], error: TemporaryError | AuthenticationError) -> list[Sequence[Leased]]:
        """Do with a batch that failed what patience says; the parts to send instead.

        Raises:
            TemporaryError, AuthenticationError: ``error``, when all is to wait.
        """
        topic, ids = batch[0].topic, [message.id for message in batch]
        telemetry.DELIVERIES.labels(topic, "retried").inc()
        self._unconfirmed = [message.key for message in batch]
        step = self.patience.failed(topic, [(message.id, message.key) for message in batch], error)
        if step is Next.WAIT:
            raise error
        if step is Next.HALVE:
            return _halves(batch, error)
        if step is Next.GIVE_UP:
            self._bury(batch, error)
        elif step is Next.PUT_OFF:
            _logger.warning("cannot send %s at the end: %s", batch[0].key, error)
            self._queue.release(ids, LAST_PAUSE)
        else:
            _logger.warning("parking %d of %s for %d s: %s", len(batch), topic, PARKED_SECONDS, error)
            self._queue.release(ids, PARKED_SECONDS)
            if self.patience.is_aside(topic):
                _logger.warning("Central takes heartbeats and no %s; going on with the others for a while", topic)
        return []


def _halves(batch: Sequence[Leased], why: AgentError) -> list[Sequence[Leased]]:
    _logger.info("%s; sending the batch in halves", why)
    half = len(batch) // 2
    return [batch[:half], batch[half:]]


def _batches(leased: Sequence[Leased], unconfirmed: Sequence[str]) -> Iterator[list[Leased]]:
    """Events together, in posts of a bounded size; results and samples one by one, as Central's API has it.

    What comes after an ``unconfirmed`` batch does not join it.
    """
    repeated = len(unconfirmed)
    if repeated and [message.key for message in leased[:repeated]] == list(unconfirmed):
        yield list(leased[:repeated])
        leased = leased[repeated:]
    batch: list[Leased] = []
    size = 0
    for message in leased:
        if batch and (message.topic not in _BATCHED or size + len(bytes(message.body)) > BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(message)
        size += len(bytes(message.body))
    if batch:
        yield batch


def _key_of(batch: Sequence[Leased]) -> str:
    """An idempotency key: the same for the same messages, however often they are sent."""
    digest = hashlib.sha256("\n".join(message.key for message in batch).encode())
    return digest.hexdigest()[:32]
