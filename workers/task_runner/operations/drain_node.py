"""drain_node: cordon, then evict every pod that may go; the rules are numbered in docs/tasks.md."""

from __future__ import annotations

import logging
import queue
import threading
from typing import Any
from urllib.parse import quote

from shared.basics.errors import AgentError, PermanentError, TemporaryError
from shared.basics.timing import Deadline
from shared.kube.errors import NotFound
from shared.kube.evictions import Verdict, evict
from shared.kube.nodes import Node
from shared.kube.pods import Pod, on_node
from shared.schemas.parameters import DrainNode
from workers.task_runner.context import Context, OutOfTime, Stopped, Suspended, TaskFailed
from workers.task_runner.follower import Broken, Follower, Listed
from workers.task_runner.operations.cordon_node import NodeGone, cordon, identity_mismatch
from workers.task_runner.operations.rehearsal import rehearse
from workers.task_runner.operations.volumes import await_detach, check_access
from workers.task_runner.plan import Fate, Plan, has_emptydir, plan
from workers.task_runner.removal import Removal, few, grace_for

_CORDONED = "cordoned_by_us"
"""Note of the journal: whether the node was schedulable before this task. While it is missing, nothing is touched."""

_NODE_UID = "node_uid"
"""Note of the journal: the node the task began on. After a restart another may have its name."""

_KUBERNETES_GRACE = 30
"""Seconds a pod gets that does not say."""

_LATE_PODS = 1.0
"""Seconds after the cordon within which the scheduler may still bind a pod it had decided on."""

_LATE_ROUNDS = 5
"""Lists that may show more pods. Whoever binds pods to a cordoned node after that binds them for ever."""

_NAMED = 50
"""Pods that a line names before it counts the rest."""

_UNCORDON_PAUSES = (0.0, 0.5, 1.0)
"""Seconds before each try to take the cordon back."""

