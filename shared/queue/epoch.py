"""The time that the spool's ages are counted by: it never jumps, whatever becomes of the machine's clock.

Within one start of the machine the monotonic clock goes on across processes. It is turned into seconds since 1970
with the difference there was when the spool was first opened in that start, so that ages are right across a restart
of the machine too, as far as its clock is.
"""

from __future__ import annotations

from shared.basics.timing import Clock, boot_id
from shared.queue.spool import Spool


class Epoch:
    """``now()`` for what is written into the spool."""

    def __init__(self, spool: Spool, clock: Clock) -> None:
        self._spool, self._clock = spool, clock
        self._offset = self._known_offset()

    def now(self) -> float:
        """Seconds since 1970, by a clock that is not set."""
        return self._clock.monotonic() + self._offset

    def age(self, moment: float) -> float:
        """Seconds since ``moment``; 0 for one that has not been yet."""
        return max(0.0, self.now() - moment)

    def _known_offset(self) -> float:
        boot = boot_id()
        row = self._spool.db.execute("SELECT difference FROM boot WHERE id = ?", (boot,)).fetchone()
        if row is not None:
            return float(row[0])
        difference = self._clock.now().timestamp() - self._clock.monotonic()
        self._spool.db.execute("DELETE FROM boot")
        self._spool.db.execute("INSERT INTO boot (id, difference) VALUES (?, ?)", (boot, difference))
        self._spool.db.commit()
        return difference
