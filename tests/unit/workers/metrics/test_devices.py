"""Counting claimed devices now and then, and taking no answer for none."""

from __future__ import annotations

from typing import cast

import pytest

from shared.kube.connection import Kube
from shared.kube.errors import Forbidden, KubeUnavailable, NoSuchApi
from workers.metrics import devices
from workers.metrics.devices import ClaimedDevices


@pytest.fixture
def claimed() -> ClaimedDevices:
    return ClaimedDevices(cast(Kube, None))


def answers(monkeypatch: pytest.MonkeyPatch, answer: dict[str, int] | Exception) -> None:
    def ask(kube: Kube) -> dict[str, int]:
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(devices, "claimed_devices", ask)


def test_they_are_not_known_before_they_were_read(claimed: ClaimedDevices) -> None:
    assert claimed.latest is None


def test_they_are_read_every_few_minutes(claimed: ClaimedDevices, monkeypatch: pytest.MonkeyPatch) -> None:
    answers(monkeypatch, {"gpu.nvidia.com": 3})
    assert 240 <= claimed.read() <= 360
    assert claimed.latest == {"gpu.nvidia.com": 3}


@pytest.mark.parametrize("error", [NoSuchApi("no such group"), Forbidden("not listed")])
def test_a_cluster_without_them_is_asked_seldom(
    claimed: ClaimedDevices, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    answers(monkeypatch, error)
    assert claimed.read() >= 2880
    assert claimed.latest is None


def test_after_a_failure_they_are_unknown_which_is_not_none(
    claimed: ClaimedDevices, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers(monkeypatch, {"gpu.nvidia.com": 3})
    claimed.read()
    answers(monkeypatch, KubeUnavailable("away"))
    assert claimed.read() <= 360
    assert claimed.latest is None
