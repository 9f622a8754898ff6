"""The queue: durable messages a second, beside a raw acknowledged socket in the same run.

python -m bench.queue
"""

from __future__ import annotations

import itertools
import multiprocessing
import os
import signal
import socket
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from bench.report import Figure, report
from shared.queue.broker import Broker
from shared.queue.client import QueueClient
from shared.queue.limits import Limits
from shared.queue.messages import RESULTS
from shared.queue.store import Store

BODY = b'{"x":"' + b"a" * 1000 + b'"}'
BATCH = 50
SECONDS = 3.0
ROUNDS = 3

_ROOMY = Limits(total_bytes=1 << 30, messages={"results": 10**9, "events": 10**9, "metrics": 10**9})


def _pin(core: int) -> None:
    """Keep client and server on a core each: on one core a bare socket is up to seven times as fast, or not."""
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[core % len(cores)]})


def _serve_raw(path: str) -> None:
    """Acknowledge each message of the body's size with 16 bytes."""
    _pin(1)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        connection, _ = listener.accept()
        with connection:
            while True:
                left = len(BODY)
                while left:
                    data = connection.recv(left)
                    if not data:
                        return
                    left -= len(data)
                connection.sendall(b"k" * 16)


def _serve_queue(directory: str) -> None:
    _pin(1)
    Broker(Path(directory) / "queue.sock", Store(Path(directory) / "spool", _ROOMY)).serve()


def raw(path: str) -> float:
    """Messages a second over a bare socket, each acknowledged."""
    with socket.socket(socket.AF_UNIX) as connection:
        _retry(lambda: connection.connect(path))

        def exchange() -> None:
            connection.sendall(BODY)
            left = 16
            while left:
                left -= len(connection.recv(left))

        return _rate(exchange)


def single(queue: QueueClient, label: str) -> float:
    """Messages a second, each durable before the next."""
    numbers = itertools.count()
    return _rate(lambda: queue.put(RESULTS, [(f"{label}-{next(numbers)}", BODY)]))


def batched(queue: QueueClient, label: str) -> float:
    """Messages a second in batches, each batch durable before the next."""
    numbers = itertools.count()
    return BATCH * _rate(lambda: queue.put(RESULTS, [(f"{label}-{next(numbers)}", BODY) for _ in range(BATCH)]))


def drained(queue: QueueClient) -> float:
    """Messages a second leased and acknowledged in batches until the queue is empty."""
    started, count = time.perf_counter(), 0
    while leased := queue.lease([RESULTS], BATCH, 60):
        queue.ack([message.id for message in leased])
        count += len(leased)
    return count / (time.perf_counter() - started)


def _rate(action: Callable[[], object]) -> float:
    """Times a second that ``action`` can be done."""
    count, started = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - started) < SECONDS:
        action()
        count += 1
    return count / elapsed


def _retry(action: Callable[[], object]) -> None:
    deadline = time.monotonic() + 10
    while True:
        try:
            action()
            return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def main() -> None:
    raws, singles, batches, drains = [], [], [], []
    everywhere = os.sched_getaffinity(0)
    for round_ in range(ROUNDS):
        os.sched_setaffinity(0, everywhere)
        with tempfile.TemporaryDirectory() as directory:
            server = multiprocessing.Process(target=_serve_raw, args=(f"{directory}/raw.sock",))
            server.start()
            _pin(0)
            raws.append(raw(f"{directory}/raw.sock"))
            server.join(5)
            os.sched_setaffinity(0, everywhere)
            broker = multiprocessing.Process(target=_serve_queue, args=(directory,))
            broker.start()
            _pin(0)
            queue = QueueClient(Path(directory) / "queue.sock")
            singles.append(single(queue, f"s{round_}"))
            batches.append(batched(queue, f"b{round_}"))
            drains.append(drained(queue))
            os.kill(broker.pid or 0, signal.SIGKILL)
            broker.join(5)
    bare = sorted(raws)[ROUNDS // 2]
    one, many, out = (sorted(values)[ROUNDS // 2] for values in (singles, batches, drains))
    report(
        "queue",
        [
            Figure("a raw socket, 1 KB, acknowledged", bare / 1000, "k/s"),
            Figure("the queue, one at a time", one / 1000, "k/s"),
            Figure("of the raw socket", one / bare, "", 0.4, at_least=True),
            Figure(f"the queue, batches of {BATCH}", many / 1000, "k/s"),
            Figure("of the raw socket", many / bare, "", 1.0, at_least=True),
            Figure("leased and acknowledged, batches of 50", out / 1000, "k/s"),
        ],
        f"median of {ROUNDS}",
    )


if __name__ == "__main__":
    main()
