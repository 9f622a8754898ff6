"""What the API server would answer to evictions now: a dry run asks it and touches nothing."""

from __future__ import annotations

from collections.abc import Sequence

from shared.kube.evictions import Outcome, Verdict, evict
from shared.kube.pods import Pod
from workers.task_runner.leaving.removal import grace_for
from workers.task_runner.work.context import Context
from workers.task_runner.work.evictor import Request
from workers.task_runner.work.story import WAITS_FOR_NEWS

_WORDS = {
    Verdict.ACCEPTED: "would be evicted",
    Verdict.GONE: "is gone",
    Verdict.REFUSED: "could not be evicted",
    Verdict.FORBIDDEN: "could not be evicted",
}
"""All other answers would make it wait."""


async def rehearse(pods: Sequence[Pod], grace_period: int | None, context: Context) -> None:
    """Note for each pod what its eviction would be answered. Budgets are not spent by it.

    Raises:
        Stopped: the deadline passed, or the task was interrupted.
    """
    answers: dict[str, Outcome] = {}

    def answered(pod: Pod, outcome: Outcome | None) -> None:
        answers[pod.uid] = outcome or Outcome(Verdict.RETRY, 0, "not asked")
        context.story.wake()

    def ask(pod: Pod) -> Outcome:
        return evict(context.kube, pod, grace_for(pod, grace_period), dry_run=True)

    for pod in pods:
        context.shared.evictor.ask(Request(pod, context.rank, context.task.task_id, ask, answered))
    while len(answers) < len(pods):
        await context.until(WAITS_FOR_NEWS)
    for pod in pods:
        outcome = answers[pod.uid]
        words = _WORDS.get(outcome.verdict, "would have to wait")
        why = "" if outcome.verdict is Verdict.ACCEPTED else f": HTTP {outcome.code} {outcome.detail}"
        context.account.note(f"{pod.name} {words}{why}")
