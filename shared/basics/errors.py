"""The words every loop decides by: try again, give up, ask a person.

Adapters translate what their libraries raise into these at the edge and chain the original, so no loop
knows about HTTP, sockets or SQLite.
"""

from __future__ import annotations

EXIT_CONFIG = 78
"""EX_CONFIG of sysexits.h: the settings are wrong, starting again cannot help."""

EXIT_UNAUTHORIZED = 77
"""EX_NOPERM: Central does not accept the key; a person has to look."""


EXIT_TAKEN = 75
"""EX_TEMPFAIL: another agent uses the run directory; it may be gone at the next start."""


class AgentError(Exception):
    """Base of every error the agent raises on purpose. The message is for the person on call."""

    own_fault = False
    """Whether the fault is this pod's own, so that a restart of it could help; most are somebody else's."""


class TemporaryError(AgentError):
    """It may work later. ``delay`` is how many seconds the other side asked us to wait, if it did."""

    def __init__(self, message: str, delay: float | None = None) -> None:
        super().__init__(message)
        self.delay = delay


class PermanentError(AgentError):
    """Trying again cannot help; the message says what must change."""


class AuthenticationError(AgentError):
    """The other side does not accept who we are. ``status`` is its HTTP status, 401 or 403.

    ``certain``: it is the other side itself that says so, and nothing between us.
    """

    def __init__(self, message: str, status: int = 401, certain: bool = True) -> None:
        super().__init__(message)
        self.status = status
        self.certain = certain


class ConfigurationError(PermanentError):
    """Settings are missing or malformed. ``problems`` holds one readable line for each."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


def reason_of(error: BaseException) -> str:
    """The innermost cause: what the libraries wrap around it says nothing more."""
    while error.__cause__ or error.__context__ or (error.args and isinstance(error.args[0], BaseException)):
        inner = error.__cause__ or error.__context__
        if inner is None and isinstance(error.args[0], BaseException):
            inner = error.args[0]
        if inner is None:
            break
        error = inner
    return f"{type(error).__name__}: {error}"
