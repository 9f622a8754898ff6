"""The queue as a process of its own: killed between any two steps, out of disk, damaged, mistreated by clients."""

from __future__ import annotations

import json
import resource
import shutil
import socket
import sqlite3
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path

import pytest

from shared.queue.broker import MAX_CONNECTIONS
from shared.queue.client import Queue, QueueClient, QueueRefused, QueueUnavailable, value
from shared.queue.frames import pack
from shared.queue.messages import Stats, encoder
from shared.queue.spool import FORMAT
from shared.queue.store import Store
from tests.sim.agent import ROOT, Agent
from tests.sim.central.server import Central
from tests.sim.kube.cluster import Cluster

SERVE = """
import logging, sys
from pathlib import Path
from shared.queue.broker import Broker
from shared.queue.store import Store
folder = Path(sys.argv[1])
logging.basicConfig(level="INFO")
Broker(folder / "queue.sock", Store(folder / "spool.sqlite")).serve()
"""

CRASH = """
import os, resource, signal, sys
from pathlib import Path
from shared.queue.broker import Broker
from shared.queue.store import Store

def killed_at(step):
    left = step
    def line(frame, event, argument):
        nonlocal left
        if event == "line":
            left -= 1
            if left == 0:
                sys.stdout.write(f"{Path(frame.f_code.co_filename).stem}.{frame.f_code.co_name}:{frame.f_lineno}\\n")
                sys.stdout.flush()
                os.kill(os.getpid(), signal.SIGKILL)
        return line
    return lambda frame, event, argument: line if "/shared/queue/" in frame.f_code.co_filename else None

for order in sys.stdin:
    step, folder = order.split(maxsplit=1)
    folder = Path(folder.strip())
    if os.fork() == 0:
        signal.alarm(20)
        broker = Broker(folder / "queue.sock", Store(folder / "spool.sqlite"))
        sys.settrace(killed_at(int(step)))
        broker.serve()
    os.wait()
    sys.stdout.write("gone\\n")
    sys.stdout.flush()
"""
"""Forks a broker for each order, "STEP FOLDER", and kills it before the line of the queue's code that is its STEPth."""


class BrokerProcess:
    """A broker in a process of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.socket = folder / "queue.sock"
        self.spool = folder / "spool.sqlite"
        self.log = folder / "log"
        self.start()

    def start(self) -> None:
        with self.log.open("ab") as log:
            command = [sys.executable, "-c", SERVE, str(self.folder)]
            self.process = subprocess.Popen(command, cwd=ROOT, stderr=log)
        self.client = QueueClient(self.socket)
        self.client.stats(patience=20)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(60)
        self.client.disconnect()

    def restart(self) -> None:
        self.kill()
        self.start()


@pytest.fixture
def folder() -> Iterator[Path]:
    """With a path short enough for sockets."""
    with tempfile.TemporaryDirectory(prefix="co-") as path:
        yield Path(path)


@pytest.fixture
def broker(folder: Path) -> Iterator[BrokerProcess]:
    running = BrokerProcess(folder)
    yield running
    running.kill()


def body(key: str, size: int = 0) -> bytes:
    return json.dumps(key.ljust(size)).encode()


def keys(queue: Queue | Store, topic: str = "results") -> list[str]:
    return [message.key for message in queue.lease([topic], 10_000, 0.0)]


def eventually(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)


# -- killed between any two steps -------------------------------------------------------------------


class Crasher:
    """Makes brokers that die at a given step."""

    def __init__(self) -> None:
        command = [sys.executable, "-c", CRASH]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        self._process = subprocess.Popen(command, cwd=ROOT, text=True, **pipes)  # type: ignore[call-overload]

    def begin(self, step: int, folder: Path) -> None:
        self._process.stdin.write(f"{step} {folder}\n")
        self._process.stdin.flush()

    def place(self) -> str:
        """Where it died, as ``module.function:line``."""
        place: str = self._process.stdout.readline().strip()
        assert place != "gone", "it did not get that far, and not further either"
        assert self._process.stdout.readline().strip() == "gone"
        return place

    def close(self) -> None:
        self._process.kill()
        self._process.wait(60)
        self._process.stdin.close()
        self._process.stdout.close()


class Story:
    """What one worker does with the queue, and what it was told until the broker died."""

    def __init__(self, client: Queue) -> None:
        self._client = client
        self.put: list[str] = []
        self.acknowledged: list[str] = []
        self.in_doubt = ""
        """The put or acknowledgement that was not answered."""

    def run(self) -> None:
        self._put("a")
        self._put("b")
        leased = self._client.lease(["results"], 10, 60, patience=0.0)
        for message in leased[:1]:
            self.in_doubt = message.key
            self._client.ack([message.id])
            self.acknowledged.append(message.key)
        self._put("c")
        self.in_doubt = ""

    def _put(self, key: str) -> None:
        """A result and, in the same transaction, the end of its claim."""
        self.in_doubt = key
        self._client.put("results", [(key, body(key))], {f"task/{key}": "finished"}, patience=0.0)
        self.put.append(key)
        self.in_doubt = ""


def test_whatever_the_instant_of_its_death_nothing_accepted_is_lost_and_nothing_acknowledged_returns(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before each single line that the broker runs while it puts, leases and acknowledges."""
    monkeypatch.setattr("shared.queue.client.PATIENCE", 0.0)
    places: set[str] = set()
    step = 0
    with closing(Crasher()) as crasher:
        while True:
            step += 1
            here = folder / str(step)
            here.mkdir()
            crasher.begin(step, here)
            eventually((here / "queue.sock").exists)
            client = _Impatient(here / "queue.sock")
            story = Story(client)
            try:
                story.run()
                break
            except QueueUnavailable:
                pass
            finally:
                client.disconnect()
            places.add(crasher.place())
            _check(story, here / "spool.sqlite")
            shutil.rmtree(here)
    functions = {place.partition(":")[0] for place in places}
    assert {"topics.put", "retained.set", "topics.lease", "topics.ack", "topics._remove", "store.commit"} <= functions
    assert {"broker._read", "broker._turn", "broker._commit", "broker._queue", "broker._write"} <= functions
    assert len(places) > 100


