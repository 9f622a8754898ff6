"""What supervisord says of the programs, asked on a thread of its own: it may hang as anybody may."""

from __future__ import annotations

import logging
import threading

from shared.basics.timing import Clock
from shared.process.programs import Programs, ProgramState, SupervisorUnavailable

SETTLED_SECONDS = 5.0
"""How often supervisord is asked while all is well: it answers from the loop that captures all logs."""

UNSETTLED_SECONDS = 1.0

STALE_SECONDS = 15.0
"""Seconds after which its last word counts no more: the workers' own does."""

_logger = logging.getLogger(__name__)


class Supervision:
    """Thread-safe. ``ask`` is the body of a loop."""

    def __init__(self, programs: Programs, clock: Clock) -> None:
        self._programs, self._clock = programs, clock
        self._lock = threading.Lock()
        self._states: dict[str, ProgramState] = {}
        self._asked = float("-inf")

    def ask(self) -> float:
        """Ask how all programs are; the seconds until the next time.

        Raises:
            SupervisorUnavailable: it does not answer.
        """
        asked = self._clock.monotonic()
        states = self._programs.states()
        with self._lock:
            self._states, self._asked = states, asked
        settled = states and all(state.word == "running" for state in states.values())
        return SETTLED_SECONDS if settled else UNSETTLED_SECONDS

    def state(self, program: str) -> ProgramState | None:
        """What it said of ``program`` last, its age brought up to now; None when it said nothing of late."""
        with self._lock:
            ago = self._clock.monotonic() - self._asked
            state = self._states.get(program)
        if state is None or ago > STALE_SECONDS:
            return None
        return ProgramState(state.word, state.since_start + ago)

    def kill(self, program: str) -> None:
        """Have a hung program killed, and started again; what is known of it is known no more."""
        try:
            self._programs.restart(program)
            self.ask()  # Or the new process would be taken for the old one.
        except SupervisorUnavailable as error:
            _logger.error("%s", error)
