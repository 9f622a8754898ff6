"""The stream: what frames say, and how a connection ends."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Generator, Iterator
from contextlib import closing
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared import USER_AGENT
from shared.basics.api_key import ApiKey
from shared.basics.errors import AgentError, AuthenticationError, TemporaryError
from shared.central.identity import Caller
from shared.central.items import Offered
from shared.central.stream import MAX_FRAME, MAX_HANDSHAKE, Push, PushedCancel, TaskStream, Unknown, parse
from tests.sim.central.server import Central
from tests.unit.conftest import OddServer, eventually, http

TASK = {"task_id": "t1", "task_type": "drain_node"}


def said(task: Any) -> Offered:
    return Offered([json.dumps(task).encode()])


FRAMES: dict[str, tuple[Any, Push]] = {
    "a task": (TASK, said(TASK)),
    "a task of no type": ({"task_id": "t1"}, said({"task_id": "t1"})),
    "a list of tasks": ([TASK, {"task_id": "t2"}], Offered([*said(TASK).tasks, b'{"task_id": "t2"}'])),
    "an empty list": ([], Offered()),
    "a list with something else in it": ([TASK, 7, {}], Offered(said(TASK).tasks, junk=2)),
    "an envelope": ({"type": "task", "task": TASK}, said(TASK)),
    "an envelope of something else": ({"type": "task", "task": 7}, Unknown("no task in it")),
    "an empty envelope": ({"type": "task"}, Unknown("no task in it")),
    "a cancellation": ({"type": "cancel", "task_id": "t\u00e91"}, PushedCancel("t\u00e91")),
    "a cancellation of nothing": ({"type": "cancel"}, Unknown("cancel without a task_id")),
    "a cancellation of a number": ({"type": "cancel", "task_id": 7}, Unknown("cancel without a task_id")),
    "another type": ({"type": "hello"}, Unknown("type 'hello'")),
    "an empty object": ({}, Unknown("type None")),
    "a number": (7, Unknown("neither an object nor a list")),
    "null": (None, Unknown("neither an object nor a list")),
}


@pytest.mark.parametrize(("frame", "push"), FRAMES.values(), ids=FRAMES)
def test_what_a_frame_says(frame: Any, push: Push) -> None:
    assert parse(json.dumps(frame).encode()) == push


@pytest.mark.parametrize(
    "text", [b"", b"hello", b"{", b"\xff\xfe\xfd", b"[" * 100_000], ids=["empty", "a word", "half", "bytes", "deep"]
)
def test_what_is_no_json_says_nothing(text: bytes) -> None:
    assert isinstance(parse(text), Unknown)


@given(st.one_of(st.text().map(lambda text: text.encode("utf-8", "surrogatepass")), st.binary()))
def test_no_frame_is_too_odd(text: bytes) -> None:
    assert isinstance(parse(text), (Offered, PushedCancel, Unknown))


def test_the_reason_for_ignoring_a_frame_is_short() -> None:
    push = parse(json.dumps({"type": "x" * 10_000}).encode())
    assert isinstance(push, Unknown)
    assert len(push.why) <= 80


def test_a_frame_of_tiny_items_is_one_thing_to_say() -> None:
    """A megabyte of them was 340,000 lines of log."""
    push = parse(b"[" + b",".join([b"{}"] * (MAX_FRAME // 3 - 1)) + b"]")
    assert isinstance(push, Offered)
    assert push.tasks == []
    assert push.junk > 100_000


# -- the connection -------------------------------------------------------------------------------


def stream_to(url: str, key: str = "demo-key", ping_seconds: float = 15.0, cluster_id: str = "demo") -> TaskStream:
    return TaskStream(url, cluster_id, Caller(ApiKey(key), "instance-1"), ping_seconds=ping_seconds)


def opened(stream: TaskStream) -> Generator[bytes | None, None, None]:
    """The frames of ``stream``, connected; they can be closed as any generator can."""
    frames = cast(Generator[bytes | None, None, None], stream.frames())
    assert next(frames) is None
    return frames


@pytest.fixture
def stream(central: Central) -> Iterator[TaskStream]:
    with closing(stream_to(central.url)) as stream:
        yield stream


def test_frames_come_as_they_were_pushed_after_a_word_that_it_is_connected(
    central: Central, stream: TaskStream
) -> None:
    frames = opened(stream)
    eventually(lambda: central.streams)
    central.push(TASK)
    central.push("not JSON at all, é")
    assert json.loads(next(frames) or b"") == TASK
    assert next(frames) == "not JSON at all, é".encode()
    frames.close()


def test_the_handshake_says_who_calls_and_for_which_cluster() -> None:
    with OddServer(http(503)) as server:
        with pytest.raises(TemporaryError), closing(stream_to(server.url, cluster_id="a b&c")) as stream:
            next(stream.frames())
        (request,) = server.requests
    assert request.startswith(b"GET /api/v1/client/stream?cluster_id=a+b%26c HTTP/1.1\r\n")
    assert b"Authorization: Bearer demo-key\r\n" in request
    assert b"X-Agent-Instance: instance-1\r\n" in request
    assert request.count(b"User-Agent: ") == 1
    assert f"User-Agent: {USER_AGENT}\r\n".encode() in request
    assert b"Origin:" not in request


def test_https_becomes_wss() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        first: list[bytes] = []

        def look() -> None:
            connection, _ = listener.accept()
            with connection:
                first.append(connection.recv(1))

        thread = threading.Thread(target=look, daemon=True)
        thread.start()
        with pytest.raises(TemporaryError, match="not reachable"):
            next(stream_to(f"https://127.0.0.1:{listener.getsockname()[1]}").frames())
        thread.join(60)
    assert first == [b"\x16"], "a TLS handshake"


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (401, AuthenticationError),
        (403, TemporaryError),
        (404, TemporaryError),
        (429, TemporaryError),
        (503, TemporaryError),
        (200, TemporaryError),
        (302, TemporaryError),
    ],
)
def test_a_refused_handshake_is_the_error_of_its_status(status: int, error: type[Exception]) -> None:
    with OddServer(http(status)) as server, pytest.raises(error, match=str(status)) as raised:
        next(stream_to(server.url).frames())
    assert type(raised.value) is error


@pytest.mark.parametrize("status", [429, 503])
def test_a_refused_handshake_may_ask_for_patience(status: int) -> None:
    with OddServer(http(status, headers={"Retry-After": "7"})) as server, pytest.raises(TemporaryError) as raised:
        next(stream_to(server.url).frames())
    assert raised.value.delay == 7


def test_a_redirected_handshake_says_where_to() -> None:
    redirect = http(302, headers={"Location": "https://new.example.com"})
    with OddServer(redirect) as server, pytest.raises(TemporaryError, match=r"redirects to https://new\.example\.com"):
        next(stream_to(server.url).frames())


def test_no_redirect_is_followed_and_no_cookie_kept() -> None:
    """websocket-client has one jar of cookies for the whole process, and would take the key to wherever it is sent."""
    with OddServer(http(200)) as there:
        cookie = {"Location": there.url, "Set-Cookie": "name=value; Domain=127.0.0.1"}
        with OddServer(http(302, headers=cookie)) as here, closing(stream_to(here.url)) as stream:
            for _ in range(2):
                with pytest.raises(TemporaryError, match="redirects to"):
                    next(stream.frames())
        assert [b"cookie" in request.lower() for request in here.requests] == [False, False]
        assert there.requests == []


@pytest.mark.parametrize(
    "answer",
    [
        http(101, headers={f"X-{number}": "x" * 1000 for number in range(70)}),
        http(101, headers={"X": "x" * (MAX_HANDSHAKE + 1)}),
        http(503, b"x" * MAX_HANDSHAKE),
    ],
    ids=["headers", "a header", "body"],
)
def test_an_answer_to_the_handshake_is_not_read_to_its_end_when_it_is_huge(answer: bytes) -> None:
    refused = pytest.raises(TemporaryError, match=f"an answer of more than {MAX_HANDSHAKE} bytes")
    with OddServer(answer) as server, refused:
        next(stream_to(server.url).frames())


def test_a_wrong_key_is_an_authentication_error_that_does_not_show_it(central: Central) -> None:
    with pytest.raises(AuthenticationError) as raised:
        next(stream_to(central.url, key="wrong-key").frames())
    assert "wrong-key" not in str(raised.value)


@pytest.mark.parametrize(
    "answer",
    [
        http(401, b"you sent Bearer s3cr3t-key"),
        http(302, headers={"Location": "https://elsewhere.example.com?key=s3cr3t-key"}),
        b"HTTP/1.1 200 s3cr3t-key\r\nX: s3cr3t-key \xff\r\n\r\n",
    ],
    ids=["401", "redirect", "no header"],
)
def test_a_key_that_is_said_back_to_us_is_in_no_error(answer: bytes) -> None:
    with OddServer(answer) as server, pytest.raises(AgentError) as raised:
        next(stream_to(server.url, key="s3cr3t-key").frames())
    assert "s3cr3t" not in str(raised.value)


def test_nor_is_it_quoted_when_the_stream_is_closed(central: Central, stream: TaskStream) -> None:
    frames = opened(stream)
    eventually(lambda: central.streams)[0].send_raw(close_frame(1008, b"demo-key is bad"))
    with pytest.raises(TemporaryError, match=r"\(1008 \*\*\* is bad\)"):
        next(frames)


@pytest.mark.parametrize("answer", [b"", b"garbage\r\n\r\n", http(101)], ids=["hangs up", "no HTTP", "no upgrade"])
def test_a_server_that_speaks_no_websocket_is_not_reachable(answer: bytes) -> None:
    with OddServer(answer) as server, pytest.raises(TemporaryError, match="Central's stream"):
        next(stream_to(server.url).frames())


def test_nobody_there_is_an_error_that_may_pass(central: Central) -> None:
    central.stop()
    with pytest.raises(TemporaryError, match="not reachable: ConnectionRefusedError"):
        next(stream_to(central.url).frames())


def test_a_connection_that_is_cut_is_an_error_that_may_pass(central: Central, stream: TaskStream) -> None:
    frames = opened(stream)
    eventually(lambda: central.streams)[0].cut()
    with pytest.raises(TemporaryError, match="stream broke"):
        next(frames)


def close_frame(code: int, reason: bytes) -> bytes:
    payload = code.to_bytes(2, "big") + reason
    return bytes([0x88, len(payload)]) + payload


@pytest.mark.parametrize(
    ("frame", "said"),
    [
        (close_frame(1001, b"going away"), "Central closed the stream (1001 going away)"),
        (close_frame(1000, b""), "Central closed the stream (1000)"),
        (b"\x88\x00", "Central closed the stream"),
    ],
    ids=["with a reason", "with a code", "bare"],
)
def test_an_orderly_end_says_why(central: Central, stream: TaskStream, frame: bytes, said: str) -> None:
    frames = opened(stream)
    eventually(lambda: central.streams)[0].send_raw(frame)
    with pytest.raises(TemporaryError) as raised:
        next(frames)
    assert str(raised.value) == said


@pytest.mark.parametrize(
    "data",
    [
        b"\x81\x7f" + (MAX_FRAME + 1).to_bytes(8, "big") + b"x" * 1000,
        b"\x81\x7f\x7f\xff\xff\xff\xff\xff\xff\xff",
        b"\xf1\x01x",
        b"garbage that is no frame at all" * 10,
    ],
    ids=["too large", "absurdly large", "reserved bits", "garbage"],
)
def test_a_frame_nobody_should_send_ends_the_connection(central: Central, stream: TaskStream, data: bytes) -> None:
    frames = opened(stream)
    eventually(lambda: central.streams)[0].send_raw(data)
    with pytest.raises(TemporaryError, match="stream broke"):
        next(frames)


def test_fragments_that_add_up_to_too_much_end_the_connection(central: Central, stream: TaskStream) -> None:
    frames = opened(stream)
    server_side = eventually(lambda: central.streams)[0]
    half = b"\x7f" + (MAX_FRAME // 2).to_bytes(8, "big") + b"x" * (MAX_FRAME // 2)
    server_side.send_raw(b"\x01" + half)
    server_side.send_raw(b"\x89\x00")  # A ping in between is no new beginning.
    server_side.send_raw(b"\x00" + half)
    assert next(frames) is None
    server_side.send_raw(b"\x00\x01x")
    with pytest.raises(TemporaryError, match=f"a message of {MAX_FRAME + 1} bytes or more"):
        next(frames)


def test_a_message_in_fragments_is_one(central: Central, stream: TaskStream) -> None:
    frames = opened(stream)
    server_side = eventually(lambda: central.streams)[0]
    for data in (b"\x01\x03one", b"\x00\x03two", b"\x80\x05three"):
        server_side.send_raw(data)
    assert next(frames) == b"onetwothree"
    frames.close()


def test_a_frame_that_drips_ends_the_connection(central: Central) -> None:
    """It is never silent, and never there."""
    with closing(stream_to(central.url, ping_seconds=1)) as stream:
        frames = opened(stream)
        server_side = eventually(lambda: central.streams)[0]
        server_side.send_raw(b"\x81\x7d")
        enough = threading.Event()

        def drip() -> None:
            while not enough.wait(0.02):
                try:
                    server_side.send_raw(b"x")
                except OSError:
                    return

        threading.Thread(target=drip, daemon=True).start()
        with pytest.raises(TemporaryError, match=r"a frame that took longer than 2 s"):
            next(frames)
        enough.set()


def test_a_frame_as_large_as_allowed_passes(central: Central, stream: TaskStream) -> None:
    frames = opened(stream)
    eventually(lambda: central.streams)
    central.push("x" * (MAX_FRAME - 10))
    assert next(frames) == b"x" * (MAX_FRAME - 10)
    frames.close()


def test_an_answered_silence_is_said_and_the_connection_goes_on(central: Central) -> None:
    with closing(stream_to(central.url, ping_seconds=1)) as stream:
        frames = opened(stream)
        assert [next(frames) for _ in range(2)] == [None, None]
        central.push(TASK)
        text = next(frames)
        while text is None:
            text = next(frames)
        assert json.loads(text) == TASK
        frames.close()


def test_a_peer_that_answers_no_ping_counts_as_dead(central: Central) -> None:
    with closing(stream_to(central.url, ping_seconds=0.05)) as stream:
        frames = opened(stream)
        eventually(lambda: central.streams)[0].silent = True
        with pytest.raises(TemporaryError, match=r"Central's stream was silent for 0\.1 s"):
            list(frames)


def test_it_may_be_opened_again_after_it_ended(central: Central, stream: TaskStream) -> None:
    for _ in range(2):
        frames = stream.frames()
        assert next(frames) is None
        eventually(lambda: central.streams)[0].cut()
        with pytest.raises(TemporaryError):
            next(frames)
        eventually(lambda: not central.streams)


def test_closing_what_was_never_open_is_fine() -> None:
    stream_to("http://127.0.0.1:1").close()


def test_closing_ends_a_wait_on_another_thread_at_once(central: Central, stream: TaskStream) -> None:
    ended: list[Exception] = []
    connected = threading.Event()

    def listen() -> None:
        try:
            for _ in stream.frames():
                connected.set()
        except TemporaryError as error:
            ended.append(error)

    thread = threading.Thread(target=listen, daemon=True)
    thread.start()
    connected.wait(60)
    server_side = eventually(lambda: central.streams)[0]
    stream.close()
    thread.join(0.3)
    at_once = list(ended)
    server_side.cut()
    thread.join(60)
    assert at_once


def test_the_server_hears_that_it_was_closed(central: Central, stream: TaskStream) -> None:
    frames = opened(stream)
    eventually(lambda: central.streams)
    central.push(TASK)
    next(frames)
    frames.close()
    eventually(lambda: not central.streams)


def test_the_server_hears_it_also_when_nothing_was_read(central: Central, stream: TaskStream) -> None:
    frames = opened(stream)
    eventually(lambda: central.streams)
    frames.close()
    eventually(lambda: not central.streams, timeout=0.3)


def test_a_server_that_accepts_and_says_nothing_is_given_up() -> None:
    """Within the time-out of the handshake; here the listener hangs up, so as not to wait for that."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        threading.Timer(0.05, listener.shutdown, [socket.SHUT_RDWR]).start()
        with pytest.raises(TemporaryError):
            next(stream_to(url).frames())
