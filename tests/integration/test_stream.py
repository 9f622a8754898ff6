"""The stream on the shipped agent: opened again whatever ends it, unmoved by any frame, and no one's only way."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.integration.shipped import Shipped, shipped
from tests.sim.central.stream import StreamConnection


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shipped]:
    with shipped(tmp_path_factory.mktemp("stream"), nodes=1) as shop:
        yield shop


@dataclass(frozen=True)
class Silenced:
    """An agent whose stream is open and dead."""

    shop: Shipped
    connection: StreamConnection


@pytest.fixture(scope="module", autouse=True)
def silenced(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Silenced]:
    """Begun first and looked at last: it takes half a minute to notice, and the other tests run meanwhile."""
    with shipped(tmp_path_factory.mktemp("silenced"), nodes=1) as shop:
        connection = shop.central.streams[0]
        connection.silent = True
        shop.result(shop.offer("cordon_node", "node-1"))
        yield Silenced(shop, connection)


def stream(shop: Shipped) -> StreamConnection:
    """The connection that is open now, or will be."""
    shop.agent.wait(lambda: shop.central.streams)
    return shop.central.streams[0]


def works(shop: Shipped) -> bool:
    """Whether a pushed task, which no poll brings, is executed and answered."""
    stream(shop)
    return bool(shop.result(shop.push("uncordon_node", "node-1"))["status"] == "success")


def opened(shop: Shipped) -> int:
    return len(shop.central.ledger.of("stream"))


# -- frames of any shape --------------------------------------------------------------------------

IGNORED = {
    "nothing": "",
    "a word": "hello",
    "half an object": '{"type": "task", "task": {',
    "a number": "7",
    "null": "null",
    "NaN": "NaN",
    "a huge number": "9" * 100_000,
    "deep": "[" * 100_000,
    "deep and closed": '{"task": ' * 5000 + "1" + "}" * 5000,
    "an envelope of a list": '{"type": "task", "task": []}',
    "a type nobody knows": '{"type": "reboot"}',
    "a cancellation of nothing": '{"type": "cancel"}',
    "half a surrogate pair": '"\\ud800"',
    "a megabyte of text": json.dumps("x" * 1_000_000),
}


@pytest.mark.parametrize("frame", IGNORED.values(), ids=IGNORED)
def test_a_frame_that_says_nothing_is_a_line_in_the_log(shop: Shipped, frame: str) -> None:
    connection, before = stream(shop), opened(shop)
    lines = len(shop.logged("ignored a frame of the stream: "))
    connection.push(frame)
    shop.agent.wait(lambda: len(shop.logged("ignored a frame of the stream: ")) == lines + 1)
    assert works(shop)
    assert opened(shop) == before, "the connection is the same"


QUIET = {
    "binary": b"\x82\x03\x00\xff\x80",
    "a large binary": b"\x82\x7e\xff\xff" + b"\xff" * 65535,
    "a ping": b"\x89\x04ping",
    "a pong nobody asked for": b"\x8a\x00",
    "an empty list": b"\x81\x02[]",
}


@pytest.mark.parametrize("data", QUIET.values(), ids=QUIET)
def test_a_frame_that_needs_no_answer_disturbs_nothing(shop: Shipped, data: bytes) -> None:
    connection, before = stream(shop), opened(shop)
    connection.send_raw(data)
    assert works(shop)
    assert opened(shop) == before


def test_cancelling_a_task_nobody_knows_disturbs_nothing(shop: Shipped) -> None:
    before = opened(shop)
    for task_id in ("nobody", "", "x" * 10_000, "\ud800", "a\nb"):
        stream(shop).push({"type": "cancel", "task_id": task_id})
    shop.agent.wait(lambda: len(shop.logged("nothing to cancel: ")) == 5)
    assert works(shop)
    assert opened(shop) == before


def test_a_list_is_taken_apart_and_what_is_good_in_it_is_done(shop: Shipped) -> None:
    good = [shop.central.task("uncordon_node", {"node_name": "node-1"}) for _ in range(2)]
    bad = shop.central.task("reboot_node", {})
    stream(shop).push([7, good[0], None, [], bad, {}, good[1]])
    assert [shop.result(task["task_id"])["status"] for task in (*good, bad)] == ["success", "success", "failed"]


ENDING = {
    "reserved bits": b"\xf1\x01x",
    "text that is no UTF-8": b"\x81\x02\xff\xfe",
    "a continuation of nothing": b"\x80\x01x",
    "absurdly large": b"\x81\x7f\x7f\xff\xff\xff\xff\xff\xff\xff",
    "no frame at all": b"HTTP/1.1 502 Bad Gateway\r\n\r\n" * 20,
    "closing": b"\x88\x02\x03\xe9",
}


@pytest.mark.parametrize("data", ENDING.values(), ids=ENDING)
def test_what_breaks_the_connection_breaks_nothing_else(shop: Shipped, data: bytes) -> None:
    connection, before = stream(shop), opened(shop)
    connection.send_raw(data)
    shop.agent.wait(lambda: opened(shop) > before and connection not in shop.central.streams)
    assert works(shop)


# -- opened again ---------------------------------------------------------------------------------


def test_a_connection_that_is_cut_is_opened_again_and_counted(shop: Shipped) -> None:
    before = shop.agent.metric('cloudoptim_reconnects_total{target="stream"}')
    connection = stream(shop)
    connection.cut()
    shop.agent.wait(lambda: connection not in shop.central.streams)
    assert works(shop)
    shop.agent.wait(lambda: shop.agent.metric('cloudoptim_reconnects_total{target="stream"}') > before)
    shop.agent.wait(lambda: shop.agent.metric("cloudoptim_stream_connected") == 1)


def test_a_stream_that_is_refused_is_tried_again_with_pauses_and_polls_carry_on(shop: Shipped) -> None:
    """Without a growing pause there would be thousands of tries in the time of these polls."""
    fault = shop.central.fault("stream", times=10_000, status=503)
    stream(shop).cut()
    shop.polls(8)
    tries = 10_000 - (fault.times or 0)
    assert 1 <= tries <= 8
    assert not shop.central.streams
    assert shop.result(shop.offer("uncordon_node", "node-1"))["status"] == "success"
    shop.central.faults.clear()
    assert works(shop)


def test_a_central_that_takes_the_handshake_and_hangs_up_does_not_count_as_back(shop: Shipped) -> None:
    """The pauses go on growing: only a connection that proved worth something begins anew."""
    stop = threading.Event()

    def hang_up() -> None:
        while not stop.wait(0.005):
            for connection in list(shop.central.streams):
                connection.cut()

    before = opened(shop)
    thread = threading.Thread(target=hang_up)
    thread.start()
    shop.polls(8)
    stop.set()
    thread.join()
    assert 1 <= opened(shop) - before <= 8
    assert works(shop)


# -- a peer that is silent ------------------------------------------------------------------------


def test_a_handshake_that_is_never_answered_keeps_nobody_from_polling(shop: Shipped) -> None:
    shop.central.fault("stream", delay=60.0, cut=True, times=1)
    before = opened(shop)
    stream(shop).cut()
    shop.agent.wait(lambda: not shop.central.streams)
    assert shop.result(shop.offer("uncordon_node", "node-1"))["status"] == "success"
    shop.agent.wait(lambda: shop.logged("Central's stream is not reachable: WebSocketTimeoutException"))
    assert works(shop)
    assert opened(shop) == before + 1


def test_a_peer_that_answers_no_ping_counts_as_dead_and_is_left(silenced: Silenced) -> None:
    shop = silenced.shop
    shop.agent.wait(lambda: silenced.connection not in shop.central.streams, 60)
    shop.agent.wait(lambda: shop.logged("Central's stream was silent for 30 s"))
    assert works(shop)
    assert shop.logged("cordon_node ended: success"), "meanwhile tasks came by poll"
    assert shop.agent.get("/health")[0] == 200
