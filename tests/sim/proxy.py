"""A TCP proxy that misbehaves on request, between the agent and Central or between the agent and the API server."""

from __future__ import annotations

import contextlib
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

_FILLER = b"x" * 65536
_TICK = 0.05


@dataclass(frozen=True)
class Fault:
    """What is done to all connections, those that are open too. With nothing set everything is passed on."""

    delay: float = 0.0
    """Seconds each piece is held back."""
    rate: int | None = None
    """Bytes of the answers that are passed on in a second."""
    silent: bool = False
    """Connections stay open and new ones are taken, but nothing is passed on before it is over."""
    cut_after: int | None = None
    """The connection ends after so many bytes of the answers."""
    half_close: bool = False
    """Our end is closed once the client says something, and what it says goes nowhere."""
    lost: str = ""
    """``requests``, ``answers`` or ``both``: what goes that way is dropped without a word while this lasts, and
    for ever on the connections of that time: a load balancer that forgot them."""
    holds_stream: bool = False
    """What is pushed is held back until it is over, as by a proxy that buffers; other answers pass."""
    answer: bytes | None = None
    """Sent to each request, byte for byte, in place of the target's answer."""
    endless: bool = False
    """``answer`` is followed by bytes for as long as the client takes them."""


class Proxy:
    """Use as a context manager. ``requests`` counts what came in, ``most_taken`` bytes of an endless answer."""

    def __init__(self, target: str) -> None:
        parts = urlsplit(target)
        self._target = (parts.hostname or "", parts.port or 80)
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self._links: list[_Link] = []
        self._passing = threading.Event()
        self._passing.set()
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.fault = Fault()
        self.requests = 0
        self.most_taken = 0

    def __enter__(self) -> Proxy:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._passing.set()
        self.cut()

    @contextlib.contextmanager
    def misbehaving(self, fault: Fault) -> Iterator[None]:
        """Within the block all connections have ``fault``; what would go on undisturbed by it is cut first."""
        self.fault = fault
        if fault.silent:
            self._passing.clear()
        for link in list(self._links):
            link.lose(fault)
        if fault.answer is not None or fault.half_close:
            self.cut()
        try:
            yield
        finally:
            self.fault = Fault()
            self._passing.set()

    def cut(self) -> None:
        """End all connections."""
        for link in list(self._links):
            link.end()

    def freeze(self) -> None:
        """Half-open: the present connections never carry anything again, nor end. New ones are fine."""
        for link in list(self._links):
            link.frozen = True

    def present(self) -> Fault:
        """The fault in force, once it is not silence."""
        self._passing.wait()
        return self.fault

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # Closed.
            while True:
                client, _ = self._listener.accept()
                try:
                    server = socket.create_connection(self._target, timeout=60)
                except OSError:
                    client.close()
                    continue
                server.settimeout(None)
                self._links = [link for link in self._links if link.open] + [_Link(self, client, server)]


class _Link:
    """One connection of the client, one to the target, and a thread for each direction."""

    def __init__(self, proxy: Proxy, client: socket.socket, server: socket.socket) -> None:
        self._proxy, self._client, self._server = proxy, client, server
        self.open, self.frozen, self._pumps = True, False, 2
        self._loses_requests = self._loses_answers = False
        self._is_stream = self._answered = False
        self._lock = threading.Lock()
        for pump in (self._up, self._down):
            threading.Thread(target=self._run, args=(pump,), daemon=True).start()

    def end(self) -> None:
        for side in (self._client, self._server):
            with contextlib.suppress(OSError):
                side.shutdown(socket.SHUT_RDWR)  # close() would not wake the thread that reads.

    def lose(self, fault: Fault) -> None:
        """From now on nothing passes in the ways that ``fault`` loses."""
        self._loses_requests |= fault.lost in ("requests", "both")
        self._loses_answers |= fault.lost in ("answers", "both")

    def _run(self, pump: Callable[[], None]) -> None:
        with contextlib.suppress(OSError):
            pump()
        if not self.frozen or pump == self._up:
            self.end()
        with self._lock:
            self._pumps -= 1
            if not self._pumps:
                self.open = False
                self._client.close()
                self._server.close()

    def _up(self) -> None:
        while data := self._client.recv(65536):
            self._proxy.requests += data.count(b" HTTP/1.1\r\n")
            self._is_stream |= b"\r\nUpgrade: websocket\r\n" in data
            fault = self._proxy.present()
            self.lose(fault)
            time.sleep(fault.delay)
            if fault.answer is not None:
                self._answer(data, fault)
                return
            if fault.half_close:
                self._client.shutdown(socket.SHUT_WR)
                self.frozen = True
            if not self.frozen and not self._loses_requests:
                self._server.sendall(data)

    def _down(self) -> None:
        passed = 0
        while data := self._server.recv(65536):
            while data and not self.frozen:
                fault = self._proxy.present()
                while self._is_stream and self._answered and self._proxy.fault.holds_stream:
                    time.sleep(_TICK)
                self.lose(fault)
                if self._loses_answers:
                    break
                time.sleep(fault.delay if fault.rate is None else _TICK)
                size = len(data) if fault.rate is None else max(1, int(fault.rate * _TICK))
                if fault.cut_after is not None:
                    size = min(size, fault.cut_after - passed)
                    passed += size
                self._client.sendall(data[:size])
                self._answered = True
                data = data[size:]
                if fault.cut_after is not None and passed >= fault.cut_after:
                    return

    def _answer(self, request: bytes, fault: Fault) -> None:
        """Answer once the request is complete: to close on unread bytes would be a reset, and no answer at all."""
        while not _complete(request):
            request += self._client.recv(65536)
        self._client.sendall(fault.answer or b"")
        taken = 0
        while fault.endless:
            taken += self._client.send(_FILLER)
            self._proxy.most_taken = max(self._proxy.most_taken, taken)
        self._client.shutdown(socket.SHUT_WR)
        while self._client.recv(65536):
            pass


def _complete(request: bytes) -> bool:
    head, end, body = request.partition(b"\r\n\r\n")
    length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
    return bool(end) and len(body) >= int(length[1] if length else 0)