class _Impatient(QueueClient):
    """Does not try again: the broker that died stays away."""

    def call(self, request, patience=0.0):  # type: ignore[no-untyped-def]
        return super().call(request, 0.0)


def _check(story: Story, spool: Path) -> None:
    store = Store(spool)
    found = keys(store)
    finished = {entry.key.removeprefix("task/") for entry in store.get_state("task/")[0]}
    sure = [key for key in story.put if key not in story.acknowledged and key != story.in_doubt]
    assert [key for key in found if key != story.in_doubt] == sure
    assert found.count(story.in_doubt) <= 1
    assert finished - {story.in_doubt} == set(story.put) - {story.in_doubt}
    if story.in_doubt and story.in_doubt not in story.put:
        assert (story.in_doubt in found) == (story.in_doubt in finished), "a result and the end of its claim are one"
    store.close()


def test_a_put_that_was_not_answered_may_be_repeated(broker: BrokerProcess) -> None:
    broker.client.put("results", [("a", body("a"))])
    broker.restart()
    broker.client.put("results", [("a", body("a"))])
    assert keys(broker.client) == ["a"]


def test_what_was_leased_when_it_was_killed_is_handed_out_again_at_once(broker: BrokerProcess) -> None:
    broker.client.put("results", [("a", body("a")), ("b", body("b"))])
    first, _ = broker.client.lease(["results"], 2, 3600)
    broker.client.ack([first.id])
    broker.restart()
    assert keys(broker.client) == ["b"]


# -- the disk -------------------------------------------------------------------------------------