_logger = logging.getLogger(__name__)


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
    difference = identity_mismatch(parameters, node)
    begun_on = context.notes.get(_NODE_UID, node.metadata.uid)
    if begun_on != node.metadata.uid:
        difference = f"this drain began on uid {begun_on}, the node's is {node.metadata.uid}"
    if difference:
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
            if self._parameters.dry_run:
                self._refuse(first)
                self._rehearse(first)
                return
            removal = Removal(self._context, follower, self._send, self._parameters.eviction_interval_seconds)
            try:
                self._refuse(first)
                if self._parameters.wait_for_volume_detach:
                    check_access(self._context)
                self._cordon()
                self._empty(first, removal)
                self._finish()
            except NodeGone as gone:
                self._context.account.say(f"{gone}, and that is all a drain wants")
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
        if leaving and not self._node.is_ready:
            account.say(f"warning: node {self._name} is not Ready: its kubelet may never say that a pod has ended")
        for judgement in staying:
            account.note(f"{judgement.pod.name} stays: {judgement.why}")
        for judgement in plan.of(Fate.LAST):
            account.note(f"{judgement.pod.name}: {judgement.why}")
        losing = [pod.name for pod in leaving if has_emptydir(pod)]
        if losing:
            account.note(f"{len(losing)} pods lose emptyDir data: {few(losing, _NAMED)}")

    def _refuse(self, plan: Plan) -> None:
        """Preflight: one pod that forbids the drain stops it before anything is touched (rule 2).

        A pod that was bound late does so, too, and then the drain has touched others already.
        """
        refused = plan.of(Fate.REFUSE)
        if not refused:
            return
        pods: dict[str, list[str]] = {}
        for judgement in refused:
            pods.setdefault(judgement.why, []).append(judgement.pod.name)
        reasons = "; ".join(f"{', '.join(names)}: {why}" for why, names in pods.items())
        count = "1 pod forbids" if len(refused) == 1 else f"{len(refused)} pods forbid"
        untouched = "" if _CORDONED in self._context.notes else "nothing was touched, "
        raise TaskFailed(f"{untouched}{count} the drain: {reasons}")

    def _rehearse(self, plan: Plan) -> None:
        """A dry run: what would become of each pod that would have to go."""
        parameters, account = self._parameters, self._context.account
        for number, tier in enumerate(plan.tiers, 1):
            account.note(f"tier {number} of {len(plan.tiers)}")
            if parameters.disable_eviction:
                for pod in tier:
                    account.note(f"{pod.name} would be deleted, past its budgets")
            else:
                rehearse(tier, parameters.grace_period, self._context)
        account.say("dry run: nothing was touched")

    def _cordon(self) -> None:
        cordoned, resumed = self._node.spec.unschedulable, _CORDONED in self._context.notes
        if cordoned and resumed:
            return
        # On record before the PATCH: after a crash nobody could tell who cordoned the node.
        notes = {_CORDONED: not cordoned, _NODE_UID: self._node.metadata.uid}
        self._context.patiently("record the cordon", lambda: self._context.remember(**notes))
        if cordoned:
            self._context.account.say(f"node {self._name} was cordoned already")
            return
        try:
            cordon(self._node, self._context)
        except PermanentError:
            self._context.notes[_CORDONED] = False  # It was not, so there is nothing to take back.
            raise

    def _empty(self, first: Plan, removal: Removal) -> None:
        """Evict tier by tier, then whatever was bound late, until a list shows nothing is left (4, 9, 25)."""
        cordoned = Deadline.after(_LATE_PODS, self._context.clock)
        current = first
        for _ in range(_LATE_ROUNDS):
            removal.remove(*current.tiers)
            if removal.refused:
                raise TaskFailed(f"Node still has {len(removal.unfinished)} pods: {'; '.join(removal.refused)}")
            self._context.wait(cordoned.remaining)
            pods = self._context.patiently("list pods", lambda: self._context.pods.latest(on_node(self._name)))
            current = self._plan(pods)
            self._still_cordoned(current)
            self._refuse(current)
            if not current.to_evict:
                self._last = current
                return
            self._context.account.say(f"{len(current.to_evict)} pods were bound late")
        raise TaskFailed(f"{_still_has(current)}: they keep being bound to it although it is cordoned")

    def _still_cordoned(self, plan: Plan) -> None:
        """Before it is called drained, or more pods are evicted: it must be our node still, and still take no more.

        Raises:
            NodeGone: another node has its name, and these pods are that one's.
            TaskFailed: evicting on would go round in circles.
        """
        try:
            node = self._context.patiently("get node", lambda: self._context.nodes.find(self._name))
        except NotFound as error:
            raise NodeGone(f"node {self._name} is gone") from error
        if node.metadata.uid != self._node.metadata.uid:
            raise NodeGone(f"node {self._name} is gone, another has its name")
        if not node.spec.unschedulable:
            raise TaskFailed(f"{_still_has(plan)}: somebody uncordoned it while it was drained")

    def _finish(self) -> None:
        if self._parameters.wait_for_volume_detach:
            staying = [judgement.pod for judgement in self._last.of(Fate.SKIP)]
            await_detach(self._context, self._name, staying)
        for own in self._last.of(Fate.LAST):
            self._context.account.say(f"{own.pod.name} is this agent: it is evicted once this result is delivered")
            self._context.afterwards.append(lambda pod=own.pod: self._evict_self(pod))  # type: ignore[misc]
        staying_names = few([judgement.pod.name for judgement in self._last.of(Fate.SKIP)], _NAMED)
        self._context.account.say(f"node {self._name} is drained; staying: {staying_names or 'none'}")
        self._context.announce(self._node, "Drained", "Drained of all evictable pods")

    def _send(self, pod: Pod, done: Any, wanted: Any, again: bool) -> None:
        parameters, evictor = self._parameters, self._context.evictor
        if not parameters.disable_eviction:
            evictor.evict(pod, grace_for(pod, parameters.grace_period), done, wanted, again)
            return
        evictor.delete(pod, self._grace_of_deletion(pod), done, wanted, again)

    def _grace_of_deletion(self, pod: Pod) -> int:
        """What the task asks for, or the pod's own; bounded by what remains, and 0 only if asked for (rule 21)."""
        asked, own = self._parameters.grace_period, pod.spec.termination_grace_period_seconds
        if asked == 0:
            return 0
        grace = asked or (_KUBERNETES_GRACE if own is None else own)
        return max(1, min(grace, int(self._context.deadline.remaining)))

    def _evict_self(self, pod: Pod) -> None:
        """One try, which the runner repeats: a budget may hold this pod as any other.

        The result is delivered by then, so the agent's log is all that can tell.
        """
        outcome = evict(self._context.kube, pod, grace_for(pod, self._parameters.grace_period))
        said = f"HTTP {outcome.code} {outcome.detail}"
        if outcome.verdict in (Verdict.REFUSED, Verdict.FORBIDDEN):
            raise TaskFailed(said)
        if outcome.verdict not in (Verdict.ACCEPTED, Verdict.GONE):
            raise TemporaryError(said, outcome.pause)
        _logger.info("this agent's own pod %s: %s", pod.name, said)

    def _daemonset_exists(self, pod: Pod) -> bool:
        """Whether the pod's DaemonSet is still there; one we may not read counts as there (rule 5)."""
        owner = pod.controller
        if owner is None:
            return False
        if not owner.api_version.startswith("apps/"):
            return True  # Of another group, such as OpenKruise's: not ours to look up, and it comes back as well.
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
        for pause in _UNCORDON_PAUSES:
            threading.Event().wait(pause)  # The task's own time may be up.
            try:
                self._context.nodes.set_unschedulable(self._name, False, self._node.metadata.uid)
                self._context.account.say(f"node {self._name} uncordoned again (uncordon_on_failure)")
                return
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


def _still_has(plan: Plan) -> str:
    names = [pod.name for pod in plan.to_evict]
    return f"Node still has {len(names)} pods ({few(names, _NAMED)})"
