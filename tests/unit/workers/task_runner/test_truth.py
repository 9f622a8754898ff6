"""Success only when it was seen: the fast form of ``make truth``.

For any sequence of answers that a real API server, a webhook, a proxy or a load balancer may give to any call of any
task, a success is never answered while the true state is not the one that the task promises.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from shared.config import Settings
from shared.kube import errors
from shared.kube.errors import Status, Target
from shared.schemas.parameters import PARAMETERS
from tests.truth.play import play
from tests.unit.conftest import settings_of

SEQUENCES = 1500


@pytest.fixture
def settings(run_dir: Path) -> Settings:
    return settings_of(run_dir)


def test_a_success_is_never_answered_while_it_is_not_so(settings: Settings) -> None:
    played = [play(seed, settings) for seed in range(SEQUENCES)]
    assert [f"seed {seed}: {one.untrue}" for seed, one in enumerate(played) if one.untrue] == []
    successes = Counter(one.task_type for one in played if one.status == "success")
    assert all(successes[task_type] > 10 for task_type in PARAMETERS), "there were some of each"


def bare_code(status: Status, target: Target | None) -> bool:
    """What stood here before: absence by a bare status code."""
    return status.code == 404


def test_it_would_be_found_if_a_bare_404_proved_absence(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(errors, "proves_absence", bare_code)
    monkeypatch.setattr(errors.Status, "kind", "Status", raising=False)
    assert any(play(seed, settings).untrue for seed in range(SEQUENCES))