def test_a_full_disk_refuses_and_loses_nothing_and_once_there_is_room_it_goes_on(broker: BrokerProcess) -> None:
    resource.prlimit(broker.process.pid, resource.RLIMIT_FSIZE, (400_000, resource.RLIM_INFINITY))
    accepted = []

    def fill() -> None:
        for number in range(1000):
            broker.client.put("results", [(f"r{number}", body("x", 10_000))])
            accepted.append(f"r{number}")

    with pytest.raises(QueueRefused, match="the spool cannot be written"):
        fill()
    assert 10 < len(accepted) < 1000
    with pytest.raises(QueueRefused):
        broker.client.put("results", [("large", body("x", 300_000))])
    assert keys(broker.client) == accepted
    resource.prlimit(broker.process.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    broker.client.put("results", [("later", body("later"))])
    broker.restart()
    assert keys(broker.client) == [*accepted, "later"]


def test_a_journal_cut_anywhere_leaves_a_beginning_of_what_was_put(broker: BrokerProcess) -> None:
    """As a node's crash may leave it; a commit is there as a whole or not at all."""
    for number in range(8):
        broker.client.put("results", [(f"{number}{half}", body("x", 2000)) for half in "ab"])
    broker.kill()
    journal = Path(f"{broker.spool}-wal")
    whole, main = journal.read_bytes(), broker.spool.read_bytes()
    everything = [f"{number}{half}" for number in range(8) for half in "ab"]
    lengths = set()
    for size in range(0, len(whole), 1777):
        broker.spool.write_bytes(main)
        journal.write_bytes(whole[:size])
        with closing(Store(broker.spool)) as store:
            found = keys(store)
        assert found == everything[: len(found)]
        assert len(found) % 2 == 0
        lengths.add(len(found))
    assert len(lengths) > 5


def test_a_spool_that_breaks_in_use_while_the_disk_is_full_is_replaced_once_there_is_room(
    broker: BrokerProcess,
) -> None:
    """The messages are lost and counted; the journal of tasks is in memory and is not."""
    broker.client.put("results", [(f"r{number}", body("x", 2000)) for number in range(1000)])
    broker.client.set_state({"task/1": "claimed"}, durable=True)
    broker.kill()
    with sqlite3.connect(broker.spool) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    db.close()
    broker.start()
    resource.prlimit(broker.process.pid, resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
    with broker.spool.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xa5" * (broker.spool.stat().st_size - 4096))
    for _ in range(3):
        with pytest.raises(QueueRefused):
            broker.client.lease(["results"], 1000, 60)
    resource.prlimit(broker.process.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    with pytest.raises(QueueRefused):  # This one is answered with the damage; behind it all is well.
        broker.client.lease(["results"], 1000, 60)
    broker.client.put("results", [("new", body("new"))])
    assert keys(broker.client) == ["new"]
    assert {key: value(entry) for key, entry in broker.client.get_state("task/").items()} == {"task/1": "claimed"}
    assert broker.client.stats()["results"].dropped == 1000
    assert Path(f"{broker.spool}.corrupt").stat().st_size > 2_000_000
    assert "1000 results were lost with the damaged spool" in broker.log.read_text()


@pytest.mark.parametrize("left", [0.0, 0.1, 0.5, 0.9])
def test_a_spool_cut_short_is_set_aside_or_read_and_never_in_the_way(
    broker: BrokerProcess, left: float, caplog: pytest.LogCaptureFixture
) -> None:
    broker.client.put("results", [(f"r{number}", body("x", 2000)) for number in range(200)])
    broker.kill()
    with sqlite3.connect(broker.spool) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    db.close()
    whole = broker.spool.read_bytes()
    broker.spool.write_bytes(whole[: int(len(whole) * left)])
    broker.start()
    broker.client.put("results", [("new", body("new"))])
    assert keys(broker.client) == ["new"]
    aside = Path(f"{broker.spool}.corrupt")
    assert aside.exists() == (left > 0), "an empty file is no loss"
    assert ("starting an empty one" in broker.log.read_text()) == (left > 0)


def test_the_agent_starts_anew_with_a_damaged_spool_and_with_one_of_another_format(
    agent: Agent, central: Central
) -> None:
    spool = agent.run_dir / "spool.sqlite"
    for reason, spoil in (("corrupt", _scribble), ("format", _of_the_future)):
        agent.supervisorctl("stop", "health")
        spoil(spool)
        agent.supervisorctl("start", "health")
        agent.wait_ready()
        task = central.task("cordon_node", {"node_name": "node-3"})
        central.offer(task)
        assert central.ledger.wait_result(task["task_id"])["status"] == "success"
        assert Path(f"{spool}.{reason}").exists()
    said = [line["message"] for line in agent.log("health") if "starting an empty one" in line["message"]]
    assert len(said) == 2
    assert f"has format 99, not {FORMAT}" in said[1]


def _scribble(spool: Path) -> None:
    size = spool.stat().st_size
    with spool.open("r+b") as file:
        file.write(b"\x5a" * size)
    Path(f"{spool}-wal").unlink(missing_ok=True)


def _of_the_future(spool: Path) -> None:
    with sqlite3.connect(spool) as db:
        db.execute("PRAGMA user_version = 99")
    db.close()


# -- the socket -----------------------------------------------------------------------------------


def test_a_socket_that_is_removed_comes_back_while_those_connected_go_on(broker: BrokerProcess) -> None:
    broker.socket.unlink()
    eventually(lambda: [broker.client.stats(), broker.socket.exists()][1])
    other = QueueClient(broker.socket)
    other.put("results", [("a", body("a"))])
    other.disconnect()
    assert keys(broker.client) == ["a"]
    assert "is gone; making it again" in broker.log.read_text()


def connection(broker: BrokerProcess) -> socket.socket:
    line = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    line.settimeout(10)
    eventually(lambda: line.connect_ex(str(broker.socket)) == 0)  # else the kernel's queue is full just now
    return line


GARBAGE: Sequence[bytes] = (
    b"GET / HTTP/1.1\r\n\r\n",
    struct.pack(">I", 2**32 - 1),
    pack(b"\xff" * 50),
    pack(b'{"type":"put","topic":"results"}'),
    pack(b"[" * 1000),
    struct.pack(">I", 1000) + b"half a frame",
    b"\x00",
)


def test_garbage_half_frames_and_a_thousand_connections_disturb_nobody(broker: BrokerProcess) -> None:
    """A worker puts and delivers all the while; those who stay silent are turned away once there are too many."""
    done = threading.Event()
    delivered: list[str] = []

    def work() -> None:
        worker = QueueClient(broker.socket)
        number = 0
        while not done.is_set():
            worker.put("results", [(f"r{number}", body("x", 500))], patience=20)
            for message in worker.lease(["results"], 10, 60, patience=20):
                delivered.append(message.key)
                worker.ack([message.id])
            number += 1
        worker.disconnect()

    thread = threading.Thread(target=work)
    thread.start()
    eventually(lambda: len(delivered) > 5)
    for number in range(1000):
        with closing(connection(broker)) as line:
            line.sendall(GARBAGE[number % len(GARBAGE)])
    silent = [connection(broker) for _ in range(MAX_CONNECTIONS + 50)]
    before = len(delivered)
    eventually(lambda: len(delivered) > before + 20)
    for line in silent:
        line.close()
    done.set()
    thread.join(60)
    assert delivered == [f"r{number}" for number in range(len(delivered))]
    assert broker.process.poll() is None
    assert broker.client.stats()["results"].depth == 0


def test_a_client_that_does_not_read_its_answers_is_cut_off_and_the_others_are_served(broker: BrokerProcess) -> None:
    broker.client.set_state({"large": "x" * 1_000_000})
    request = pack(b'{"type":"get","prefix":"large"}')
    with closing(connection(broker)) as line:
        line.sendall(request * 30)
        eventually(lambda: "does not read its answers" in [broker.client.stats(), broker.log.read_text()][1])
    with closing(connection(broker)) as line:
        line.sendall(pack(encoder.encode(Stats())))
        assert line.recv(4)


def test_without_descriptors_it_serves_those_it_has_and_does_not_spin(broker: BrokerProcess) -> None:
    in_use = len(list(Path(f"/proc/{broker.process.pid}/fd").iterdir()))
    unlimited = resource.prlimit(broker.process.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(broker.process.pid, resource.RLIMIT_NOFILE, (in_use, unlimited[1]))
    with closing(connection(broker)) as waiting:
        waiting.sendall(pack(encoder.encode(Stats())))
        eventually(lambda: broker.log.read_text().count("could not accept a connection") >= 2)
        assert broker.log.read_text().count("could not accept a connection") < 5
        broker.client.put("results", [("a", body("a"))])
        resource.prlimit(broker.process.pid, resource.RLIMIT_NOFILE, unlimited)
        assert waiting.recv(4), "let in once there is room"


# -- and with a worker that is away ---------------------------------------------------------------


def test_what_waits_while_heartbeat_is_away_is_delivered_when_it_is_back(
    agent: Agent, central: Central, cluster: Cluster
) -> None:
    """Killed again and again with messages on lease: each is delivered, and only in doubt twice."""
    agent.supervisorctl("stop", "heartbeat")
    tasks = [central.task("label_node", {"node_name": "node-1", "labels": {"n": str(n)}}) for n in range(5)]
    for task in tasks:
        central.offer(task)
    agent.wait(lambda: agent.metric('cloudoptim_queue_depth{topic="results"}') == 5)
    agent.supervisorctl("signal", "KILL", "health")
    agent.wait(lambda: "health" in agent.pids())
    agent.supervisorctl("start", "heartbeat")
    for task in tasks:
        assert central.ledger.wait_result(task["task_id"])["status"] == "success"
        assert len(central.ledger.results(task["task_id"])) == 1


def test_the_queue_is_as_it_was_when_the_container_is_killed_and_starts_again(agent: Agent, central: Central) -> None:
    """All at once, supervisord too; the emptyDir outlives it."""
    agent.supervisorctl("stop", "heartbeat")
    tasks = [central.task("label_node", {"node_name": "node-1", "labels": {"n": str(n)}}) for n in range(3)]
    for task in tasks:
        central.offer(task)
    agent.wait(lambda: agent.metric('cloudoptim_queue_depth{topic="results"}') == 3)
    agent.kill()
    agent.start()
    for task in tasks:
        result = central.ledger.wait_result(task["task_id"])
        assert result["status"] == "success"
        assert len(central.ledger.results(task["task_id"])) == 1
