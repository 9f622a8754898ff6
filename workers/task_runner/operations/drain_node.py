"""drain_node: cordon, then evict every pod that may go; the rules are numbered in docs/tasks.md."""

from __future__ import annotations

import queue
from typing import Any
from urllib.parse import quote

from shared.errors import AgentError, PermanentError
from shared.kube.errors import NotFound
from shared.kube.evictions import Outcome
from shared.kube.nodes import Node
from shared.kube.pods import Pod, on_node
from shared.schemas.parameters import DrainNode
from shared.timing import Deadline
from workers.task_runner.context import Context, OutOfTime, Stopped, Suspended, TaskFailed
from workers.task_runner.follower import Broken, Follower, Listed
from workers.task_runner.operations.cordon_node import cordon, identity_mismatch
from workers.task_runner.operations.volumes import await_detach
from workers.task_runner.plan import Fate, Plan, has_emptydir, plan
from workers.task_runner.removal import Removal, grace_for

_CORDONED = "cordoned_by_us"
"""Note of the journal: whether the node was schedulable before this task."""

_LATE_PODS = 1.0
"""Seconds after the cordon within which the scheduler may still bind a pod it had decided on."""


def drain_node(parameters: DrainNode, context: Context) -> None:
    """Empty the node. Returns when no evictable pod is left on it.

    Raises:
        TaskFailed: a pod forbids it (nothing was touched), or pods cannot be evicted.
        Stopped: the deadline passed or the task was interrupted; the message says what is left.
    """
    node = _find(parameters, context)
    if node is not None:
        _Drain(parameters, context, node).run()


def _find(parameters: DrainNode, context: Context) -> Node | None:
    """The node; None when it is gone, which is all a drain wants (rule 1)."""
    try:
        node = context.patiently("get node", lambda: context.nodes.find(parameters.node_name))
    except NotFound:
        context.account.say(f"node {parameters.node_name} is already gone")
        return None
    if difference := identity_mismatch(parameters, node):
        context.account.say(f"node {parameters.node_name} is already gone, another has its name: {difference}")
        return None
    return node


