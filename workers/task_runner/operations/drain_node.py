"""drain_node: cordon, then evict every pod that may go, until a list shows that it is empty.

The story of ``run``: find the node, list and judge its pods, refuse or cordon, remove tier by tier, look once more.
The rules are numbered in docs/tasks.md.
"""

from __future__ import annotations

import logging
from urllib.parse import quote

from shared.basics.errors import PermanentError, TemporaryError
from shared.basics.timing import Backoff
from shared.kube.errors import NotFound
from shared.kube.evictions import Outcome, Verdict, delete, evict
from shared.kube.nodes import Node
from shared.kube.objects import Meta, Struct
from shared.kube.pods import Pod, Pods, on_node
from shared.kube.reads import Resource
from shared.schemas.parameters import DrainNode
from workers.task_runner.leaving.listing import Listing
from workers.task_runner.leaving.plan import LOOKED_UP, Controller, Fate, Plan, controller_key, has_emptydir, plan
from workers.task_runner.leaving.rehearsal import rehearse
from workers.task_runner.leaving.removal import Manner, Removal, few, grace_for
from workers.task_runner.operations.forecast import forecast
from workers.task_runner.operations.node import cordon, find_node, read_node, uncordon
from workers.task_runner.operations.operation import Absent, Operation, instead_of
from workers.task_runner.operations.volumes import await_detach, check_access
from workers.task_runner.work.context import Context, TaskFailed
from workers.task_runner.work.room import Room
from workers.task_runner.work.view import Interest

_CORDONED = "cordoned_by_us"
"""Note of the journal: whether the node was schedulable before this task. While it is missing, nothing is touched."""

_NODE_UID = "node_uid"
"""Note of the journal: the node the task began on. After a restart another may have its name."""

_MACHINE = "provider_id"
"""Note of the journal: its machine, which may be registered under another UID by then."""

_KUBERNETES_GRACE = 30
"""Seconds a pod gets that does not say."""

_LATE_PODS = 1.0
"""Seconds after the cordon within which the scheduler may still bind a pod it had decided on."""

_LATE_ROUNDS = 5
"""Lists that may show more pods. Whoever binds pods to a cordoned node after that binds them for ever."""

_NAMED = 50
"""Pods that a line names before it counts the rest."""

_logger = logging.getLogger(__name__)


class _Owner(Struct, frozen=True):
    metadata: Meta


