"""supervisord as its own programs see it: is the pod stopping, how are the others, restart one of them."""

from __future__ import annotations

import http.client
import socket
import xml.parsers.expat
import xmlrpc.client
from pathlib import Path
from typing import Any, NamedTuple

from shared.basics.errors import TemporaryError
from shared.process.age import age_of

PROGRAMS = ("health", "heartbeat", "event-watcher", "metrics", "task-runner")
"""In the order supervisord starts them; it stops them in the reverse order."""

_TIMEOUT = 5.0
"""Seconds for one call: supervisord answers from its own loop within a second."""

_SHUTDOWN_STATE = 6
"""Fault of every call once supervisord stops (or reloads): supervisor/xmlrpc.py, Faults.SHUTDOWN_STATE."""


_NO_ANSWER = (
    OSError,
    http.client.HTTPException,
    xmlrpc.client.ProtocolError,
    xmlrpc.client.ResponseError,
    xml.parsers.expat.ExpatError,
)


class ProgramState(NamedTuple):
    """What supervisord says of a program."""

    word: str
    """running, starting, backoff, stopping, stopped, exited, fatal or unknown."""
    since_start: float
    """Seconds since it was started last; 0 while there is no process."""


class SupervisorUnavailable(TemporaryError):
    """supervisord does not answer on its socket."""

    own_fault = True


class Programs:
    """Calls supervisord's XML-RPC interface on the Unix socket at ``path``."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def pod_is_stopping(self) -> bool:
        """Whether all of the agent is going down, not just the caller. No supervisord to ask means yes."""
        try:
            state = self._call("supervisor.getState")
        except xmlrpc.client.Fault as fault:
            return fault.faultCode == _SHUTDOWN_STATE
        except SupervisorUnavailable:
            return True
        return bool(state["statename"] != "RUNNING")

    def states(self) -> dict[str, ProgramState]:
        """Each program's state by its name.

        Raises:
            SupervisorUnavailable: there is nobody to ask, or it is stopping.
        """
        try:
            programs = self._call("supervisor.getAllProcessInfo")
        except xmlrpc.client.Fault as fault:
            raise SupervisorUnavailable(f"supervisord does not tell: {fault.faultString}") from fault
        return {
            # Not by its "start" and "now": they are the wall clock's, which may have been set in between.
            program["name"]: ProgramState(program["statename"].lower(), age_of(program["pid"]))
            for program in programs
        }

    def restart(self, program: str) -> None:
        """Kill a hung program; supervisord starts it again. SIGTERM would wait for it to answer.

        Raises:
            SupervisorUnavailable: supervisord is not there, is stopping, or does not know the program.
        """
        try:
            self._call("supervisor.signalProcess", program, "KILL")
        except xmlrpc.client.Fault as fault:
            raise SupervisorUnavailable(f"cannot restart {program}: {fault.faultString}") from fault

    def shut_down(self) -> None:
        """Stop the whole agent, in order.

        Raises:
            SupervisorUnavailable: supervisord is not there; a stop already under way is fine.
        """
        try:
            self._call("supervisor.shutdown")
        except xmlrpc.client.Fault as fault:
            if fault.faultCode != _SHUTDOWN_STATE:
                raise SupervisorUnavailable(f"cannot stop the agent: {fault.faultString}") from fault

    def _call(self, method: str, *arguments: str) -> Any:
        proxy = xmlrpc.client.ServerProxy("http://supervisord", transport=_UnixTransport(self._path))
        try:
            with proxy:
                return getattr(proxy, method)(*arguments)
        except _NO_ANSWER as error:
            raise SupervisorUnavailable(f"supervisord does not answer at {self._path}: {error}") from error


class _UnixTransport(xmlrpc.client.Transport):
    """XML-RPC over a Unix socket, with the timeout that supervisor's own transport lacks."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path

    def make_connection(self, host: Any) -> http.client.HTTPConnection:
        connection = _UnixConnection(self._path)
        self._connection = host, connection  # What close() closes.
        return connection


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("supervisord", timeout=_TIMEOUT)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(_TIMEOUT)
        self.sock.connect(str(self._path))
