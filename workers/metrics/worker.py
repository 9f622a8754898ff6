"""The metrics worker's loops: two watches that keep the totals, and the samples made of them."""

from __future__ import annotations

import json
import logging
import threading
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from shared.basics import telemetry
from shared.basics.errors import AgentError, TemporaryError
from shared.basics.timing import iso, jittered
from shared.kube.connection import Kube, optional
from shared.kube.nodes import Node, Nodes
from shared.kube.pods import PATH as PODS
from shared.kube.reads import Resource
from shared.kube.resources import GIB
from shared.kube.usage import Used
from shared.process.lifecycle import Loop, Process, Worker
from shared.process.state import CLUSTER, DRAIN_ENDED, PRICES_WANTED
from shared.queue.messages import METRICS
from shared.schemas.metrics import ClusterMetrics
from workers.metrics.allocation.costs import CostKeeper
from workers.metrics.billed import billed_pods
from workers.metrics.capacity import Identity, Kind
from workers.metrics.devices import ClaimedDevices
from workers.metrics.follow import Followed
from workers.metrics.nodes import NodeTotals
from workers.metrics.pods import Pod, PodTotals
from workers.metrics.pricing.kept import CENTRAL, LIVE, KeptQuotes
from workers.metrics.pricing.owner import OwnerFile
from workers.metrics.pricing.pricer import Sources, price
from workers.metrics.pricing.quotes import NO_QUOTES
from workers.metrics.pricing.table import PriceTable
from workers.metrics.sample import take_sample
from workers.metrics.usage import NodeUsage

_SELF_CHECK_SECONDS = 600.0

_NOT_LISTED = "the first lists of nodes and pods are not complete"

_FIRST_TOTALS = 1.0
"""Seconds between two looks whether the first lists are complete."""

_WANTED = 200
"""Types of machines that prices are asked for."""

_logger = logging.getLogger(__name__)


class NotCounted(TemporaryError):
    """The first list is not complete, so there are no totals yet."""


class MetricsWorker(Worker):
    """One watch for nodes, one for pods, one sample a minute."""

    def __init__(self, process: Process, kube: Kube) -> None:
        settings = process.settings.metrics
        self._process = process
        self._kube = kube
        self._nodes: Followed[Node] = Followed(
            "nodes",
            Nodes(kube),
            lambda: NodeTotals(settings.spot_label),
            NodeTotals.put,
            lambda totals, node: totals.remove(node.metadata.name),
        )
        self._pods: Followed[Pod] = Followed(
            "pods",
            Resource(kube, PODS, Pod),
            lambda: PodTotals(process.settings.costs.labels),
            PodTotals.put,
            PodTotals.remove,
        )
        self._usage = NodeUsage(kube)
        self._devices = ClaimedDevices(kube)
        self._costs = CostKeeper(process, kube, self._pods)
        self._table = PriceTable()
        self._owner = OwnerFile(settings.prices_file)
        self._kept = KeptQuotes(process.queue)
        self._sampling = threading.Lock()
        self._kubernetes_version: str | None = None
        self._drains_seen = 0

    def loops(self) -> list[Loop]:
        loops = [
            Loop("nodes", lambda: self._follow(self._nodes, "nodes"), patience=150.0),
            Loop("pods", lambda: self._follow(self._pods, "pods"), patience=150.0),
            Loop("sample", self.sample, patience=120.0),
            Loop("drains", self.await_drain, patience=90.0),
            Loop("self-check", self.check, patience=300.0),
            Loop("devices", self._devices.read, patience=150.0),
        ]
        if self._process.settings.costs.usage:
            loops.append(Loop("pod-usage", self._costs.measure, patience=150.0))
        return loops

    def _follow(self, followed: Followed[Any], name: str) -> float:
        return followed.follow(lambda: self._process.beats.expect(name, 150.0))

    def sample(self) -> float:
        """Put one sample on the queue; the seconds until the next."""
        if self._nodes.totals is None or self._pods.totals is None:
            telemetry.COLLECTIONS.labels("not_ready").inc()
            self._process.beats.wait("sample", _NOT_LISTED)
            return _FIRST_TOTALS
        try:
            self.put_sample()
        except AgentError:
            telemetry.COLLECTIONS.labels("failed").inc()
            raise
        telemetry.COLLECTIONS.labels("success").inc()
        return jittered(self._process.settings.metrics.interval_seconds, 0.05)

    def check(self) -> float:
        """Compare the totals with a count; the seconds until the next time."""
        if self._nodes.totals is None or self._pods.totals is None:
            self._process.beats.wait("self-check", _NOT_LISTED)
            return _SELF_CHECK_SECONDS
        for followed in (self._nodes, self._pods):
            followed.check(self._process.stop.wait)
        return jittered(_SELF_CHECK_SECONDS)

    def put_sample(self) -> None:
        """Make a sample of the totals as they are and put it on the queue.

        While stopping, nothing is waited for: the usage is that of the last sample.

        Raises:
            NotCounted: there are no totals yet.
            TemporaryError: the queue does not take it.
        """
        usage = self._usage.last if self._process.stop.is_set() else self._usage.read()
        with self._sampling:
            taken = self._take(usage)
            key = f"{self._process.instance_id}/{iso(taken.timestamp)}"
            self._process.queue.put(METRICS, [(key, taken.to_json())])
            if taken.cost_allocation is not None:
                self._costs.told()
            self._costs.show()
            self._tell_cluster()
        show(taken)

    def _take(self, usage: Mapping[str, Used]) -> ClusterMetrics:
        if self._nodes.totals is None or self._pods.totals is None:
            raise NotCounted("the cluster is not listed yet")
        settings, now = self._process.settings.metrics, self._process.clock.now()
        kept = self._kept.current(now.timestamp())
        sources = Sources(
            self._owner.current(),
            self._table,
            settings.spot_price_factor,
            kept.get(CENTRAL, NO_QUOTES),
            kept.get(LIVE, NO_QUOTES) if settings.live_prices else NO_QUOTES,
        )

        with self._nodes.lock, self._pods.lock:
            machines = self._nodes.totals.machines()
            prices = {name: price(node.identity, node.allocatable, sources) for name, node in machines.items()}
            billed = billed_pods(self._nodes.totals, self._pods.totals, self._table)
            provider = _commonest(record.identity.provider for record in self._nodes.totals.nodes.values())
            return take_sample(
                self._process.settings.agent.cluster_id,
                now,
                self._nodes.totals,
                self._pods.totals,
                usage,
                prices,
                self._table.as_of(provider or ""),
                billed,
                self._costs.divide(machines, prices, billed),
                self._devices.latest,
            )

    def _tell_cluster(self) -> None:
        """What the heartbeat worker wants to know (it asks the queue, not the API server)."""
        if self._kubernetes_version is None and not self._process.stop.is_set():
            self._kubernetes_version = self._ask_version()
        identities = [record.identity for record in self._nodes.totals.nodes.values()]
        facts = {
            "kubernetes_version": self._kubernetes_version,
            "provider": _commonest(what.provider for what in identities),
            "region": _commonest(what.region for what in identities),
            "node_count": len(identities),
        }
        self._process.queue.set_state({CLUSTER: facts, PRICES_WANTED: wanted_prices(identities)})

    def _ask_version(self) -> str | None:
        try:
            with optional():
                version: str | None = json.loads(self._kube.get("/version")).get("gitVersion")
        except (AgentError, ValueError) as error:
            _logger.debug("the API server's version is not known: %s", error)
            return None
        return version

    def await_drain(self) -> float:
        """Wait for a drain to end and sample at once: that is when the totals have changed."""
        entries, version = self._process.queue.watch_state(DRAIN_ENDED, self._drains_seen, wait=20.0)
        first, self._drains_seen = self._drains_seen == 0, version
        if DRAIN_ENDED in entries and not first:
            _logger.info("a drain ended; sampling now")
            self.put_sample()
        return 0.0

    def close(self, pod_stopping: bool) -> None:
        """The final snapshot, when the pod stops."""
        if not pod_stopping:
            return
        try:
            self.put_sample()
            _logger.info("final snapshot queued")
        except AgentError as error:
            _logger.warning("no final snapshot: %s", error)


