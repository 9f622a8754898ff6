"""What the API server would answer to evictions now: a dry run asks it and touches nothing."""

from __future__ import annotations

import queue
from collections.abc import Sequence

from shared.kube.evictions import Outcome, Verdict
from shared.kube.pods import Pod
from workers.task_runner.context import Context
from workers.task_runner.removal import grace_for

_WORDS = {
    Verdict.ACCEPTED: "would be evicted",
    Verdict.GONE: "is gone",
    Verdict.REFUSED: "could not be evicted",
    Verdict.FORBIDDEN: "could not be evicted",
}
"""All other answers would make it wait."""


def rehearse(pods: Sequence[Pod], grace_period: int | None, context: Context) -> None:
    """Note for each pod what its eviction would be answered. Budgets are not spent by it.

    Raises:
        Stopped: the deadline passed, or the task was interrupted.
    """
    answers: queue.SimpleQueue[tuple[Pod, Outcome]] = queue.SimpleQueue()
    for pod in pods:
        grace = grace_for(pod, grace_period)
        context.evictor.rehearse(pod, grace, lambda pod, outcome: answers.put((pod, outcome)), lambda: True)
    for _ in pods:
        pod, outcome = _next(answers, context)
        words = _WORDS.get(outcome.verdict, "would have to wait")
        why = "" if outcome.verdict is Verdict.ACCEPTED else f": HTTP {outcome.code} {outcome.detail}"
        context.account.note(f"{pod.name} {words}{why}")


def _next(answers: queue.SimpleQueue[tuple[Pod, Outcome]], context: Context) -> tuple[Pod, Outcome]:
    while True:
        try:
            return answers.get(timeout=0.5)
        except queue.Empty:
            context.check()
