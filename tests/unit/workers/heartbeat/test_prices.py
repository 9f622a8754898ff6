"""Asking for prices: daily, for new types, and never at the cost of anything else."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, cast

import pytest

from shared.basics.errors import TemporaryError
from shared.central.client import CentralClient
from shared.central.identity import Caller
from shared.clouds.azure import AzureRetail, Retail
from shared.process.state import PRICES, PRICES_WANTED
from shared.queue.client import value
from shared.queue.memory import MemoryQueue
from shared.schemas.prices import MAX_TYPES
from tests.sim.central.server import Central
from tests.unit.conftest import FakeClock, process_of
from workers.heartbeat.prices import DAY, PriceKeeper, is_due

LARGE = {"instance_type": "m5.large", "region": "eu-west-1", "dollars_per_hour": 0.06}
SPOT = {"instance_type": "M5.Large", "capacity": "spot", "dollars_per_hour": 0.02}
OTHER = {"instance_type": "c5.large", "dollars_per_hour": 0.05}


class Azure:
    """What Azure would answer, by region."""

    def __init__(self) -> None:
        self.known = {"standard_d4s_v5": Retail(0.2, 0.04), "standard_d8s_v5": Retail(0.4, None)}
        self.asked: list[tuple[str, list[str]]] = []
        self.fails = False
        self.takes: Callable[[], object] = lambda: None

    def prices(self, region: str, sizes: list[str]) -> dict[str, Retail]:
        self.asked.append((region, sizes))
        self.takes()
        if self.fails:
            raise TemporaryError("Azure is away")
        return {size: self.known[size.lower()] for size in sizes if size.lower() in self.known}


class Asking:
    """A keeper for cluster ``demo`` at ``central``, and what it keeps."""

    def __init__(self, central: Central, run_dir: Path, clock: FakeClock) -> None:
        self.central = central
        self.clock = clock
        self.queue = MemoryQueue(clock=clock)
        self.process = process_of(run_dir, self.queue, "heartbeat", clock, {"CENTRAL_API_KEY": "demo-key"})
        self.client = CentralClient(
            central.url, "demo", Caller(self.process.settings.central.api_key, "instance-1"), clock=clock
        )
        self.azure = Azure()
        self.restart()

    def restart(self, live: bool = False) -> None:
        """Another process with the same queue."""
        self.keeper = PriceKeeper(self.process, self.client, cast(AzureRetail, self.azure) if live else None)

    def want(self, *names: str) -> None:
        self.queue.set_state({PRICES_WANTED: list(names)})

    def kept(self, whose: str = "central") -> dict[str, Any]:
        entry = self.queue.get_state(PRICES).get(PRICES + whose)
        return dict(value(entry)) if entry is not None else {}

    def quotes(self, whose: str = "central") -> tuple[Any, Any]:
        kept = self.kept(whose)
        return kept.get("on_demand"), kept.get("spot")

    def asked(self) -> int:
        return len(self.central.ledger.of("prices"))


@pytest.fixture
def asking(central: Central, run_dir: Path, clock: FakeClock) -> Iterator[Asking]:
    asking = Asking(central, run_dir, clock)
    with closing(asking.client):
        yield asking


def test_nothing_is_asked_before_it_is_known_what_there_is(asking: Asking) -> None:
    asking.central.prices = [LARGE]
    asking.keeper.look()
    assert asking.asked() == 0


def test_what_central_answers_is_kept(asking: Asking) -> None:
    asking.central.prices = [LARGE, SPOT, OTHER]
    asking.want("aws/eu-west-1/m5.large")
    asking.keeper.look()
    assert asking.quotes() == ({"eu-west-1/m5.large": 0.06}, {"m5.large": 0.02})


def test_it_is_asked_once_a_day_and_for_new_types(asking: Asking) -> None:
    asking.central.prices = [LARGE, OTHER]
    asking.want("aws/eu-west-1/m5.large")
    for _ in range(3):
        asking.keeper.look()
    assert asking.asked() == 1
    asking.clock.advance(180)
    asking.want("aws/eu-west-1/c5.large")
    asking.keeper.look()
    assert asking.asked() == 2
    assert asking.quotes()[0] == {"eu-west-1/m5.large": 0.06, "c5.large": 0.05}
    asking.clock.advance(180)
    asking.want("aws/eu-west-1/m5.large")
    asking.keeper.look()
    assert asking.asked() == 2, "a type that comes back is no news"
    asking.clock.advance(DAY + 1)
    asking.keeper.look()
    assert asking.asked() == 3
    assert asking.kept()["asked_for"] == ["m5.large"], "what is not there any more is left out"


def test_new_types_one_after_the_other_are_asked_for_together(asking: Asking) -> None:
    asking.central.prices = [LARGE, OTHER]
    for number in range(20):
        asking.want(*(f"aws/eu-west-1/t{known}.large" for known in range(number + 1)))
        asking.keeper.look()
        asking.clock.advance(20)
    assert 3 <= asking.asked() <= 5


def test_an_answer_that_still_holds_is_not_sent_again(asking: Asking) -> None:
    asking.central.prices = [LARGE]
    asking.want("aws/eu-west-1/m5.large")
    asking.keeper.look()
    before = asking.kept()
    asking.clock.advance(DAY + 1)
    asking.keeper.look()
    assert asking.central.ledger.of("prices")[-1].headers["If-None-Match"] == before["etag"]
    assert asking.kept() == {**before, "asked_at": asking.clock.now().timestamp()}


def test_another_worker_goes_on_with_what_was_kept(asking: Asking) -> None:
    asking.central.prices = [LARGE]
    asking.want("aws/eu-west-1/m5.large")
    asking.keeper.look()
    asking.restart()
    asking.keeper.look()
    assert asking.asked() == 1


@pytest.mark.parametrize("status", [404, 405, 501])
def test_a_central_without_prices_is_left_alone_for_a_day(asking: Asking, status: int) -> None:
    fault = asking.central.fault("prices", status=status, times=2)
    asking.central.prices = [LARGE]
    asking.want("aws/eu-west-1/m5.large")
    for _ in range(3):
        asking.keeper.look()
    assert fault.times == 1
    asking.clock.advance(1.5 * DAY)
    asking.keeper.look()
    assert fault.times == 0


@pytest.mark.parametrize("status", [400, 403, 429, 500])
def test_a_failure_costs_nothing_and_is_tried_again_later(asking: Asking, status: int) -> None:
    asking.central.prices = [LARGE]
    asking.want("aws/eu-west-1/m5.large")
    asking.keeper.look()
    before = asking.kept()
    asking.clock.advance(DAY + 1)
    fault = asking.central.fault("prices", status=status, times=1)
    for _ in range(3):
        asking.keeper.look()
    assert fault.times == 0
    assert asking.kept() == before, "the last ones stay"
    asking.clock.advance(3600)
    asking.keeper.look()
    assert asking.kept()["asked_at"] > before["asked_at"]


@pytest.mark.parametrize("body", [b"[]", b"nonsense", b'{"prices": 1}'])
def test_an_answer_that_cannot_be_read_leaves_the_last_ones(asking: Asking, body: bytes) -> None:
    asking.central.prices = [LARGE]
    asking.want("aws/eu-west-1/m5.large")
    asking.keeper.look()
    before = asking.kept()
    asking.clock.advance(DAY + 1)
    asking.central.fault("prices", status=200, body=body)
    asking.keeper.look()
    assert asking.kept() == before


def test_no_more_types_are_asked_for_than_the_contract_says(asking: Asking) -> None:
    asking.central.prices = []
    asking.want(*(f"aws/eu-west-1/t{number}.large" for number in range(MAX_TYPES + 50)))
    asking.keeper.look()
    assert len(asking.kept()["asked_for"]) == MAX_TYPES
    asking.keeper.look()
    assert asking.asked() == 1, "the rest is no new type each time"


def test_nothing_is_asked_while_stopping(asking: Asking) -> None:
    asking.central.prices = [LARGE]
    asking.want("aws/eu-west-1/m5.large")
    asking.process.stop.set()
    asking.keeper.look()
    assert asking.asked() == 0


# -- a cloud's own list ---------------------------------------------------------------------------


def test_azure_is_asked_for_the_sizes_of_azure_only_where_the_owner_wants_it(asking: Asking) -> None:
    asking.want("azure/westeurope/Standard_D4s_v5", "aws/eu-west-1/m5.large", "azure/westeurope/Standard_D8s_v5")
    asking.keeper.look()
    assert asking.azure.asked == []
    asking.restart(live=True)
    asking.keeper.look()
    assert asking.azure.asked == [("westeurope", ["Standard_D4s_v5", "Standard_D8s_v5"])]
    assert asking.quotes("live") == (
        {"westeurope/standard_d4s_v5": 0.2, "westeurope/standard_d8s_v5": 0.4},
        {"westeurope/standard_d4s_v5": 0.04},
    )


def test_azures_failure_leaves_the_last_prices(asking: Asking) -> None:
    asking.restart(live=True)
    asking.want("azure/westeurope/Standard_D4s_v5")
    asking.keeper.look()
    before = asking.kept("live")
    asking.azure.fails = True
    asking.clock.advance(DAY + 1)
    asking.keeper.look()
    assert asking.kept("live") == before
    assert len(asking.azure.asked) == 2


def test_questions_that_take_too_long_are_given_up_together(asking: Asking) -> None:
    asking.restart(live=True)
    asking.want(*(f"azure/region{number}/Standard_D4s_v5" for number in range(100)))
    asking.azure.takes = lambda: asking.clock.advance(25)
    asking.keeper.look()
    assert len(asking.azure.asked) == 5
    assert asking.kept("live") == {}


# -- when -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kept", "due"),
    [
        ({}, True),
        ({"asked_at": 1_000_000.0, "asked_for": ["a", "b"]}, False),
        ({"asked_at": 1_000_000.0, "asked_for": ["b"]}, True),
        ({"asked_at": 1_000_000.0 - DAY, "asked_for": ["a"]}, True),
        ({"asked_at": 1_000_001.0, "asked_for": ["a"]}, True),
    ],
    ids=["never asked", "today", "a new type", "yesterday", "in the future"],
)
def test_when_to_ask(kept: dict[str, Any], due: bool) -> None:
    assert is_due(kept, ["a"], 1_000_000.0) is due
