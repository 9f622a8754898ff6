"""Central moves: its name leads elsewhere, and where it led may go on to answer."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from shared.basics.api_key import ApiKey
from shared.basics.errors import TemporaryError
from shared.central.client import CentralClient
from shared.central.identity import Caller
from shared.central.stream import TaskStream
from shared.central.whereabouts import LOOK_SECONDS, SETTLE_SECONDS, Whereabouts
from tests.sim.central.server import Central
from tests.unit.conftest import FakeClock, eventually

NAME = "central.test"
CALLER = Caller(ApiKey("demo-key"), "instance-1")


class Names:
    """What the name leads to. All else is looked up as ever."""

    def __init__(self, *addresses: str) -> None:
        self.addresses = list(addresses)
        self.looks = 0
        self._real = socket.getaddrinfo

    def __call__(self, host: str, port: int, *rest: Any, **more: Any) -> list[Any]:
        if host != NAME:
            return self._real(host, port, *rest, **more)
        self.looks += 1
        if not self.addresses:
            raise socket.gaierror("no such name")
        return [found for address in self.addresses for found in self._real(address, port, *rest, **more)]


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Names:
    names = Names("127.0.0.1")
    monkeypatch.setattr(socket, "getaddrinfo", names)
    for variable in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(variable, raising=False)
    return names


@pytest.fixture
def elsewhere(central: Central) -> Iterator[Central]:
    """A second Central with the port of the first, at another address."""
    with Central(host="127.0.0.2", port=int(central.url.rpartition(":")[2])) as elsewhere:
        yield elsewhere


def url_of(central: Central) -> str:
    return f"http://{NAME}:{central.url.rpartition(':')[2]}"


def test_a_move_is_said_once_and_looked_for_now_and_then(names: Names, clock: FakeClock) -> None:
    whereabouts = Whereabouts(f"https://{NAME}", clock)
    assert not whereabouts.moved()
    names.addresses = ["127.0.0.9"]
    clock.advance(LOOK_SECONDS - 1)
    assert not whereabouts.moved()
    assert names.looks == 1
    clock.advance(1)
    assert whereabouts.moved()
    clock.advance(LOOK_SECONDS)
    assert not whereabouts.moved()


@pytest.mark.parametrize(
    "addresses", [[], ["127.0.0.1"], ["127.0.0.9", "127.0.0.1"]], ids=["none", "the same", "one more"]
)
def test_a_name_that_still_leads_there_or_nowhere_has_not_moved(
    names: Names, clock: FakeClock, addresses: list[str]
) -> None:
    whereabouts = Whereabouts(f"https://{NAME}", clock)
    whereabouts.moved()
    names.addresses = addresses
    clock.advance(LOOK_SECONDS)
    assert not whereabouts.moved()


def test_it_is_compared_with_where_the_connection_went_not_with_the_last_look(names: Names, clock: FakeClock) -> None:
    """Addresses may be replaced one by one."""
    names.addresses = ["127.0.0.1", "127.0.0.2"]
    whereabouts = Whereabouts(f"https://{NAME}", clock)
    whereabouts.moved()
    for addresses, moved in ((["127.0.0.2", "127.0.0.3"], False), (["127.0.0.3", "127.0.0.4"], True)):
        names.addresses = addresses
        clock.advance(LOOK_SECONDS)
        assert whereabouts.moved() is moved


def test_a_name_that_leads_elsewhere_at_every_look_costs_few_connections(names: Names, clock: FakeClock) -> None:
    whereabouts = Whereabouts(f"https://{NAME}", clock)
    moves = 0
    for second in range(3600):
        names.addresses = [f"127.0.1.{second % 250}"]
        moves += whereabouts.moved()
        clock.advance(1)
    assert 3600 / SETTLE_SECONDS - 1 <= moves <= 3600 / SETTLE_SECONDS


def test_a_proxy_looks_names_up_itself(names: Names, clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.test:3128")
    whereabouts = Whereabouts(f"https://{NAME}", clock)
    clock.advance(LOOK_SECONDS)
    assert not whereabouts.moved()
    assert names.looks == 0


def test_calls_follow_the_name_though_the_old_address_answers(
    names: Names, clock: FakeClock, central: Central, elsewhere: Central
) -> None:
    with closing(CentralClient(url_of(central), "demo", CALLER, clock=clock)) as client:
        client.tasks()
        names.addresses = ["127.0.0.2"]
        clock.advance(LOOK_SECONDS)
        for _ in range(2):
            client.tasks()
    assert (len(central.ledger.of("tasks")), len(elsewhere.ledger.of("tasks"))) == (1, 2)


def test_calls_go_where_the_name_leads_as_soon_as_the_old_address_is_dead(
    names: Names, central: Central, elsewhere: Central
) -> None:
    with closing(CentralClient(url_of(central), "demo", CALLER)) as client:
        client.tasks()
        central.stop()
        names.addresses = ["127.0.0.2"]
        client.tasks()
    assert len(elsewhere.ledger.of("tasks")) == 1


def test_the_stream_follows_the_name(names: Names, clock: FakeClock, central: Central, elsewhere: Central) -> None:
    stream = TaskStream(url_of(central), "demo", CALLER, ping_seconds=1, clock=clock)
    with closing(stream):
        frames = stream.frames()
        for _ in range(2):
            next(frames)
        names.addresses = ["127.0.0.2"]
        clock.advance(LOOK_SECONDS)
        with pytest.raises(TemporaryError, match="leads elsewhere"):
            list(frames)
        assert next(stream.frames()) is None
    eventually(lambda: elsewhere.ledger.of("stream"))
    assert len(central.ledger.of("stream")) == 1
