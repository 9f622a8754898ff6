"""What the store raises; the broker's answers are made of these, and the client's exceptions of those."""

from __future__ import annotations

from shared.basics.errors import PermanentError, TemporaryError


class InvalidRequest(PermanentError):
    """The request makes no sense to the queue, or could never be answered."""


class QueueFull(TemporaryError):
    """There is no room, and nothing that may be dropped to make some."""


class NoRoom(QueueFull):
    """The bounds leave no room; found before anything was done."""


class SpoolUnavailable(TemporaryError):
    """The spool cannot be opened just now: no descriptors, no room, or another process holds it."""


class SpoolCorrupt(TemporaryError):
    """The spool cannot be read or written any more; it has to be set aside."""
