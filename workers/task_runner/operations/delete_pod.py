"""delete_pod: evict one pod, so that disruption budgets hold."""

from __future__ import annotations

from shared.schemas.parameters import DeletePod
from workers.task_runner.operations.operation import Absent, Operation
from workers.task_runner.operations.pod import UID, claim_pod, evict_pod, find_pod


class DeletesPod(Operation[DeletePod]):
    """Evicts the pod and waits until it is gone. One that is not there (any more) is a success."""

    async def run(self) -> None:
        account = self._context.account
        try:
            pod = await claim_pod(self._parameters, self._context)
        except Absent as gone:
            when = "before the agent restarted" if UID in self._context.notes else "already"
            account.say(f"gone {when}: {gone}")
            return
        await evict_pod(pod, self._parameters, self._context)
        account.say(f"pod {pod.name} (uid {pod.uid}) is gone from node {pod.spec.node_name or 'none'}")

    async def last_look(self, when: str = "") -> str | None:
        try:
            pod = await find_pod(self._parameters, self._context)
        except Absent as gone:
            self._context.account.say(f"gone: {gone}")
            return None
        if pod.ended and pod.terminating:
            return None
        going = ", it terminates" if pod.terminating else ""
        return f"pod {pod.name} (uid {pod.uid}) is still there{going}"
