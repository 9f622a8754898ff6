"""What breaks on the machine shows on /ready and /health of the agent as it ships, and goes when it is mended."""

from __future__ import annotations

import os
import resource
import signal
from collections.abc import Iterator

import pytest

from tests.integration.shipped import Shipped, shipped


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shipped]:
    with shipped(tmp_path_factory.mktemp("green")) as shop:
        yield shop


def reasons(shop: Shipped) -> str:
    return "; ".join(shop.agent.ready().get("reasons", []))


def test_a_disk_that_is_full_is_named_and_restarts_nothing(shop: Shipped) -> None:
    """The broker may write no further byte, which it learns as it does of a full disk."""
    health = shop.agent.pids()["health"]
    before = resource.prlimit(health, resource.RLIMIT_FSIZE)
    resource.prlimit(health, resource.RLIMIT_FSIZE, (0, before[1]))
    try:
        shop.agent.wait(lambda: "health cannot write the spool, so nothing can be claimed or kept" in reasons(shop))
        assert shop.agent.get("/health")[0] == 200
    finally:
        resource.prlimit(health, resource.RLIMIT_FSIZE, before)
    shop.agent.wait_ready()
    assert shop.agent.pids()["health"] == health


def test_a_supervisord_that_hangs_turns_health_red(shop: Shipped) -> None:
    assert shop.agent.process is not None
    os.kill(shop.agent.process.pid, signal.SIGSTOP)
    try:
        shop.agent.wait(lambda: "health cannot hear supervisord" in reasons(shop))
        shop.agent.wait(lambda: shop.agent.get("/health")[0] == 503)
    finally:
        os.kill(shop.agent.process.pid, signal.SIGCONT)
    shop.agent.wait_ready()
    shop.agent.wait(lambda: shop.agent.get("/health")[0] == 200)
