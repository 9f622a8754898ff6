"""The broker against clients that are slow, many, dead or talking nonsense."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest

from shared.queue.broker import MAX_CONNECTIONS, SILENCE, Broker
from shared.queue.client import QueueClient, QueueRefused, value
from shared.queue.frames import MAX_FRAME, FrameReader, pack
from shared.queue.limits import MAX_MESSAGE, Limits
from shared.queue.messages import (
    Ack,
    GetState,
    Lease,
    Message,
    Put,
    Reply,
    Request,
    Stats,
    WatchState,
    encoder,
    reply_decoder,
)
from shared.queue.store import Store
from tests.unit.conftest import FakeClock, counted, eventually
from tests.unit.shared.queue.conftest import RunningBroker, keys, messages
from tests.unit.shared.queue.test_store import damage


class Line:
    """A connection to the broker, byte by byte."""

    def __init__(self, path: Path) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.connect(str(path))
        self.socket.settimeout(5)
        self._reader = FrameReader()
        self._replies: list[Reply] = []

    def send(self, *requests: Request) -> None:
        self.socket.sendall(b"".join(pack(encoder.encode(request)) for request in requests))

    def receive(self) -> Reply | None:
        """The next reply; None once the broker hung up."""
        while not self._replies:
            try:
                data = self.socket.recv(65536)
            except ConnectionResetError:
                return None
            if not data:
                return None
            self._replies += [reply_decoder.decode(payload) for payload in self._reader.feed(data)]
        return self._replies.pop(0)

    def ask(self, request: Request) -> Reply:
        self.send(request)
        reply = self.receive()
        assert reply is not None
        return reply

    def close(self) -> None:
        self.socket.close()


@pytest.fixture
def line(running: RunningBroker) -> Iterator[Line]:
    with closing(Line(running.path)) as line:
        yield line


def put(*names: str, size: int = 0) -> Put:
    return Put("events", [Message(key, msgspec.Raw(body)) for key, body in messages(*names, size=size)])


# -- the socket -----------------------------------------------------------------------------------


def test_only_its_user_may_connect(running: RunningBroker) -> None:
    mode = running.path.stat().st_mode
    assert stat.S_ISSOCK(mode)
    assert stat.S_IMODE(mode) == 0o600


def test_it_leaves_no_socket_behind(running: RunningBroker) -> None:
    running.stop()
    assert not running.path.exists()


def test_a_socket_left_by_a_killed_broker_is_replaced(run_dir: Path) -> None:
    left = socket.socket(socket.AF_UNIX)
    left.bind(str(run_dir / "queue.sock"))
    left.close()
    running = RunningBroker(run_dir)
    with closing(Line(running.path)) as line:
        assert line.ask(Stats()).error is None
    running.stop()


# -- pieces and bursts ----------------------------------------------------------------------------


def test_a_request_may_come_in_pieces(line: Line) -> None:
    frame = pack(encoder.encode(put("a")))
    for start in range(0, len(frame), 7):
        line.socket.sendall(frame[start : start + 7])
    assert line.receive() == Reply()
    assert line.ask(Stats()).stats["events"].depth == 1


def test_requests_of_one_burst_are_answered_in_order(line: Line) -> None:
    line.send(put("a"), Stats(), put("b"), Stats())
    replies = [line.receive() for _ in range(4)]
    assert [reply.stats["events"].depth for reply in replies if reply is not None and reply.stats] == [1, 2]


def test_a_large_message_passes(line: Line) -> None:
    assert line.ask(put("large", size=MAX_MESSAGE)).error is None
    (message,) = line.ask(Lease(["events"], 1, 60)).leased
    assert len(bytes(message.body)) == MAX_MESSAGE


def test_a_message_that_could_not_be_handed_out_is_not_taken(line: Line) -> None:
    """It would fit into the frame of the put, but not, with all that goes around it, into that of a lease."""
    reply = line.ask(put("large", size=MAX_FRAME - 200))
    assert reply.kind == "invalid"
    assert line.ask(Stats()).stats["events"].depth == 0


# -- nonsense -------------------------------------------------------------------------------------


def test_garbage_ends_its_own_connection_only(running: RunningBroker, line: Line) -> None:
    assert line.ask(Stats()).error is None
    with closing(Line(running.path)) as other:
        other.socket.sendall(b"GET /health HTTP/1.1\r\n\r\n")
        assert other.receive() is None
    assert line.ask(Stats()).error is None


@pytest.mark.parametrize(
    "payload", [b"", b"{}", b"\xff\xfe", b'{"type":"fly"}', b"[" * 100_000], ids=["empty", "{}", "bytes", "fly", "deep"]
)
def test_a_frame_that_is_no_request_is_answered_and_the_connection_goes_on(line: Line, payload: bytes) -> None:
    line.socket.sendall(pack(payload))
    reply = line.receive()
    assert reply is not None
    assert reply.kind == "invalid"
    assert str(reply.error).startswith("not a request: ")
    assert line.ask(Stats()).error is None


def test_a_request_that_breaks_the_store_breaks_nothing_else(line: Line) -> None:
    reply = line.ask(Lease(["events"], 2**63, 60))
    assert reply.kind == "failed"
    assert line.ask(Stats()).error is None


@pytest.mark.parametrize(
    "bad", [Put("gossip", []), Ack([2**70])], ids=["a topic nobody knows", "an id larger than any"]
)
def test_what_was_answered_as_stored_is_stored_whatever_else_came_in_the_same_burst(line: Line, bad: Request) -> None:
    line.send(put("a"), bad)
    accepted, refused = line.receive(), line.receive()
    assert accepted == Reply()
    assert refused is not None
    assert refused.error is not None
    assert line.ask(Stats()).stats["events"].depth == 1


def test_for_whom_there_is_no_room_hears_it_and_nobody_else_of_the_burst(run_dir: Path) -> None:
    running = RunningBroker(run_dir, Limits(total_bytes=1000, messages={"results": 1, "events": 5, "metrics": 5}))
    with closing(Line(running.path)) as line:
        line.ask(put("acknowledged"))
        (message,) = line.ask(Lease(["events"], 1, 3600)).leased
        results = [Put("results", [Message(key, msgspec.Raw(b"1"))]) for key in ("a", "b")]
        line.send(put("e"), Ack([message.id]), *results, Lease(["results"], 1, 3600))
        replies = [line.receive() for _ in range(5)]
        assert [reply.kind if reply else None for reply in replies] == [None, None, None, "full", None]
        assert replies[4] is not None
        assert [message.key for message in replies[4].leased] == ["a"]
        assert line.ask(Lease(["results"], 1, 3600)).leased == [], "that lease holds"
        assert [message.key for message in line.ask(Lease(["events"], 5, 3600)).leased] == ["e"]
    running.stop()


def test_a_refused_put_wakes_no_watcher(run_dir: Path) -> None:
    running = RunningBroker(run_dir, Limits(total_bytes=1000, messages={"results": 1, "events": 5, "metrics": 5}))
    with closing(Line(running.path)) as line:
        line.ask(Put("results", [Message("a", msgspec.Raw(b"1"))], {"task/a": msgspec.Raw(b"1")}))
        version = line.ask(GetState("task/")).version
        assert line.ask(Put("results", [Message("b", msgspec.Raw(b"1"))])).kind == "full"
        assert line.ask(WatchState("task/", version, 0.0)) == Reply(version=version)
    running.stop()


def test_what_a_lost_burst_had_leased_is_handed_out_again(run_dir: Path) -> None:
    """Nobody heard of that lease: until it ran out, the message would be nobody's."""
    running = RunningBroker(run_dir)
    with closing(Line(running.path)) as line:
        line.ask(put("a"))
        line.send(Lease(["events"], 1, 3600), Lease(["events"], 2**63, 3600))
        replies = [line.receive() for _ in range(2)]
        assert [reply.kind if reply else None for reply in replies] == ["failed", "failed"]
        assert [message.key for message in line.ask(Lease(["events"], 1, 60)).leased] == ["a"]
    running.stop()


