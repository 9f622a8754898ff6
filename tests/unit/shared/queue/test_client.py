"""The client: it reconnects by itself, for as long as it was told to be patient."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from shared.basics.errors import PermanentError, TemporaryError
from shared.queue import client as client_module
from shared.queue.client import QueueClient, QueueRefused, QueueUnavailable, _limit, raise_for, value
from shared.queue.frames import MAX_FRAME, FrameError, pack
from shared.queue.messages import Entry, Reply
from tests.unit.conftest import eventually
from tests.unit.shared.queue.conftest import RunningBroker, keys, messages


@pytest.fixture
def path(run_dir: Path) -> Path:
    return run_dir / "queue.sock"


@pytest.fixture
def listener(path: Path) -> Iterator[socket.socket]:
    """Something at the broker's address that is none."""
    with closing(socket.socket(socket.AF_UNIX)) as listener:
        listener.bind(str(path))
        listener.listen(64)
        yield listener


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_a_broker_that_restarts_is_found_again(running: RunningBroker, client: QueueClient) -> None:
    client.put("events", messages("a"))
    running.restart()
    client.put("events", messages("b"))
    assert keys(client.lease(["events"], 10, 60)) == ["a", "b"]


def test_a_broker_that_comes_late_is_awaited(run_dir: Path, path: Path) -> None:
    client = QueueClient(path)
    brokers: list[RunningBroker] = []
    starter = threading.Timer(0.1, lambda: brokers.append(RunningBroker(run_dir)))
    starter.start()
    client.put("events", messages("a"), patience=10)
    assert client.stats()["events"].depth == 1
    client.disconnect()
    starter.join()
    brokers[0].stop()


def test_patience_ends(path: Path) -> None:
    client = QueueClient(path)
    with pytest.raises(QueueUnavailable, match=r"does not answer .*; is the health worker running\?") as raised:
        client.stats(patience=0.05)
    assert isinstance(raised.value, TemporaryError)
    assert str(path) in str(raised.value)


def test_without_patience_it_is_tried_once(path: Path) -> None:
    with pytest.raises(QueueUnavailable):
        QueueClient(path).stats(patience=0)


def test_a_broker_that_hangs_is_waited_for_no_longer_than_the_patience(
    listener: socket.socket, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It takes the request and never answers: ten seconds for each try would hide it from the health worker."""
    allowed: list[float] = []

    def note(connection: socket.socket, option: int, seconds: float) -> None:
        if option == socket.SO_RCVTIMEO:
            allowed.append(seconds)
        _limit(connection, option, seconds)

    monkeypatch.setattr(client_module, "_limit", note)
    with pytest.raises(QueueUnavailable):
        QueueClient(path).get_state("worker/", patience=0.2)
    assert allowed == [0.2, 0.2], "tried twice, and no more"


def test_failed_attempts_leave_no_descriptors_behind(path: Path) -> None:
    client = QueueClient(path)
    before = descriptors()
    for _ in range(20):
        with pytest.raises(QueueUnavailable):
            client.stats(patience=0)
    assert descriptors() == before


def serve(listener: socket.socket, *answers: bytes) -> threading.Thread:
    """Give one answer to the first request of each connection, then hang up."""

    def run() -> None:
        for answer in answers:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(answer)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread


@pytest.mark.parametrize(
    "bad",
    [b"", b"\x00\x00", pack(b"{}")[:-1], b"HTTP/1.1 400 Bad Request", pack(b"not json"), pack(b'{"leased":1}')],
    ids=["hangs up", "half a length", "half a frame", "no frame", "no JSON", "no reply"],
)
def test_an_answer_that_is_none_is_asked_for_again_on_a_new_connection(
    listener: socket.socket, path: Path, bad: bytes
) -> None:
    thread = serve(listener, bad, bad, pack(b'{"stats":{}}'))
    client = QueueClient(path)
    assert client.stats() == {}
    client.disconnect()
    thread.join(60)


def test_an_answer_may_come_in_pieces(listener: socket.socket, path: Path) -> None:
    def run() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(65536)
            for byte in pack(b'{"version":7}'):
                connection.sendall(bytes([byte]))

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    client = QueueClient(path)
    assert client.watch_state("", 0, 0) == ({}, 7)
    client.disconnect()
    thread.join(60)


def test_a_client_does_not_spin_on_a_broker_that_hangs_up(listener: socket.socket, path: Path) -> None:
    attempts = []

    def count() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            attempts.append(time.monotonic())
            connection.close()

    thread = threading.Thread(target=count, daemon=True)
    thread.start()
    with pytest.raises(QueueUnavailable):
        QueueClient(path).stats(patience=0.2)
    listener.shutdown(socket.SHUT_RDWR)
    thread.join(60)
    assert len(attempts) < 50


def test_each_thread_has_a_connection_of_its_own(running: RunningBroker, client: QueueClient) -> None:
    """A lease that waits on one thread holds up no call on another."""
    waiting = threading.Event()

    def wait() -> None:
        waiting.set()
        client.lease(["events"], 1, 60, wait=10)
        client.disconnect()

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    waiting.wait(60)
    assert client.stats()["events"].depth == 0
    client.put("events", messages("a"))
    thread.join(60)
    assert not thread.is_alive()


def test_disconnecting_hands_the_leases_out_again(running: RunningBroker, client: QueueClient) -> None:
    client.put("events", messages("a"))
    client.lease(["events"], 1, 3600)
    client.disconnect()
    assert keys(eventually(lambda: client.lease(["events"], 1, 60, wait=1))) == ["a"]


def test_disconnecting_twice_is_fine(client: QueueClient) -> None:
    client.stats()
    client.disconnect()
    client.disconnect()
    assert client.stats()


def test_a_request_that_fits_into_no_frame_is_refused_before_it_is_sent(client: QueueClient) -> None:
    with pytest.raises(FrameError) as raised:
        client.put("events", messages("huge", size=MAX_FRAME))
    assert isinstance(raised.value, PermanentError)
    assert client.stats()["events"].depth == 0


def test_errors_of_the_broker_become_ours() -> None:
    assert raise_for(Reply(version=7)).version == 7
    with pytest.raises(PermanentError, match="the queue refused a request: nonsense"):
        raise_for(Reply(error="nonsense", kind="invalid"))
    for kind in ("full", "failed"):
        with pytest.raises(QueueRefused, match="the queue could not do it: no room"):
            raise_for(Reply(error="no room", kind=kind))


def test_the_value_of_an_entry_is_its_json(running: RunningBroker, client: QueueClient) -> None:
    content = {"a": [1, None, "é"], "b": {"c": 1.5}}
    client.set_state({"key": content})
    entry: Entry = client.get_state("key")["key"]
    assert value(entry) == content
