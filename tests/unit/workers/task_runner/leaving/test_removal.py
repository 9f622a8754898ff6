"""The words and the grace of a removal; what it does is shown in tests/integration/drain."""

from __future__ import annotations

import pytest

from tests.unit.workers.task_runner.conftest import pod
from workers.task_runner.leaving.removal import few, grace_for


@pytest.mark.parametrize(
    ("names", "said"), [([], ""), (["a"], "a"), (["a", "b"], "a, b"), (["a", "b", "c", "d"], "a, b and 2 more")]
)
def test_a_few_are_named_and_the_rest_is_counted(names: list[str], said: str) -> None:
    assert few(names, 2) == said


@pytest.mark.parametrize(
    ("own", "asked", "sent"),
    [(None, None, 90), (30, None, 90), (90, None, 90), (91, None, 91), (600, 10, 10), (30, 0, 0), (30, 600, 600)],
)
def test_10_the_default_never_shortens_a_pods_own_grace(own: int | None, asked: int | None, sent: int) -> None:
    assert grace_for(pod(terminationGracePeriodSeconds=own), asked) == sent
