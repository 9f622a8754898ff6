"""REST calls against a Central that is healthy, odd, broken or absent."""

from __future__ import annotations

import gzip
import json
import tracemalloc
import zlib
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from shared import USER_AGENT
from shared.basics.api_key import ApiKey
from shared.basics.errors import AgentError, AuthenticationError, PermanentError, TemporaryError
from shared.basics.transfer import MAX_HEAD
from shared.central import client as client_module
from shared.central.client import MAX_BODY, MAX_PRICES_BODY, CentralClient
from shared.central.identity import Caller
from shared.central.verdicts import NotOffered, TooLarge, Unchanged
from tests.sim.central.server import Central
from tests.unit.conftest import Dripping, OddServer, counted, http


def client_of(url: str, key: str = "demo-key") -> CentralClient:
    return CentralClient(url, "demo", Caller(ApiKey(key), "instance-1"))


def pending(client: CentralClient) -> list[Any]:
    return [json.loads(task) for task in client.tasks().tasks]


@pytest.fixture
def client(central: Central) -> Iterator[CentralClient]:
    with closing(client_of(central.url)) as client:
        yield client


RESULT = json.dumps(
    {
        "task_id": "t1",
        "status": "success",
        "logs": "x" * 3000,
        "executed_at": "2026-03-01T12:00:00Z",
        "duration_seconds": 1.0,
        "error": None,
    }
).encode()


def test_tasks_are_a_list_as_central_sent_them(central: Central, client: CentralClient) -> None:
    task = central.task("cordon_node", {"node_name": "node-1"}, priority="not checked here")
    central.offer(task)
    assert pending(client) == [task]


def test_every_call_says_who_calls(central: Central, client: CentralClient) -> None:
    client.tasks()
    client.send_result("t1", RESULT, "key-1")
    for arrival in central.ledger.arrivals:
        assert arrival.headers["Authorization"] == "Bearer demo-key"
        assert arrival.headers["X-Agent-Instance"] == "instance-1"
        assert arrival.headers["User-Agent"] == USER_AGENT


def test_a_netrc_file_does_not_replace_the_key(
    central: Central, client: CentralClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login someone password else\n")
    monkeypatch.setenv("NETRC", str(netrc))
    assert pending(client) == []


def test_a_task_id_with_a_slash_stays_one_part_of_the_path() -> None:
    with OddServer(http(200)) as server, closing(client_of(server.url)) as client:
        client.send_result("a/b ?c", RESULT, "key")
        assert server.requests[0].startswith(b"POST /api/v1/client/tasks/a%2Fb%20%3Fc/result HTTP/1.1\r\n")


@pytest.mark.parametrize(
    ("send", "path"),
    [
        (lambda client: client.send_metrics(b"{}", "key-7"), b"/metrics"),
        (lambda client: client.send_events(b"{}", "key-7"), b"/events"),
        (lambda client: client.send_result("t1", b"{}", "key-7"), b"/tasks/t1/result"),
    ],
    ids=["metrics", "events", "result"],
)
def test_what_is_delivered_has_a_key_by_which_a_repeat_is_known(send: Any, path: bytes) -> None:
    with OddServer(http(202)) as server, closing(client_of(server.url)) as client:
        send(client)
        (request,) = server.requests
        assert request.startswith(b"POST /api/v1/client" + path + b" HTTP/1.1\r\n")
        assert b"Idempotency-Key: key-7\r\n" in request


def test_a_tasks_id_may_be_any_text() -> None:
    """A header takes no other than ASCII: one such result would stand in the way of all behind it."""
    with OddServer(http(202)) as server, closing(client_of(server.url)) as client:
        client.send_result("a/b ⏲", b"{}", "a/b ⏲")
        (request,) = server.requests
        assert request.startswith(b"POST /api/v1/client/tasks/a%2Fb%20%E2%8F%B2/result HTTP/1.1\r\n")
        assert b"Idempotency-Key: a/b%20%E2%8F%B2\r\n" in request
        assert b"Content-Type: application/json\r\n" in request


@pytest.mark.parametrize("call", ["register", "deregister", "heartbeat"])
def test_the_other_calls_have_paths_of_their_own(call: str) -> None:
    with OddServer(http(200)) as server, closing(client_of(server.url)) as client:
        getattr(client, call)(b'{"a":1}')
        assert server.requests[0].startswith(b"POST /api/v1/client/%b HTTP/1.1\r\n" % call.encode())
        assert server.requests[0].endswith(b'\r\n\r\n{"a":1}')


# -- the list of tasks ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "tasks"),
    [
        (b"[]", []),
        (b"", []),
        (b" \n", []),
        (b'{"tasks": []}', []),
        (b'{"tasks": [{"task_id": "t1"}], "next": 5}', [{"task_id": "t1"}]),
        (b'[{"task_id": "t1"}, 7, null]', [{"task_id": "t1"}]),
    ],
)
def test_a_list_or_an_object_with_one(body: bytes, tasks: list[Any]) -> None:
    with OddServer(http(200, body)) as server, closing(client_of(server.url)) as client:
        assert pending(client) == tasks


