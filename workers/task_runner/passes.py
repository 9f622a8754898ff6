"""Passes over all operations in progress: one thread, a heap of due times, nothing that blocks."""

from __future__ import annotations

import heapq
import itertools
import logging
import threading
from contextvars import Context as Variables

from shared.basics.timing import Clock
from workers.task_runner.work.story import WAITS_FOR_NEWS, Story, Telling

_TURN = 0.5
"""Seconds the thread sleeps at most: a clock in a test, or a machine that was suspended, may run differently."""

_logger = logging.getLogger(__name__)


class Passes:
    """Gives each story a pass when it is due or something of its own happened."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._changed = threading.Condition()
        self._due: list[tuple[float, int, Story, Variables]] = []
        self._variables: dict[Story, Variables] = {}
        self._sequence = itertools.count()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="passes", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def begin(self, story: Story, telling: Telling, variables: Variables) -> None:
        """Run ``telling`` as ``story``, with these context variables (its log context, its budget of time)."""
        with self._changed:
            if self._closed:
                telling.close()
                return
            story.begin(telling, self._wake)
            self._variables[story] = variables
            self._schedule(story, self._clock.monotonic())

    def _wake(self, story: Story) -> None:
        with self._changed:
            if story not in self._variables:
                return
            story.woken, now = True, self._clock.monotonic()
            if story.asleep and story.due > now:  # One that is due keeps its place.
                self._schedule(story, now)

    def _tidy(self) -> None:
        """Drop the moments that stories were scheduled for and did not need: a woken one is scheduled anew."""
        if len(self._due) > 4 * len(self._variables) + 64:
            self._due = [entry for entry in self._due if self._is_current(entry)]
            heapq.heapify(self._due)

    def _schedule(self, story: Story, moment: float) -> None:
        story.due, story.asleep = moment, True
        if moment < WAITS_FOR_NEWS:
            heapq.heappush(self._due, (moment, next(self._sequence), story, self._variables[story]))
            self._tidy()
        self._changed.notify()

    def _run(self) -> None:
        while (turn := self._next()) is not None:
            self._pass(*turn)

    def _next(self) -> tuple[Story, Variables] | None:
        """The next story that is due; None when all is over."""
        with self._changed:
            while not self._closed or self._variables:
                if self._closed and not self._due:
                    return None
                while self._due and not self._is_current(self._due[0]):
                    heapq.heappop(self._due)
                now = self._clock.monotonic()
                if self._due and self._due[0][0] <= now:
                    _, _, story, variables = heapq.heappop(self._due)
                    story.asleep = story.woken = False
                    return story, variables
                self._changed.wait(min(_TURN, self._due[0][0] - now) if self._due else None)
            return None

    @staticmethod
    def _is_current(entry: tuple[float, int, Story, Variables]) -> bool:
        """Whether the story was not scheduled anew since."""
        moment, _, story, _ = entry
        return story.asleep and story.due == moment

    def _pass(self, story: Story, variables: Variables) -> None:
        try:
            moment = variables.run(story.tell)
        except Exception:
            _logger.exception("an operation ended unexpectedly; its task stays claimed and is resumed at a restart")
            moment = None
        with self._changed:
            if moment is None or self._closed:
                self._variables.pop(story, None)
                self._changed.notify_all()
            else:
                self._schedule(story, self._clock.monotonic() if story.woken else moment)

    def __len__(self) -> int:
        return len(self._variables)

    def join(self, seconds: float) -> bool:
        """Wait up to ``seconds`` until no story is left; whether that is so."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._variables, seconds)

    def close(self) -> None:
        """Give no more passes. What is under way is let go of; its tasks stay claimed."""
        with self._changed:
            self._closed = True
            stories, self._variables, self._due = self._variables, {}, []
            self._changed.notify_all()
        if self._thread.ident is not None and self._thread is not threading.current_thread():
            self._thread.join(5.0)
        for story, variables in stories.items():
            try:
                variables.run(story.abandon)
            except Exception:  # It was about to do something; its task stays claimed, and it is done at the restart.
                _logger.debug("an operation did not end quietly", exc_info=True)
