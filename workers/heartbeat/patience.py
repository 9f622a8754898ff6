"""What becomes of a delivery that failed. Decisions only: nothing here talks to the queue or to Central.

| it failed | then |
|---|---|
| and Central may be away: no heartbeat passed since | all waits, and is tried again with growing pauses |
| again and again, while heartbeats pass, in company | the batch goes in halves: one of them may be at fault |
| likewise, by itself | it is parked; when its kind's next one fails as well, the kind is set aside for a while |
| likewise for an hour, refused by something before Central, while its kind goes | it is given up |
| when the pod stops | it is put off for a moment, and after a few its kind is, until the others had their try |
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import Any

from shared.basics.errors import AgentError
from shared.basics.timing import Clock
from shared.central.verdicts import Unclear

PATIENT_TRIES = 5
PARKED_SECONDS = 300.0
"""A message that failed so often while others go through is set aside for a while, so as not to block them."""

GIVE_UP_SECONDS = 3600.0
"""A message that something before Central refuses for so long, while others of its kind go, is given up after all."""

FIRST_ASIDE, LONGEST_ASIDE = 10.0, 60.0
"""Seconds a topic is set aside when the next message fails as well, doubling: it is its call that does not work."""

LAST_PAUSE = 2.0
"""Seconds until a message that fails is tried again when all that is left are the last deliveries."""

LAST_FAILURES = 3
"""Failures of a topic in a row after which it pauses as long: ten thousand would be a storm, and in others' way."""

REMEMBERED = 1000
"""Messages of which something is remembered, such as that they failed."""


class Next(Enum):
    """What to do with a batch that failed."""

    WAIT = "all of it waits; the loop pauses"
    HALVE = "it is sent in halves"
    PARK = "it is set aside, and the others go on"
    PUT_OFF = "it is tried again in a moment, after the others"
    GIVE_UP = "it becomes a dead letter"


class Patience:
    """Remembers what failed, and since when. Not thread-safe but for what says so."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._failures: dict[str, tuple[int, float]] = {}
        """How often a message failed, and when it first did (monotonic)."""
        self._aside: dict[str, tuple[float, float]] = {}
        """Topics of which a message was parked and none went since: not before when (monotonic), the last pause."""
        self._parked: dict[int, str] = {}
        """Ids and topics of parked messages of whose kind none went meanwhile: the next that goes frees them."""
        self._went: dict[str, float] = {}
        """When a delivery of a topic last succeeded (monotonic)."""
        self._forgiven = False
        """Whether to count failures anew; said by another thread, so done by this one."""
        self._answered = clock.monotonic()
        """When Central last took a call that is no delivery (monotonic)."""
        self._at_the_end = False
        self._in_a_row: dict[str, int] = {}
        """Failures of a topic at the end, since one of it went."""

    def central_answered(self) -> None:
        """Central took another call: what has failed since before that is at fault itself. From any thread."""
        self._answered = self._clock.monotonic()

    def central_failed(self) -> None:
        """Central did not take another call either: what failed so far need not be at fault. From any thread."""
        self._forgiven = True

    def is_aside(self, topic: str) -> bool:
        """Whether the topic is not to be tried now."""
        not_before, _ = self._aside.get(topic, (0.0, 0.0))
        return self._clock.monotonic() < not_before

    def last_chance(self) -> None:
        """Nothing is set aside any longer, and no failure holds up what is behind it."""
        self._at_the_end = True
        self._aside.clear()

    def went(self, topic: str, keys: Sequence[str]) -> list[int]:
        """These were delivered. Ids of those that were parked for their kind's sake: they are to be tried again."""
        self._went[topic] = self._clock.monotonic()
        self._in_a_row.pop(topic, None)
        self.forget(topic, keys)
        freed = [id_ for id_, parked in self._parked.items() if parked == topic]
        for id_ in freed:
            del self._parked[id_]
        return freed

    def forget(self, topic: str, keys: Sequence[str]) -> None:
        """These are gone."""
        self._aside.pop(topic, None)
        for key in keys:
            self._failures.pop(key, None)

    def failed(self, topic: str, messages: Sequence[tuple[int, str]], error: AgentError) -> Next:
        """What to do with these, ids and keys, that failed together."""
        if self._at_the_end:
            return self._failed_at_the_end(topic)
        now = self._clock.monotonic()
        if self._forgiven:
            self._forgiven = False
            self._failures.clear()
            self._aside.clear()
        for _, key in messages:
            times, since = self._failures.get(key, (0, now))
            self._failures[key] = (times + 1, since)
        times, since = max(self._failures[key] for _, key in messages)
        bound(self._failures)
        stuck = times >= PATIENT_TRIES and self._answered > since
        if stuck and len(messages) > 1:  # One may be at fault, such as by a word that some firewall dislikes.
            return Next.HALVE
        others_go = self._went.get(topic, float("-inf")) > since
        if stuck and others_go and isinstance(error, Unclear) and now - since >= GIVE_UP_SECONDS:
            return Next.GIVE_UP
        if not stuck and topic not in self._aside:
            return Next.WAIT
        if not others_go:
            self._parked.update((id_, topic) for id_, _ in messages)
            bound(self._parked)
        _, pause = self._aside.setdefault(topic, (now, 0.0))
        if not stuck or pause:  # It is not that message alone.
            pause = min(LONGEST_ASIDE, 2.0 * pause or FIRST_ASIDE)
            self._aside[topic] = (now + max(pause, getattr(error, "delay", None) or 0.0), pause)
        return Next.PARK

    def _failed_at_the_end(self, topic: str) -> Next:
        self._in_a_row[topic] = self._in_a_row.get(topic, 0) + 1
        if self._in_a_row[topic] >= LAST_FAILURES:
            self._in_a_row[topic] = 0
            self._aside[topic] = (self._clock.monotonic() + LAST_PAUSE, 0.0)
        return Next.PUT_OFF


def bound(remembered: dict[Any, Any]) -> None:
    """Forget the oldest: of what the queue dropped meanwhile one would never hear again."""
    while len(remembered) > REMEMBERED:
        del remembered[next(iter(remembered))]
