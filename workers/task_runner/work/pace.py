"""How fast evictions go out: as allowed, and slower while the API server is in trouble. Pure but for its clock."""

from __future__ import annotations

from shared.basics.timing import Clock

FLOOR = 0.05
"""The part of the allowed rate that is kept whatever the API server says, or nothing would ever go on."""

_RECOVERY = 0.02
"""The part of the allowed rate that a good answer gives back."""

_SLOW = 1.0
"""Seconds an answer takes, in the mean of the last ten or so, above which the API server counts as slow.

An eviction takes about 0.1 s on an idle one.
"""

_MEMORY = 0.1
"""Weight of the last answer in that mean."""

_PATIENCE = 1.0
"""Seconds between two steps down: the answers to what was asked before the first are no news."""


class Pace:
    """A token bucket whose rate halves when the API server throttles, fails or slows down, and grows back.

    Additive increase, multiplicative decrease, as TCP's.
    """

    def __init__(self, rate: float, burst: int, clock: Clock) -> None:
        self.rate = self._allowed = rate
        self._burst = float(burst)
        self._clock = clock
        self._tokens = float(burst)
        self._updated = self._pressed = clock.monotonic()
        self._mean = 0.0

    def take(self) -> float:
        """0 and a token is taken; or the seconds until there is one."""
        now = self._clock.monotonic()
        self._tokens = min(self._burst, self._tokens + (now - self._updated) * self.rate)
        self._updated = now
        if self._tokens < 1.0:
            return (1.0 - self._tokens) / self.rate
        self._tokens -= 1.0
        return 0.0

    def answered(self, seconds: float, in_trouble: bool) -> None:
        """An answer that took so long; ``in_trouble``: it asked to be asked less, or there was none."""
        self._mean += (seconds - self._mean) * _MEMORY
        now = self._clock.monotonic()
        if in_trouble or self._mean > _SLOW:
            if now - self._pressed >= _PATIENCE:
                self._pressed = now
                self.rate = max(self.rate / 2, self._allowed * FLOOR)
                self._tokens = min(self._tokens, 1.0)
        else:
            self.rate = min(self._allowed, self.rate + self._allowed * _RECOVERY)
