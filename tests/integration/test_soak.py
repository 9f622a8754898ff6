"""The short form of ``make soak``: what was accepted is never lost, and nothing is done twice."""

from __future__ import annotations

from tests.sim.soak import Soak


def test_killed_workers_lose_nothing_and_do_nothing_twice() -> None:
    counts = Soak(kills=20).run()
    assert counts.clean, counts.report()
    assert sum(counts.kills.values()) == 20
    assert counts.tasks_in > 10
    assert counts.events_in > 10
