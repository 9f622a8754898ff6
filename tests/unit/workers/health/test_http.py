"""The endpoints: three paths, and a server that cannot be talked to death."""

from __future__ import annotations

import http.client
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import closing

import pytest

from shared.basics.errors import ConfigurationError
from tests.unit.conftest import eventually
from workers.health.http import CONCURRENT, Answer, EndpointServer, as_json


@pytest.fixture
def gate() -> threading.Event:
    """Holds up /slow until it is set."""
    return threading.Event()


@pytest.fixture
def server(gate: threading.Event) -> Iterator[EndpointServer]:
    def broken() -> Answer:
        raise ValueError("a bug")

    def slow() -> Answer:
        gate.wait(60)
        return as_json(200, {"slow": True})

    endpoints = {
        "/health": lambda: as_json(200, {"status": "healthy"}),
        "/ready": lambda: as_json(503, {"ready": False}),
        "/broken": broken,
        "/slow": slow,
    }
    server = EndpointServer("127.0.0.1", 0, endpoints)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield server
    gate.set()
    server.shutdown()
    server.server_close()


def ask(server: EndpointServer, path: str, method: str = "GET") -> tuple[int, bytes, dict[str, str]]:
    with closing(http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=60)) as connection:
        connection.request(method, path)
        response = connection.getresponse()
        return response.status, response.read(), dict(response.getheaders())


def test_an_endpoint_answers_with_its_status_and_body(server: EndpointServer) -> None:
    status, body, headers = ask(server, "/health")
    assert (status, body) == (200, b'{"status": "healthy"}\n')
    assert headers["Content-Type"] == "application/json"
    assert headers["Content-Length"] == str(len(body))
    assert headers["Cache-Control"] == "no-store"
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert ask(server, "/ready")[0] == 503


@pytest.mark.parametrize("path", ["/health/", "/health?verbose=1", "/health?a/b"])
def test_a_slash_and_a_query_do_not_matter(server: EndpointServer, path: str) -> None:
    assert ask(server, path)[0] == 200


@pytest.mark.parametrize("path", ["/", "/healthz", "/health/x", "/%68ealth"])
def test_other_paths_are_told_which_there_are(server: EndpointServer, path: str) -> None:
    status, body, _ = ask(server, path)
    assert status == 404
    assert json.loads(body) == {"error": "not found; there are /health, /ready, /broken, /slow"}


def test_head_is_get_without_the_body(server: EndpointServer) -> None:
    status, body, headers = ask(server, "/health", "HEAD")
    assert (status, body) == (200, b"")
    assert headers["Content-Length"] == "22"


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_nothing_else_is_offered(server: EndpointServer, method: str) -> None:
    assert ask(server, "/health", method)[0] == 501


def test_a_bug_in_an_endpoint_is_an_answer_and_a_line_in_the_log(
    server: EndpointServer, caplog: pytest.LogCaptureFixture
) -> None:
    status, body, _ = ask(server, "/broken")
    assert (status, json.loads(body)) == (500, {"error": "see the agent's log"})
    assert b"a bug" not in body
    assert "/broken failed" in caplog.text
    assert ask(server, "/health")[0] == 200


def test_it_does_not_say_what_it_is_made_of(server: EndpointServer) -> None:
    _, _, headers = ask(server, "/health")
    assert headers["Server"].strip() == "cloudoptim-agent"


def connect(server: EndpointServer) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.server_port), timeout=60)


def test_connections_that_say_nothing_turn_no_probe_away(server: EndpointServer) -> None:
    """Whoever reaches the port could have the pod restarted else."""
    idle = [connect(server) for _ in range(3 * CONCURRENT)]
    for _ in range(CONCURRENT):
        assert ask(server, "/health")[0] == 200
    idle[0].setblocking(True)
    assert idle[0].recv(1) == b"", "the oldest made room"
    for connection in idle:
        connection.close()


def test_one_too_many_takes_the_place_of_the_oldest_alone(server: EndpointServer) -> None:
    waiting = [connect(server) for _ in range(CONCURRENT)]
    assert ask(server, "/health")[0] == 200
    assert waiting[0].recv(1) == b""
    for connection in waiting[1:]:
        connection.sendall(b"GET /health HTTP/1.1\r\n\r\n")
        assert connection.recv(1000).startswith(b"HTTP/1.0 200")
    for connection in waiting:
        connection.close()


def test_a_request_that_drips_is_ended_as_a_whole(server: EndpointServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each byte comes long before the time for one byte is over."""
    monkeypatch.setattr("workers.health.http.REQUEST_SECONDS", 0.2)

    def dripped(connection: socket.socket) -> bool:
        connection.settimeout(0.05)
        try:
            connection.sendall(b"x")
            return connection.recv(1) == b""
        except TimeoutError:
            return False
        except OSError:
            return True

    with connect(server) as connection:
        connection.sendall(b"GET /health HTTP/1.1\r\nX: ")
        assert eventually(lambda: dripped(connection))


def test_never_more_than_so_many_are_served_at_once_even_by_an_endpoint_that_hangs(
    server: EndpointServer, gate: threading.Event
) -> None:
    """It cannot be interrupted, so that the next is turned away."""
    held = [connect(server) for _ in range(CONCURRENT)]
    for connection in held:
        connection.sendall(b"GET /slow HTTP/1.1\r\n\r\n")
    assert eventually(lambda: not _is_answered(server))
    gate.set()
    assert eventually(lambda: _is_answered(server)), "and then there is room again"
    for connection in held:
        connection.close()


def _is_answered(server: EndpointServer) -> bool:
    try:
        return ask(server, "/health")[0] == 200
    except (http.client.HTTPException, OSError):
        return False


def test_a_client_that_goes_away_takes_no_room(server: EndpointServer) -> None:
    for _ in range(3 * CONCURRENT):
        socket.create_connection(("127.0.0.1", server.server_port)).close()
    assert eventually(lambda: _is_answered(server))


@pytest.mark.parametrize(
    "request_", [b"garbage\r\n\r\n", b"GET /health\r\n\r\n", b"GET " + b"x" * 70_000 + b" HTTP/1.1\r\n\r\n"]
)
def test_nonsense_harms_nobody(server: EndpointServer, request_: bytes) -> None:
    with socket.create_connection(("127.0.0.1", server.server_port), timeout=60) as connection:
        connection.sendall(request_)
        try:
            while connection.recv(65536):
                pass
        except ConnectionResetError:
            pass
    assert ask(server, "/health")[0] == 200


def test_a_port_that_is_taken_is_an_error_at_once(server: EndpointServer) -> None:
    with pytest.raises(ConfigurationError, match="in use"):
        EndpointServer("127.0.0.1", server.server_port, {}).server_close()
