"""The server's end of the WebSocket: frames by wsproto, sockets by us."""

from __future__ import annotations

import json
import socket
import threading
from typing import Any

from wsproto import ConnectionType, WSConnection
from wsproto.events import (
    AcceptConnection,
    CloseConnection,
    Event,
    Ping,
    RejectConnection,
    Request,
    TextMessage,
)
from wsproto.utilities import ProtocolError


class StreamConnection:
    """One agent's connection. ``silent`` keeps it open and answers nothing, not even pings."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._lock = threading.Lock()
        self._ws = WSConnection(ConnectionType.SERVER)
        self.silent = False

    def accept(self, headers: list[tuple[bytes, bytes]], path: str) -> None:
        """Complete the handshake."""
        self._ws.initiate_upgrade_connection(headers, path)
        for event in self._ws.events():
            if isinstance(event, Request):
                self._send(AcceptConnection())

    def refuse(self, headers: list[tuple[bytes, bytes]], path: str, status: int) -> None:
        self._ws.initiate_upgrade_connection(headers, path)
        self._send(RejectConnection(status_code=status))

    def serve(self) -> None:
        """Answer pings until the agent goes away."""
        try:
            while data := self._socket.recv(65536):
                if self.silent:
                    continue
                self._ws.receive_data(data)
                for event in self._ws.events():
                    if isinstance(event, Ping):
                        self._send(event.response())
                    elif isinstance(event, CloseConnection):
                        self._send(event.response())
                        return
        except (OSError, ProtocolError):
            return

    def push(self, frame: Any) -> None:
        """Send ``frame`` as JSON; a str goes as it is."""
        self._send(TextMessage(frame if isinstance(frame, str) else json.dumps(frame)))

    def send_raw(self, data: bytes) -> None:
        """Send bytes that need be no frame."""
        self._socket.sendall(data)

    def cut(self) -> None:
        """Drop the connection without a close frame."""
        try:
            self._socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass

    def _send(self, event: Event) -> None:
        with self._lock:
            self._socket.sendall(self._ws.send(event))