def wanted_prices(identities: Iterable[Identity]) -> list[str]:
    """``provider/region/type`` of the machines, those that most have first: others may be left out."""
    counted = Counter(
        f"{what.provider}/{what.region}/{what.instance_type}"
        for what in identities
        if what.kind is Kind.MACHINE and what.instance_type
    )
    return [name for name, _ in counted.most_common(_WANTED)]


def _commonest(values: Any) -> str | None:
    counted = Counter(value for value in values if value)
    return counted.most_common(1)[0][0] if counted else None


def show(taken: ClusterMetrics) -> None:
    """The sample as Prometheus gauges."""
    telemetry.NODES.labels("spot").set(taken.spot_node_count)
    telemetry.NODES.labels("on_demand").set(taken.on_demand_node_count - taken.unknown_capacity_node_count)
    telemetry.NODES.labels("unknown").set(taken.unknown_capacity_node_count)
    telemetry.NODES_READY.set(taken.ready_node_count)
    for phase in ("running", "pending", "failed", "succeeded", "unknown"):
        telemetry.PODS.labels(phase).set(getattr(taken, f"{phase}_pod_count"))
    telemetry.CPU.labels("allocatable").set(taken.total_cpu_cores)
    telemetry.CPU.labels("requested").set(taken.allocated_cpu_cores)
    telemetry.CPU.labels("limit").set(taken.limit_cpu_cores)
    telemetry.MEMORY.labels("allocatable").set(taken.total_memory_gb * GIB)
    telemetry.MEMORY.labels("requested").set(taken.allocated_memory_gb * GIB)
    telemetry.MEMORY.labels("limit").set(taken.limit_memory_gb * GIB)
    telemetry.COST.labels("spot").set(taken.spot_cost_per_hour)
    telemetry.COST.labels("on_demand").set(taken.on_demand_cost_per_hour)
    telemetry.PRICED.clear()
    for source, count in taken.priced_node_count_by_source.items():
        telemetry.PRICED.labels(source).set(count)
    telemetry.UTILISATION.clear()
    for resource in ("cpu", "memory"):
        percent = getattr(taken, f"{resource}_utilization_percent")
        if percent is not None:
            telemetry.UTILISATION.labels(resource).set(percent / 100.0)
