"""The HTTP side: the agent's calls, and /sim for whoever tries it by hand."""

from __future__ import annotations

import gzip
import json
import re
import ssl
import threading
import time
import zlib
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from pydantic import BaseModel, ValidationError

from shared.schemas.agent import Deregistration, Heartbeat, Registration
from shared.schemas.events import EventBatch
from shared.schemas.metrics import ClusterMetrics
from shared.schemas.tasks import TaskResult
from tests.sim.central.console import Console, may_command
from tests.sim.central.faults import Fault, Faults
from tests.sim.central.ledger import Arrival, Ledger
from tests.sim.central.stream import StreamConnection

PREFIX = "/api/v1/client"

_BODIES: dict[str, type[BaseModel]] = {
    "result": TaskResult,
    "metrics": ClusterMetrics,
    "events": EventBatch,
    "heartbeat": Heartbeat,
    "register": Registration,
    "deregister": Deregistration,
}
_RESULT = re.compile(rf"{PREFIX}/tasks/([^/]+)/result")


class Central:
    """Use as a context manager, or ``start`` and ``stop``; started again it keeps its port and memory."""

    def __init__(
        self,
        api_key: str = "demo-key",
        cluster_id: str = "demo",
        port: int = 0,
        host: str = "127.0.0.1",
        registration: bool = True,
        gzip: bool = False,
        max_body: int = 1024 * 1024,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.keys = {api_key}
        self.ledger = Ledger(cluster_id)
        self.console = Console(self.ledger)
        self.faults = Faults()
        self.registration = registration
        """Whether there is a register and a deregister call."""
        self.gzip = gzip
        """Whether it says that it takes compressed bodies."""
        self.max_body = max_body
        self.mute = False
        """Whether new streams are accepted and then silent: no frame, no answer to a ping."""
        self.prices: list[dict[str, Any]] | None = None
        """What it answers when it is asked for prices; None for a Central that has no such call."""
        self.streams: list[StreamConnection] = []
        self.refused: list[tuple[str, int, str]] = []
        """Calls answered 4xx for what was wrong with them: (call, status, why)."""
        self._address = (host, port)
        self._tls = tls
        self._server: _Server | None = None

    def start(self) -> Central:
        self._server = _Server(self._address, self)
        if self._tls is not None:  # The handshake is for the thread of each connection.
            listener = self._server.socket
            self._server.socket = self._tls.wrap_socket(listener, server_side=True, do_handshake_on_connect=False)
        self._address = (self._address[0], self._server.server_port)
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def stop(self) -> None:
        """Close the port and every stream; what arrived stays."""
        if self._server is not None:
            self._server.shutdown()
            self._server.close_all()
            self._server = None

    def __enter__(self) -> Central:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def url(self) -> str:
        return f"http{'s' if self._tls else ''}://{self._address[0]}:{self._address[1]}"

    def task(self, task_type: str, parameters: dict[str, Any], **fields: Any) -> dict[str, Any]:
        """A well-formed task; see Ledger.make_task."""
        return self.ledger.make_task(task_type, parameters, **fields)

    def offer(self, task: dict[str, Any]) -> str:
        """Hand a task out by poll."""
        return self.ledger.offer(task)

    def push(self, frame: Any, patience: float = 10.0) -> None:
        """Send a frame on every open stream; raises LookupError when there is none for ``patience`` seconds."""
        try:
            self.ledger.wait(lambda: self.streams, patience)
        except TimeoutError as error:
            raise LookupError("no agent is connected to the stream") from error
        for stream in list(self.streams):
            stream.push(frame)

    def fault(self, call: str, **how: Any) -> Fault:
        """Answer ``call`` wrongly; see Fault."""
        return self.faults.add(Fault(call, **how))


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], central: Central) -> None:
        self.central = central
        self._open: set[Any] = set()
        super().__init__(address, _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._open.discard(request)
        super().shutdown_request(request)

    def close_all(self) -> None:
        self.server_close()
        for request in list(self._open):
            self.shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Agents come and go; a cut connection is no news."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    server: _Server

    def do_GET(self) -> None:
        path = urlsplit(self.path)
        if path.path == f"{PREFIX}/tasks":
            self._call("tasks")
        elif path.path == f"{PREFIX}/prices" and self.server.central.prices is not None:
            self._call("prices")
        elif path.path == f"{PREFIX}/stream":
            self._stream()
        elif path.path == "/sim/arrivals":
            wanted = parse_qs(path.query).get("call", [""])[0]
            arrivals = self.server.central.ledger.of(wanted) if wanted else self.server.central.ledger.arrivals
            self._send(200, [{"call": a.call, "task_id": a.task_id, "body": a.body} for a in list(arrivals)])
        elif not self.server.central.console.serve(self, path.path):
            self._send(404, {"error": "not found"})

    def do_POST(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length)
        if len(body) < length:
            self.close_connection = True  # Cut in the middle: nobody is there to be answered.
            return
        path = urlsplit(self.path).path
        if path.startswith("/sim/"):
            self._control(path, body)
            return
        result = _RESULT.fullmatch(path)
        call = "result" if result else path.removeprefix(f"{PREFIX}/")
        if call not in _BODIES or (call in ("register", "deregister") and not self.server.central.registration):
            self._send(404, {"error": "not found"})
            return
        self._call(call, body, unquote(result[1]) if result else "")

    def _call(self, call: str, body: bytes = b"", task_id: str = "") -> None:
        central = self.server.central
        fault = central.faults.take(call)
        if fault is not None:
            time.sleep(fault.delay)
        if fault is not None and not fault.after:
            self._send_fault(fault)
            return
        problem = self._problem(call, body, task_id)
        if problem is not None:
            central.refused.append((call, *problem))
            self._send(problem[0], {"error": problem[1]})
            return
        content = json.loads(self._plain(body)) if body else None
        central.ledger.note(Arrival(call, time.monotonic(), content, dict(self.headers.items()), task_id))
        if fault is not None:
            self._send_fault(fault)
            return
        if call == "prices":
            self._send_prices(central.prices or [])
        else:
            self._send(200, central.ledger.offered() if call == "tasks" else {"ok": True})

    def _problem(self, call: str, body: bytes, task_id: str) -> tuple[int, str] | None:
        """Why a call is refused: Central holds the agent to the contract."""
        central = self.server.central
        if self.headers.get("Authorization") not in {f"Bearer {key}" for key in central.keys}:
            return 401, "unknown API key"
        for header in ("X-Agent-Instance", "User-Agent"):
            if not self.headers.get(header):
                return 400, f"{header} is missing"
        if call in ("tasks", "prices"):
            asked = parse_qs(urlsplit(self.path).query).get("cluster_id")
            return None if asked == [central.ledger.cluster_id] else (400, f"cluster_id is {asked}")
        if len(body) > central.max_body:
            return 413, f"{len(body)} bytes"
        try:
            parsed = _BODIES[call].model_validate_json(self._plain(body), strict=False)
        except (ValidationError, OSError) as error:
            return 422, str(error)
        if isinstance(parsed, TaskResult) and parsed.task_id != task_id:
            return 400, f"the result of {parsed.task_id} was sent to {task_id}"
        return None

    def _plain(self, body: bytes) -> bytes:
        return gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body

    def _stream(self) -> None:
        central = self.server.central
        stream = StreamConnection(self.connection)
        headers = [(key.encode(), value.encode()) for key, value in self.headers.items()]
        self.close_connection = True
        fault = central.faults.take("stream")
        authorised = self.headers.get("Authorization") in {f"Bearer {key}" for key in central.keys}
        if fault is not None or not authorised:
            time.sleep(fault.delay if fault else 0)
            if fault is None or not fault.cut:
                stream.refuse(headers, self.path, fault.status if fault else 401)
            return
        stream.silent = central.mute
        stream.accept(headers, self.path)
        central.ledger.note(Arrival("stream", time.monotonic(), None, dict(self.headers.items())))
        central.streams.append(stream)
        try:
            stream.serve()
        finally:
            central.streams.remove(stream)

    def _control(self, path: str, body: bytes) -> None:
        """``POST /sim/tasks`` offers a task, ``/sim/push`` sends a frame; both fill in what is left out."""
        central = self.server.central
        if not may_command(self.headers.get("Origin"), self.headers.get("Host")):
            self._send(403, {"error": "a page of somebody else's gives no tasks"})
            return
        try:
            asked = json.loads(body)
            if path == "/sim/tasks":
                task = central.task(asked.pop("task_type"), asked.pop("parameters"), **asked)
                self._send(200, {"task_id": central.offer(task)})
            elif path == "/sim/push":
                if "task_type" in asked:
                    asked = central.task(asked.pop("task_type"), asked.pop("parameters"), **asked)
                central.push(asked, patience=0.0)
                self._send(200, {"task_id": asked.get("task_id")})
            else:
                self._send(404, {"error": "there are /sim/tasks, /sim/push and /sim/arrivals"})
        except (ValueError, KeyError, TypeError, AttributeError, LookupError) as error:
            self._send(400, {"error": f"{type(error).__name__}: {error}"})

    def _send_fault(self, fault: Fault) -> None:
        if fault.cut:
            self.close_connection = True
            self.connection.close()
            return
        self.send_response(fault.status)
        for name, value in fault.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(fault.body)))
        self.end_headers()
        self.wfile.write(fault.body)

    def _send_prices(self, known: list[dict[str, Any]]) -> None:
        wanted = parse_qs(urlsplit(self.path).query).get("types", [""])[0].lower().split(",")
        prices = [price for price in known if price["instance_type"].lower() in wanted]
        etag = f'"{zlib.crc32(json.dumps(prices).encode()):08x}"'
        if self.headers.get("If-None-Match") == etag:
            self.send_response(304)
            self.send_header("ETag", etag)
            self.end_headers()
        else:
            self._send(200, {"prices": prices}, {"ETag": etag})

    def _send(self, status: int, content: Any, headers: Mapping[str, str] | None = None) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        if self.server.central.gzip:
            self.send_header("Accept-Encoding", "gzip")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet: the ledger is the record."""