@pytest.mark.parametrize(
    "body",
    [b"html", b"null", b"7", b'{"error": 1}', b'{"tasks": 7}', b"\xff\xfe", b"[" * 100_000, b"{" + b'"a":{' * 50_000],
    ids=["html", "null", "number", "object", "no list", "bytes", "deep list", "deep object"],
)
def test_nonsense_is_an_error_that_may_pass(body: bytes) -> None:
    with OddServer(http(200, body)) as server, closing(client_of(server.url)) as client:
        with pytest.raises(TemporaryError, match="list of tasks is not") as raised:
            client.tasks()
        assert len(str(raised.value)) < 400


# -- headers --------------------------------------------------------------------------------------


def test_no_cookie_is_kept() -> None:
    """They would all come back with each call, until a proxy's limit of headers refuses every call."""
    answers = [http(200, headers={"Set-Cookie": f"name-{number}=value; Path=/"}) for number in range(3)]
    with OddServer(*answers) as server, closing(client_of(server.url)) as client:
        for _ in answers:
            client.tasks()
        assert [b"cookie" in request.lower() for request in server.requests] == [False] * 3
        assert len(client._session.cookies) == 0


@pytest.mark.parametrize("lines", [3, 90])
def test_an_answer_with_huge_headers_is_not_read_to_its_end(lines: int) -> None:
    """http.client takes a hundred lines of 64 KiB."""
    heavy = {f"X-{number}": "x" * (MAX_HEAD // lines) for number in range(lines)}
    refused = pytest.raises(TemporaryError, match=f"status line and headers of more than {MAX_HEAD} bytes")
    with OddServer(http(200, b"[]", heavy)) as server, closing(client_of(server.url)) as client, refused:
        client.tasks()


def test_headers_as_large_as_allowed_pass() -> None:
    heavy = {f"X-{number}": "x" * 1000 for number in range(MAX_HEAD // 1024)}
    with OddServer(http(200, b"[]", heavy)) as server, closing(client_of(server.url)) as client:
        assert pending(client) == []


# -- compression ----------------------------------------------------------------------------------


def test_bodies_are_compressed_for_a_central_that_says_it_takes_that() -> None:
    with Central(gzip=True) as central, closing(client_of(central.url)) as client:
        for number in range(2):
            task_id = f"t{number}"
            client.send_result(task_id, RESULT.replace(b"t1", task_id.encode()), task_id)
        first, second = central.ledger.of("result")
        assert "Content-Encoding" not in first.headers, "it is not known before the first answer"
        assert second.headers["Content-Encoding"] == "gzip"
        assert int(second.headers["Content-Length"]) < 500
        assert second.body["logs"] == "x" * 3000


def test_small_bodies_are_not_worth_it() -> None:
    with (
        OddServer(http(200, headers={"Accept-Encoding": "br, GZIP"})) as server,
        closing(client_of(server.url)) as client,
    ):
        client.heartbeat(b"{}")
        client.heartbeat(b"x" * 2047)
        client.heartbeat(b"x" * 2048)
        assert [b"Content-Encoding: gzip" in request for request in server.requests] == [False, False, True]


def test_a_central_that_takes_it_no_more_is_believed() -> None:
    answers = [http(200, headers={"Accept-Encoding": "gzip"}), http(200, headers={"Accept-Encoding": "identity"})]
    with OddServer(*answers, http(200)) as server, closing(client_of(server.url)) as client:
        for _ in range(3):
            client.heartbeat(b"x" * 4000)
        assert [b"Content-Encoding: gzip" in request for request in server.requests] == [False, True, False]


def test_a_compressed_answer_is_read() -> None:
    body = gzip.compress(b'[{"task_id":"t1"}]')
    with OddServer(http(200, body, {"Content-Encoding": "gzip"})) as server, closing(client_of(server.url)) as client:
        assert pending(client) == [{"task_id": "t1"}]


# -- faults ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (401, AuthenticationError),
        (403, AuthenticationError),
        (404, NotOffered),
        (409, PermanentError),
        (413, TooLarge),
        (422, PermanentError),
        (429, TemporaryError),
        (500, TemporaryError),
        (503, TemporaryError),
    ],
)
def test_a_status_becomes_our_error(
    central: Central, client: CentralClient, status: int, error: type[Exception]
) -> None:
    central.fault("register", status=status, body=b' ["the\\u0020reason",\n 1] ')
    with pytest.raises(error, match=rf'Central answered {status} to register: \["the\\u0020reason", 1\]'):
        client.register(b"{}")


def test_a_wrong_key_is_refused(central: Central) -> None:
    with closing(client_of(central.url, "wrong-key")) as client:
        with pytest.raises(AuthenticationError) as raised:
            client.tasks()
        assert "wrong-key" not in str(raised.value)


@pytest.mark.parametrize(
    "answer",
    [
        http(401, b'{"you sent": {"authorization": "Bearer s3cr3t-key"}}'),
        http(422, b'{"detail": "' + b" " * 4090 + b's3cr3t-key"}'),
        http(302, headers={"Location": "https://elsewhere.example.com?key=s3cr3t-key"}),
        http(200, b"<html>s3cr3t-key</html>"),
        http(200, b'{"no list": "s3cr3t-key"}'),
        b"s3cr3t-key is no HTTP\r\n\r\n",
    ],
    ids=["401", "cut in the middle", "redirect", "page", "no list", "no HTTP"],
)
def test_a_key_that_is_said_back_to_us_is_in_no_error(answer: bytes) -> None:
    with OddServer(answer) as server, closing(client_of(server.url, "s3cr3t-key")) as client:
        with pytest.raises(AgentError) as raised:
            client.tasks()
        assert "s3cr3t" not in str(raised.value)


@pytest.mark.parametrize("status", [429, 503, 500, 502])
def test_retry_after_becomes_the_delay(central: Central, client: CentralClient, status: int) -> None:
    central.fault("tasks", status=status, headers={"Retry-After": "9"})
    with pytest.raises(TemporaryError, match=f"Central answered {status}") as raised:
        client.tasks()
    assert raised.value.delay == 9


def test_a_body_that_is_too_large_is_so_whatever_the_headers(central: Central, client: CentralClient) -> None:
    """Taken for an unreachable Central it would be sent whole again for ever, not cut."""
    central.fault("events", status=413, headers={"Retry-After": "9"})
    with pytest.raises(TooLarge):
        client.send_events(b"{}", "key")


def test_a_503_with_retry_after_is_not_slept_through(central: Central, client: CentralClient) -> None:
    """urllib3 would, by default; it is the loop that decides."""
    central.fault("tasks", status=503, headers={"Retry-After": "60"}, times=1)
    with pytest.raises(TemporaryError):
        client.tasks()
    assert pending(client) == []


@pytest.mark.parametrize("status", [400, 415, 422])
def test_a_central_that_cannot_unpack_after_all_gets_it_plain(status: int) -> None:
    """It was set back to an older version, or a proxy speaks for it: that must not bury what is delivered."""
    takes_gzip = http(200, headers={"Accept-Encoding": "gzip"})
    with OddServer(takes_gzip, http(status), http(200)) as server, closing(client_of(server.url)) as client:
        client.heartbeat(b"{}")
        for _ in range(2):
            client.send_result("t1", RESULT, "key")
        _, packed, plain, later = server.requests
        assert b"Content-Encoding: gzip\r\n" in packed
        assert b"Idempotency-Key: key\r\n" in packed
        for request in (plain, later):
            assert b"Content-Encoding" not in request
            assert request.endswith(RESULT)


def test_what_is_refused_plain_as_well_is_refused() -> None:
    takes_gzip = http(200, headers={"Accept-Encoding": "gzip"})
    with OddServer(takes_gzip, http(422)) as server, closing(client_of(server.url)) as client:
        client.heartbeat(b"{}")
        with pytest.raises(PermanentError):
            client.send_result("t1", RESULT, "key")
        assert len(server.requests) == 3


def test_a_redirect_is_not_followed() -> None:
    with (
        OddServer(http(200, b'[{"task_id":"t1"}]')) as there,
        OddServer(http(307, headers={"Location": there.url})) as here,
        closing(client_of(here.url)) as client,
    ):
        with pytest.raises(TemporaryError, match=f"redirects to {there.url}"):
            client.tasks()
        assert there.requests == []


def test_a_kept_connection_that_was_closed_meanwhile_is_opened_anew(central: Central, client: CentralClient) -> None:
    client.tasks()
    central.fault("tasks", cut=True, times=1)
    assert pending(client) == []


def test_a_connection_that_is_cut_every_time_is_an_error_that_may_pass(central: Central, client: CentralClient) -> None:
    central.fault("tasks", cut=True)
    with pytest.raises(TemporaryError, match="Central is not reachable for tasks: "):
        client.tasks()
    central.faults.clear()
    assert pending(client) == []


def test_nobody_there_is_an_error_that_may_pass(central: Central, client: CentralClient) -> None:
    central.stop()
    with pytest.raises(TemporaryError, match="not reachable for tasks: ConnectionRefusedError"):
        client.tasks()
    central.start()
    assert pending(client) == []


@pytest.mark.parametrize(
    "answer",
    [
        b"garbage\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n[",
        http(200, b"zz\r\n", {"Transfer-Encoding": "chunked", "Content-Length": "4"}),
        http(200, b"no gzip", {"Content-Encoding": "gzip"}),
    ],
    ids=["no HTTP", "cut body", "broken chunks", "broken gzip"],
)
def test_a_broken_answer_is_an_error_that_may_pass(answer: bytes) -> None:
    with OddServer(answer) as server, closing(client_of(server.url)) as client, pytest.raises(TemporaryError):
        client.tasks()


@pytest.mark.parametrize(
    ("scheme", "head", "drip"),
    [
        ("http", b"", b"H"),
        ("http", b"HTTP/1.1 200 OK\r\n", b"X: y\r\n"),
        ("http", b"HTTP/1.1 200 OK\r\nX: ", b"y"),
        ("http", b"HTTP/1.1 200 OK\r\n\r\n[]", b" "),
        ("http", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n[]\r\n", b"0"),
        ("https", b"\x16\x03\x03\x40\x00", b"\x02"),
    ],
    ids=["status", "headers", "a header", "body", "a chunk's length", "TLS handshake"],
)
def test_an_answer_that_drips_ends_with_the_time_for_a_whole_call(
    monkeypatch: pytest.MonkeyPatch, scheme: str, head: bytes, drip: bytes
) -> None:
    """Each byte that comes begins the libraries' time-outs anew."""
    monkeypatch.setattr(client_module, "CALL_TIMEOUT", 0.3)
    with closing(Dripping(head, drip)) as server, closing(client_of(f"{scheme}://{server.address}")) as client:
        with pytest.raises(TemporaryError, match=r"whole within 0\.3 s|drips in too slowly"):
            client.tasks()
        assert not server.over.is_set()


def test_a_kept_connection_that_drips_is_ended_too(central: Central, monkeypatch: pytest.MonkeyPatch) -> None:
    """And the next call has one of its own, and all its time."""
    monkeypatch.setattr(client_module, "CALL_TIMEOUT", 0.5)
    with closing(client_of(central.url)) as client:
        client.tasks()
        fault = central.fault("tasks", delay=2.0)
        with pytest.raises(TemporaryError, match=r"whole within 0\.5 s"):
            client.tasks()
        fault.times = 0
        assert pending(client) == []


def test_a_huge_answer_is_not_read_to_its_end() -> None:
    bomb = http(200, gzip.compress(b" " * (MAX_BODY + 1)), {"Content-Encoding": "gzip"})
    refused = pytest.raises(TemporaryError, match=f"larger than {MAX_BODY} bytes")
    with OddServer(bomb) as server, closing(client_of(server.url)) as client, refused:
        client.heartbeat(b"{}")


def test_a_bomb_is_not_unpacked_to_its_end() -> None:
    """A hundred and fifty kilobytes that unpack to a hundred and fifty megabytes."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    bomb = b"".join(packer.compress(b"{}," * 350_000) for _ in range(150)) + packer.flush()
    answer = http(200, bomb, {"Content-Encoding": "gzip"})
    with OddServer(answer) as server, closing(client_of(server.url)) as client:
        tracemalloc.start()
        with pytest.raises(TemporaryError, match="larger than"):
            client.heartbeat(b"{}")
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peak < 3 * MAX_BODY


def test_of_a_list_of_tasks_that_is_too_large_what_came_whole_is_used() -> None:
    """520 tasks of 27 KB are 14 MB, and there was no task at all for as long as they were pending."""
    task = json.dumps({"task_id": "t1", "parameters": {"x": "y" * 27_000}}).encode()
    answer = http(200, b"[" + b",".join([task] * 520) + b"]")
    with OddServer(answer) as server, closing(client_of(server.url)) as client:
        found = client.tasks()
        assert b"&limit=1000 HTTP/1.1\r\n" in server.requests[0]
    assert set(found.tasks) == {task}
    assert len(found.tasks) == MAX_BODY // (len(task) + 1)
    assert found.more


def test_a_long_reason_is_cut(central: Central, client: CentralClient) -> None:
    central.fault("heartbeat", status=400, body=b'"' + b"x" * 100_000 + b'"')
    with pytest.raises(PermanentError) as raised:
        client.heartbeat(b"{}")
    assert len(str(raised.value)) < 300
    assert str(raised.value).endswith("xxx...")


def test_a_call_that_is_refused_shows_and_no_longer_once_it_is_not(central: Central, client: CentralClient) -> None:
    def refused() -> bool:
        return counted("central_refuses", call="tasks") == 1

    for fault in ({"status": 400}, {"status": 401}, {"status": 410, "body": b"<html>"}):
        central.fault("tasks", **fault, times=1)
        with pytest.raises(AgentError):
            client.tasks()
        assert refused()
        central.fault("tasks", status=503, times=1)
        with pytest.raises(TemporaryError):
            client.tasks()
        assert not refused()
    central.fault("tasks", status=400, times=1)
    with pytest.raises(PermanentError):
        client.tasks()
    central.fault("tasks", cut=True, times=2)
    with pytest.raises(TemporaryError):
        client.tasks()
    assert not refused(), "it does not answer, which is another trouble"
    central.fault("result", status=400, times=1)
    with pytest.raises(PermanentError):
        client.send_result("t1", RESULT, "t1")
    assert counted("central_refuses", call="result") == 0, "a result may be refused for what it is"


def test_every_call_is_measured_by_name_and_status(central: Central, client: CentralClient) -> None:
    sample = "central_request_duration_seconds_count"
    before = {code: counted(sample, call="tasks", code=code) for code in ("200", "503", "error")}
    client.tasks()
    central.fault("tasks", status=503, times=1)
    with pytest.raises(TemporaryError):
        client.tasks()
    central.stop()
    with pytest.raises(TemporaryError):
        client.tasks()
    after = {code: counted(sample, call="tasks", code=code) for code in ("200", "503", "error")}
    assert {code: after[code] - before[code] for code in after} == {"200": 1, "503": 1, "error": 1}


def test_a_web_page_is_no_answer_of_central_whatever_its_status() -> None:
    """A captive portal or a proxy's log-in page would otherwise swallow results."""
    page = http(200, b"\n<!DOCTYPE html><h1>Please log in</h1>")
    with (
        OddServer(page) as server,
        closing(client_of(server.url)) as client,
        pytest.raises(TemporaryError, match="answered by a web page"),
    ):
        client.send_result("t1", RESULT, "key-1")


@pytest.mark.parametrize("body", [b"", b"OK", b"{garbage"])
def test_what_a_delivery_is_answered_with_is_not_looked_at(body: bytes) -> None:
    """The status says it all: many servers answer a POST carelessly."""
    with OddServer(http(200, body)) as server, closing(client_of(server.url)) as client:
        client.send_result("t1", RESULT, "key-1")


# -- prices -----------------------------------------------------------------------------------------


def test_prices_come_with_a_tag_by_which_they_are_asked_for_again(central: Central, client: CentralClient) -> None:
    price = {"instance_type": "m5.large", "dollars_per_hour": 0.06}
    central.prices = [price, {"instance_type": "c5.large", "dollars_per_hour": 0.05}]
    body, etag = client.prices(["m5.large", "t3.large"])
    assert json.loads(body) == {"prices": [price]}
    with pytest.raises(Unchanged):
        client.prices(["m5.large", "t3.large"], etag)
    client.close()
    assert client.prices(["c5.large"], etag)[1] != etag, "closing is no end"


def test_a_central_without_prices_says_so(client: CentralClient) -> None:
    with pytest.raises(NotOffered):
        client.prices(["m5.large"])


def test_prices_are_bounded_in_bytes() -> None:
    with (
        OddServer(http(200, b" " * (MAX_PRICES_BODY + 1))) as server,
        closing(client_of(server.url)) as client,
        pytest.raises(TemporaryError, match="larger than"),
    ):
        client.prices(["m5.large"])


def test_a_tag_without_end_is_cut() -> None:
    with OddServer(http(200, b"{}", {"ETag": "x" * 5000})) as server, closing(client_of(server.url)) as client:
        assert len(client.prices(["m5.large"])[1]) == 256