class _Drain:
    """One run of the task."""

    def __init__(self, parameters: DrainNode, context: Context, node: Node) -> None:
        self._parameters = parameters
        self._context = context
        self._node = node
        self._name = node.metadata.name
        self._daemonsets: dict[tuple[str, str], bool] = {}

    def run(self) -> None:
        with Follower(self._context.pods, on_node(self._name)) as follower:
            first = self._plan(self._first_list(follower))
            self._explain(first)
            self._refuse(first)
            if self._parameters.dry_run:
                self._context.account.say("dry run: nothing was touched")
                return
            removal = Removal(self._context, follower, self._send, self._parameters.eviction_interval_seconds)
            try:
                self._cordon()
                self._empty(first, removal)
                self._finish()
            except Suspended:
                raise  # The task goes on after the restart, and so does its cordon.
            except (Stopped, AgentError) as error:
                self._uncordon_if_asked()
                failure = self._with_leftovers(error, removal)
                self._context.announce(self._node, "DrainFailed", f"Not drained: {failure}", warning=True)
                raise failure from error

    def _first_list(self, follower: Follower) -> list[Pod]:
        while True:
            try:
                item: Any = follower.inbox.get(timeout=min(0.5, self._context.deadline.remaining))
            except queue.Empty:
                self._context.check()
                continue
            if isinstance(item, Listed):
                return item.pods
            if isinstance(item, Broken):
                raise TaskFailed(f"cannot list the node's pods: {item.error}") from item.error

    def _plan(self, pods: list[Pod]) -> Plan:
        own = self._context.settings.pod.uid
        return plan(pods, self._parameters, own, self._daemonset_exists, self._context.clock.now())

    def _explain(self, plan: Plan) -> None:
        account = self._context.account
        leaving, staying = plan.to_evict, plan.of(Fate.SKIP)
        account.say(f"node {self._name}: {len(leaving)} pods to evict, {len(staying)} stay")
        for judgement in staying:
            account.note(f"{judgement.pod.name} stays: {judgement.why}")
        losing = [pod.name for pod in leaving if has_emptydir(pod)]
        if losing:
            account.note(f"{len(losing)} pods lose emptyDir data: {', '.join(losing[:20])}")

    def _refuse(self, plan: Plan) -> None:
        """Preflight: one pod that forbids the drain stops it before anything is touched (rule 2)."""
        refused = plan.of(Fate.REFUSE)
        if refused:
            reasons = "; ".join(f"{judgement.pod.name}: {judgement.why}" for judgement in refused)
            raise TaskFailed(f"nothing was touched, {len(refused)} pods forbid the drain: {reasons}")

    def _cordon(self) -> None:
        if self._node.spec.unschedulable:
            if _CORDONED not in self._context.notes:
                self._context.account.say(f"node {self._name} was cordoned already")
            return
        # On record before the PATCH: after a crash nobody could tell who cordoned the node.
        self._context.patiently("record the cordon", lambda: self._context.remember(**{_CORDONED: True}))
        cordon(self._node, self._context)

    def _empty(self, first: Plan, removal: Removal) -> None:
        """Evict tier by tier, then whatever was bound late, until a list shows nothing is left (4, 9, 25)."""
        cordoned = Deadline.after(_LATE_PODS, self._context.clock)
        current = first
        while True:
            for tier in current.tiers:
                removal.remove(tier)
            if removal.refused:
                raise TaskFailed(f"Node still has {len(removal.refused)} pods: {'; '.join(removal.refused)}")
            self._context.wait(cordoned.remaining)
            pods = self._context.patiently("list pods", lambda: self._context.pods.latest(on_node(self._name)))
            current = self._plan(pods)
            if not current.to_evict:
                self._last = current
                return
            self._refuse(current)
            self._context.account.say(f"{len(current.to_evict)} pods were bound late")

    def _finish(self) -> None:
        if self._parameters.wait_for_volume_detach:
            staying = [judgement.pod for judgement in self._last.of(Fate.SKIP)]
            await_detach(self._context, self._name, staying)
        for own in self._last.of(Fate.LAST):
            self._context.account.say(f"{own.pod.name} is this agent: it is evicted once this result is delivered")
            self._context.afterwards.append(lambda pod=own.pod: self._evict_self(pod))  # type: ignore[misc]
        staying_names = ", ".join(judgement.pod.name for judgement in self._last.of(Fate.SKIP)[:50])
        self._context.account.say(f"node {self._name} is drained; staying: {staying_names or 'none'}")
        self._context.announce(self._node, "Drained", "Drained of all evictable pods")

    def _send(self, pod: Pod, done: Any, wanted: Any, again: bool) -> None:
        parameters, evictor = self._parameters, self._context.evictor
        if not parameters.disable_eviction:
            evictor.evict(pod, grace_for(pod, parameters.grace_period), done, wanted, again)
            return
        own = pod.spec.termination_grace_period_seconds
        grace = min(30 if own is None else own, int(self._context.deadline.remaining))
        grace = 0 if parameters.grace_period == 0 else max(1, grace)
        evictor.delete(pod, grace, done, wanted, again)

    def _evict_self(self, pod: Pod) -> None:
        evictor = self._context.evictor
        evictor.evict(pod, grace_for(pod, self._parameters.grace_period), _ignore, lambda: True)

    def _daemonset_exists(self, pod: Pod) -> bool:
        """Whether the pod's DaemonSet is still there; one we may not read counts as there (rule 5)."""
        owner = pod.controller
        if owner is None:
            return False
        key = (pod.metadata.namespace, owner.name)
        if key not in self._daemonsets:
            path = f"/apis/apps/v1/namespaces/{quote(key[0])}/daemonsets/{quote(key[1])}"
            try:
                self._context.patiently("get daemonset", lambda: self._context.kube.get(path))
                self._daemonsets[key] = True
            except NotFound:
                self._daemonsets[key] = False
            except PermanentError as error:
                self._context.account.note(f"DaemonSet {owner.name} cannot be read, taken as there: {error}")
                self._daemonsets[key] = True
        return self._daemonsets[key]

    def _uncordon_if_asked(self) -> None:
        if not (self._parameters.uncordon_on_failure and self._context.notes.get(_CORDONED)):
            return
        try:
            self._context.nodes.set_unschedulable(self._name, False)
            self._context.account.say(f"node {self._name} uncordoned again (uncordon_on_failure)")
        except AgentError as error:
            self._context.account.say(f"node {self._name} could not be uncordoned: {error}")

    def _with_leftovers(self, error: Exception, removal: Removal) -> Exception:
        """``error`` with what is left on the node, each pod with its reason in the logs (rule 23)."""
        left = removal.unfinished
        for line in left:
            self._context.account.note(f"left: {line}")
        if not left or not isinstance(error, Stopped):
            return error
        held = f"; {removal.blockers}" if removal.blockers else ""
        when = " at the deadline" if isinstance(error, OutOfTime) else ""
        return type(error)(f"Node still has {len(left)} pods{when}{held}")


def _ignore(pod: Pod, outcome: Outcome) -> None:
    """Nobody is left to hear how the agent's own eviction went."""