def test_an_answer_too_large_for_a_frame_is_an_error_and_not_the_end(
    running: RunningBroker, client: QueueClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No answer is, as all that goes in is bounded; should a bound be forgotten, the broker lives."""
    monkeypatch.setattr("shared.queue.retained.PAGE_BYTES", 2 * MAX_FRAME)
    large = "x" * (MAX_FRAME // 5)
    for number in range(6):
        client.set_state({f"task/{number}": large}, durable=True)
    with pytest.raises(QueueRefused):
        client.get_state("task/", patience=0.1)
    assert list(client.get_state("task/1")) == ["task/1"]


# -- many, slow, silent ---------------------------------------------------------------------------


def test_a_thousand_connections_come_and_go(running: RunningBroker, line: Line) -> None:
    line.ask(Stats())
    for _ in range(1000):
        Line(running.path).close()
    assert line.ask(Stats()).error is None


def test_too_many_at_once_are_turned_away_and_those_before_them_are_served(running: RunningBroker, line: Line) -> None:
    assert line.ask(Stats()).error is None
    crowd = [Line(running.path) for _ in range(MAX_CONNECTIONS - 1)]
    assert crowd[-1].ask(Stats()).error is None
    with closing(Line(running.path)) as late:
        assert late.receive() is None
    assert line.ask(Stats()).error is None
    for other in crowd:
        other.close()

    def welcome() -> bool:
        with closing(Line(running.path)) as again:
            try:
                again.send(Stats())
                return again.receive() is not None
            except OSError:
                return False

    assert eventually(welcome)


def test_whoever_does_not_read_is_cut_off_and_holds_up_nobody(running: RunningBroker, line: Line) -> None:
    line.ask(put("large", size=1_000_000))
    with closing(Line(running.path)) as slow:
        sent = 0
        try:
            for _ in range(100):
                slow.send(Lease(["events"], 1, 0.0))  # a lease of no time: handed out again and again
                sent += 1
                assert line.ask(Stats()).error is None
        except OSError:
            pass
        assert sent < 100
    assert line.ask(Stats()).stats["events"].depth == 1


def test_whoever_says_nothing_at_first_is_hung_up_on(run_dir: Path) -> None:
    clock = FakeClock()
    running = RunningBroker(run_dir, clock=clock)
    lines = [Line(running.path) for _ in range(3)]
    silent, half, line = lines
    before = counted("bound_hits_total", bound="queue_silence")
    half.socket.sendall(pack(encoder.encode(Stats())) + b"\x00\x00")
    assert half.receive() is not None
    line.ask(Stats())
    clock.advance(SILENCE)
    assert line.ask(Stats()).error is None, "who made a request once may take its time"
    assert silent.receive() is None
    assert half.receive() is None
    assert counted("bound_hits_total", bound="queue_silence") == before + 2
    clock.advance(3600)
    assert line.ask(Stats()).error is None
    for each in lines:
        each.close()
    running.stop()


# -- leases of those that went away ---------------------------------------------------------------


def test_the_leases_of_a_killed_process_come_back_at_once(running: RunningBroker, client: QueueClient) -> None:
    client.put("events", messages("a", "b"))
    code = (
        "import os, signal, sys; from pathlib import Path; from shared.queue.client import QueueClient\n"
        "client = QueueClient(Path(sys.argv[1]))\n"
        "assert len(client.lease(['events'], 10, 3600)) == 2\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(running.path)], timeout=60)
    assert done.returncode == -signal.SIGKILL
    assert keys(client.lease(["events"], 10, 60, wait=5)) == ["a", "b"]


def test_what_was_acknowledged_before_the_end_stays_acknowledged(running: RunningBroker, client: QueueClient) -> None:
    client.put("events", messages("a", "b"))
    other = QueueClient(running.path)
    first, _ = other.lease(["events"], 2, 3600)
    other.ack([first.id])
    other.disconnect()
    assert keys(client.lease(["events"], 10, 60, wait=5)) == ["b"]


def test_whoever_goes_away_while_waiting_gets_nothing(running: RunningBroker, client: QueueClient) -> None:
    with closing(Line(running.path)) as gone:
        gone.ask(Stats())
        gone.send(Lease(["events"], 1, 3600, wait=60))
    client.put("events", messages("a"))
    assert keys(client.lease(["events"], 1, 60, wait=5)) == ["a"]


def test_a_message_set_aside_for_a_while_stays_so_when_its_connection_ends(
    running: RunningBroker, client: QueueClient
) -> None:
    client.put("events", messages("a"))
    other = QueueClient(running.path)
    (message,) = other.lease(["events"], 1, 60)
    other.release([message.id], delay=300)
    other.disconnect()
    assert client.lease(["events"], 1, 60, wait=0.1) == []


def test_a_connection_that_ends_does_not_end_the_leases_of_others(run_dir: Path) -> None:
    clock = FakeClock()
    running = RunningBroker(run_dir, clock=clock)
    first, second, third = (QueueClient(running.path) for _ in range(3))
    try:
        first.put("events", messages("a"))
        first.lease(["events"], 1, 60)
        clock.advance(60)
        assert keys(second.lease(["events"], 1, 60)) == ["a"]
        first.disconnect()
        third.stats()  # whose answer comes after the broker saw the end of the first
        assert third.lease(["events"], 1, 60) == []
    finally:
        second.disconnect()
        third.disconnect()
        running.stop()


# -- its own end ----------------------------------------------------------------------------------


def test_what_was_put_survives_the_brokers_end(running: RunningBroker, client: QueueClient) -> None:
    client.put("results", messages("r"), state={"task/r": {"done": True}})
    client.set_state({"worker/metrics": 1})
    running.restart()
    assert keys(client.lease(["results"], 1, 60)) == ["r"]
    assert {key: value(entry) for key, entry in client.get_state("").items()} == {"task/r": {"done": True}}


def test_what_was_put_survives_the_death_of_its_process(run_dir: Path) -> None:
    code = (
        "import sys, threading; from pathlib import Path\n"
        "from shared.queue.broker import Broker; from shared.queue.store import Store\n"
        "folder = Path(sys.argv[1])\n"
        "broker = Broker(folder / 'queue.sock', Store(folder / 'spool.sqlite'))\n"
        "print('up', flush=True); broker.serve()"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(run_dir)], stdout=subprocess.PIPE)
    client = QueueClient(run_dir / "queue.sock")
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"up\n"
        for number in range(50):
            client.put("results", messages(f"r{number}"))
        os.kill(process.pid, signal.SIGKILL)
    running = RunningBroker(run_dir)
    assert keys(client.lease(["results"], 100, 60)) == [f"r{number}" for number in range(50)]
    client.disconnect()
    running.stop()


def test_stopping_ends_it_whatever_waits(running: RunningBroker, line: Line) -> None:
    line.send(Lease(["events"], 1, 60, wait=3600))
    running.stop()
    assert line.receive() is None


def test_it_may_be_stopped_before_it_serves(run_dir: Path) -> None:
    broker = Broker(run_dir / "queue.sock", Store(run_dir / "spool.sqlite"))
    broker.stop()
    thread = threading.Thread(target=broker.serve)
    thread.start()
    thread.join(60)
    assert not thread.is_alive()
    assert not (run_dir / "queue.sock").exists()


# -- a damaged spool ------------------------------------------------------------------------------


def test_a_spool_damaged_in_use_is_set_aside_and_the_queue_goes_on(running: RunningBroker, client: QueueClient) -> None:
    client.put("events", messages(*(f"k{number}" for number in range(1500)), size=2000))
    client.set_state({"task/1": "claimed"}, durable=True)
    running.restart()
    damage(running.spool)
    with pytest.raises(QueueRefused, match=r"the spool (is damaged|cannot be read)"):
        client.lease(["events"], 1500, 60)
    client.put("events", messages("new"))
    assert keys(client.lease(["events"], 10, 60)) == ["new"]
    assert {key: value(entry) for key, entry in client.get_state("task/").items()} == {"task/1": "claimed"}
    assert Path(f"{running.spool}.corrupt").exists()


def test_replies_are_json_that_others_can_read(line: Line) -> None:
    line.send(Stats())
    data = line.socket.recv(65536)
    content: dict[str, Any] = json.loads(data[4:])
    assert set(content["stats"]) == {"results", "notices", "events", "metrics"}