class DrainsNode(Operation[DrainNode]):
    """Empties the node: no evictable pod is left on it, and it takes no more."""

    def __init__(self, parameters: DrainNode, context: Context) -> None:
        super().__init__(parameters, context)
        self._name = parameters.node_name
        self._listing = Listing(Pods(context.kube), on_node(self._name))
        self._living: dict[Controller, bool] = {}
        self._node: Node | None = None
        self._removal: Removal | None = None

    async def run(self) -> None:
        context = self._context
        with context.shared.view.room(Interest("node", self._name), context.story.wake) as room:
            try:
                node = self._node = await self._find()
                context.obey(context.shared.owner.on_node(node))
                first = await self._plan(await self._listing.first(context, room))
                self._explain(first, node)
                context.progress.left = len(first.to_leave)
                self._refuse(first)
                if self._parameters.dry_run:
                    await forecast(node, len(first.to_evict), context)
                    await self._rehearse(first)
                    return
                if self._parameters.wait_for_volume_detach:
                    await check_access(context)
                await self._cordon(node)
                await self._finish(node, await self._empty(first, node, room))
            except Absent as gone:
                if self._removal is None:
                    context.account.say(f"node {self._name} is already gone{gone.instead}")
                else:
                    context.account.say(f"node {self._name} is gone{gone.instead}, and that is all a drain wants")

    async def _find(self) -> Node:
        notes = self._context.notes
        return await find_node(self._parameters, self._context, notes.get(_NODE_UID), notes.get(_MACHINE, ""))

    # -- before anything is touched -------------------------------------------------------------------

    async def _plan(self, pods: list[Pod]) -> Plan:
        for pod in pods:
            key = controller_key(pod)
            if key is not None and key not in self._living:
                self._living[key] = await self._lives(key)
        context = self._context
        own_uid, now = context.shared.settings.pod.uid, context.clock.now()
        protection = await context.patiently("read the marks of namespaces", context.shared.owner.protection)
        return plan(pods, self._parameters, own_uid, self._living, now, protection)

    async def _lives(self, controller: Controller) -> bool:
        """Whether the controller is still there; one we may not read counts as there (rule 5)."""
        namespace, kind, name, uid = controller
        path = f"/apis/apps/v1/namespaces/{quote(namespace)}/{LOOKED_UP[kind]}/{quote(name)}"
        owners = Resource(self._context.kube, path, _Owner)
        try:
            found = await self._context.patiently(
                f"get {kind} {namespace}/{name}",
                lambda: owners.decoded(self._context.kube.get(path), f"GET {path}"),
            )
        except NotFound:
            return False
        except PermanentError as error:
            self._context.account.note(f"{kind} {name} cannot be read, taken as there: {error}")
            return True
        return found.metadata.uid == uid or not uid

    def _explain(self, plan: Plan, node: Node) -> None:
        account = self._context.account
        leaving, staying = plan.to_leave, plan.of(Fate.SKIP)
        account.say(f"node {self._name}: {len(leaving)} pods to evict, {len(staying)} stay")
        if leaving and not node.is_ready:
            account.say(f"warning: node {self._name} is not Ready: its kubelet may never say that a pod has ended")
        for judgement in staying:
            account.note(f"{judgement.pod.name} stays: {judgement.why}")
        for judgement in [*plan.of(Fate.LAST), *plan.of(Fate.AWAIT), *plan.of(Fate.EVICT)]:
            if judgement.why:
                account.note(f"{judgement.pod.name}: {judgement.why}")
        losing = [pod.name for pod in plan.to_evict if has_emptydir(pod)]
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

    async def _rehearse(self, plan: Plan) -> None:
        """A dry run: what would become of each pod that would have to go."""
        parameters, account = self._parameters, self._context.account
        self._context.progress.phase = "dry run"
        for number, tier in enumerate(plan.tiers, 1):
            account.note(f"tier {number} of {len(plan.tiers)}")
            asked = [pod for pod in tier if pod.uid not in plan.unasked]
            if parameters.disable_eviction:
                for pod in asked:
                    account.note(f"{pod.name} would be deleted, past its budgets")
            else:
                await rehearse(asked, parameters.grace_period, self._context)
        account.say("dry run: nothing was touched")

    # -- the drain ------------------------------------------------------------------------------------

    async def _cordon(self, node: Node) -> None:
        self._context.progress.phase = "cordoning"
        cordoned, resumed = node.spec.unschedulable, _CORDONED in self._context.notes
        if cordoned and resumed:
            return
        if not resumed:
            context = self._context
            context.obey(await context.patiently("count the drain", context.shared.owner.begin_drain))
        # On record before the PATCH: after a crash nobody could tell who cordoned the node.
        noted = {_CORDONED: not cordoned, _NODE_UID: node.metadata.uid, _MACHINE: node.spec.provider_id}
        await self._context.remember("the cordon", **noted)
        if cordoned:
            self._context.account.say(f"node {self._name} was cordoned already")
            return
        await cordon(node, self._context)

    async def _empty(self, first: Plan, node: Node, room: Room) -> Plan:
        """Evict tier by tier, then whatever was bound late, until a list shows nothing is left (4, 9, 25).

        The plan that shows it.
        """
        context = self._context
        manner = Manner(self._send, self._parameters.eviction_interval_seconds, self._shortens)
        removal = self._removal = Removal(context, context.shared.view, room, self._listing, manner)
        settled = context.clock.monotonic() + _LATE_PODS
        current = first
        for _ in range(_LATE_ROUNDS):
            await removal.remove(current.tiers, current.unasked)
            if removal.refused and (left := await self.last_look()):
                raise TaskFailed(f"{left}: {'; '.join(removal.refused)}")
            context.progress.phase = "looking once more"
            await context.wait(settled - context.clock.monotonic())
            current = await self._plan(await self._listing.consistent(context, room))
            await self._still_cordoned(node, current)
            self._refuse(current)
            if not current.to_leave:
                return current
            context.account.say(f"{len(current.to_leave)} pods were bound late")
        raise TaskFailed(f"{_still_has(current)}: they keep being bound to it although it is cordoned")

    async def _still_cordoned(self, node: Node, plan: Plan) -> None:
        """Before it is called drained, or more pods are evicted: it must be our node still, and still take no more.

        Raises:
            Absent: it is gone, and these pods are another's.
            TaskFailed: evicting on would go round in circles.
        """
        seen = await read_node(self._name, self._context)
        if seen.metadata.uid != node.metadata.uid:
            raise instead_of(node, seen)
        if not seen.spec.unschedulable:
            left = f"{_still_has(plan)}: " if plan.to_leave else "the node is not drained: "
            raise TaskFailed(f"{left}somebody uncordoned it while it was drained")

    async def _finish(self, node: Node, last: Plan) -> None:
        staying = [judgement.pod for judgement in last.of(Fate.SKIP)]
        if self._parameters.wait_for_volume_detach:
            self._context.progress.phase = "waiting for volumes"
            await await_detach(self._context, self._name, staying)
        for own in last.of(Fate.LAST):
            self._context.account.say(f"{own.pod.name} is this agent: it is evicted once this result is delivered")
            self._context.afterwards.append(lambda pod=own.pod: self._evict_self(pod))  # type: ignore[misc]
        names = few([pod.name for pod in staying], _NAMED)
        self._context.account.say(f"node {self._name} is drained; staying: {names or 'none'}")
        await self._context.announce(node, "Drained", "Drained of all evictable pods")

    def _send(self, pod: Pod) -> Outcome:
        kube, parameters = self._context.kube, self._parameters
        if parameters.disable_eviction:
            return delete(kube, pod, self._grace_of_deletion(pod))
        return evict(kube, pod, grace_for(pod, parameters.grace_period))

    def _grace_of_deletion(self, pod: Pod) -> int:
        """What the task asks for, or the pod's own; bounded by what remains, and 0 only if asked for (rule 21)."""
        asked, own = self._parameters.grace_period, pod.spec.termination_grace_period_seconds
        if asked == 0:
            return 0
        grace = asked or (_KUBERNETES_GRACE if own is None else own)
        return max(1, min(grace, int(self._context.deadline.remaining)))

    def _shortens(self, pod: Pod) -> bool:
        """Whether deleting a pod that terminates already makes it end sooner: that is how a dead node is cleared."""
        left = pod.metadata.deletion_grace_period_seconds
        return self._parameters.disable_eviction and left is not None and self._grace_of_deletion(pod) < left

    async def _evict_self(self, pod: Pod) -> None:
        """One try, which is repeated: a budget may hold this pod as any other.

        The result is delivered by then, so the agent's log is all that can tell.
        """
        grace = grace_for(pod, self._parameters.grace_period)
        permit = await self._context.call(self._context.shared.owner.begin_eviction)
        if isinstance(permit, str):
            raise TemporaryError(permit)
        outcome = await self._context.call(lambda: evict(self._context.kube, pod, grace))
        said = f"HTTP {outcome.code} {outcome.detail}"
        if outcome.verdict in (Verdict.REFUSED, Verdict.FORBIDDEN):
            raise TaskFailed(said)
        if outcome.verdict not in (Verdict.ACCEPTED, Verdict.TERMINATING, Verdict.GONE):
            raise TemporaryError(said, outcome.pause)
        _logger.info("this agent's own pod %s: %s", pod.name, said)

    # -- when it ends early ---------------------------------------------------------------------------

    async def last_look(self, when: str = "") -> str | None:
        """A list, so that what is said to be left is left; each pod with its reason in the logs (rule 23)."""
        if self._parameters.dry_run:
            return "the dry run was not finished"
        try:
            node = self._node = await self._find()
        except Absent as gone:
            self._context.account.say(f"node {self._name} is gone{gone.instead}")
            return None
        current = await self._plan(await self._listing.consistent(self._context))
        left = [*current.to_leave, *(judgement.pod for judgement in current.of(Fate.REFUSE))]
        known = self._removal.described if self._removal else {}
        for pod in left:
            self._context.account.note(f"left: {known.get(pod.uid) or f'{pod.name} uid={pod.uid} not asked'}")
        if left:
            held = f"; {self._removal.blockers}" if self._removal and self._removal.blockers else ""
            return f"Node still has {len(left)} pods{when}{held}"
        if not node.spec.unschedulable:
            return "no evictable pod is left, but the node is not cordoned"
        self._context.account.say(f"node {self._name} is drained")
        return None

    async def take_back(self) -> None:
        """Uncordon where ``uncordon_on_failure`` asks for it and it was us; tried until it is done (rule 28).

        Not while the cluster's owner has paused all tasks: the answer must not wait for the end of that.
        """
        context = self._context
        if not (self._parameters.uncordon_on_failure and context.notes.get(_CORDONED)):
            return
        if rule := context.shared.paused():
            context.account.say(f"node {self._name} stays cordoned: paused by the cluster's owner: {rule}")
            return
        pauses = Backoff(0.2, 10.0)
        while True:
            try:
                node = await self._find()
                if node.spec.unschedulable:  # The cordon itself may be what failed.
                    await uncordon(node, context)
                    context.account.say(f"node {self._name} uncordoned again (uncordon_on_failure)")
                return
            except PermanentError as error:
                context.account.say(f"node {self._name} could not be uncordoned: {error}")
                return
            except TemporaryError as error:
                context.account.say(f"node {self._name} could not be uncordoned yet: {error}")
                await context.wait(pauses.pause())

    async def tell_failure(self, why: str) -> None:
        if self._node is not None and not self._parameters.dry_run:
            await self._context.announce(self._node, "DrainFailed", f"Not drained: {why}", warning=True)


def _still_has(plan: Plan) -> str:
    names = [pod.name for pod in plan.to_leave]
    return f"Node still has {len(names)} pods ({few(names, _NAMED)})"
