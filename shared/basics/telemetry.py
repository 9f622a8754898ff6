"""Every Prometheus metric the agent has, declared once, and snapshots of them that cross processes.

Each worker counts in its own process and publishes a snapshot as queue state; health merges the snapshots
(workers/health/exposition.py) and is the only one that speaks HTTP to Prometheus.
"""

from __future__ import annotations

from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics

disable_created_metrics()  # type: ignore[no-untyped-call]  # prometheus_client leaves it so

REGISTRY = CollectorRegistry(auto_describe=False)

_SECONDS_OF_TASKS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800)
_SECONDS_OF_CALLS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


MOST_SERIES = 100
"""Combinations of label values of one metric. All that come later are counted as "other": a snapshot has to fit into a
record of the queue's state, whatever the world answers, or the worker would be taken for silent."""

LONGEST_LABEL = 128
"""Characters of a label's value."""

_KNOWN_STATUS = frozenset(
    (200, 201, 202, 204, 301, 302, 307, 308, 400, 401, 403, 404, 405, 408, 409, 410, 413, 415, 422, 429)
    + (500, 501, 502, 503, 504)
)


def code(status: int) -> str:
    """An HTTP status as a label: as it is if it is a usual one, else its class. There are 900 of them."""
    return str(status) if status in _KNOWN_STATUS else f"{status // 100}xx"


class _Bounded:
    """Mixed into prometheus_client's metrics. The first label values that come are the ones that are kept apart."""

    _metrics: dict[tuple[str, ...], Any]

    def labels(self, *values: object) -> Any:
        texts = tuple(str(value)[:LONGEST_LABEL] for value in values)
        if texts not in self._metrics and len(self._metrics) >= MOST_SERIES:
            texts = ("other",) * len(texts)
        return super().labels(*texts)  # type: ignore[misc]


class _Counter(_Bounded, Counter):  # type: ignore[misc]
    pass


class _Gauge(_Bounded, Gauge):  # type: ignore[misc]
    pass


class _Histogram(_Bounded, Histogram):  # type: ignore[misc]
    pass


def _counter(name: str, doc: str, *labels: str) -> Counter:
    return _Counter(f"cloudoptim_{name}", doc, labels, registry=REGISTRY)


def _gauge(name: str, doc: str, *labels: str) -> Gauge:
    return _Gauge(f"cloudoptim_{name}", doc, labels, registry=REGISTRY)


def _histogram(name: str, doc: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
    return _Histogram(f"cloudoptim_{name}", doc, labels, buckets=buckets, registry=REGISTRY)


# Tasks (task-runner)
TASKS_RECEIVED = _counter("tasks_received", "Tasks received, repeats included.", "source")
TASKS_DROPPED = _counter("tasks_dropped", "Tasks received and not answered.", "reason")
TASKS = _counter("tasks", "Tasks answered.", "task_type", "status")
TASK_SECONDS = _histogram("task_duration_seconds", "Start to result.", _SECONDS_OF_TASKS, "task_type")
TASKS_IN_PROGRESS = _gauge("tasks_in_progress", "Tasks being executed.")
TASKS_WAITING = _gauge("tasks_waiting", "Tasks claimed and not started.")
TASK_AGE = _gauge("task_oldest_age_seconds", "Age of the longest running task.")
EVICTIONS = _counter("evictions", "Eviction requests by the API server's answer.", "code")
DELETIONS = _counter("deletions", "Deletions past all budgets (disable_eviction) by the API server's answer.", "code")
EVICTION_RATE = _gauge("eviction_rate", "Evictions a second that may go out: less while the API server is in trouble.")
PODS_LEFT = _gauge("drain_pods_remaining", "Pods running drains still wait for.")
PODS_BLOCKED = _gauge("drain_pods_blocked", "Pods of running drains that a disruption budget holds.")

# Metrics (metrics)
COLLECTIONS = _counter("metrics_collections", "Samples of the cluster's totals.", "result")
RELISTS = _counter("relists", "Full lists of a watched resource.", "resource", "reason")
SELF_CHECKS = _counter("metrics_self_checks", "Comparisons of the totals with a count.", "resource", "result")
CHANGES = _counter("watch_changes", "Changes received on a watch.", "resource")

# The cluster (metrics)
NODES = _gauge("cluster_nodes", "Nodes by how their capacity was bought.", "capacity")
NODES_READY = _gauge("cluster_nodes_ready", "Nodes that are Ready.")
PODS = _gauge("cluster_pods", "Pods by phase.", "phase")
CPU = _gauge("cluster_cpu_cores", "CPU allocatable, requested, and limited to.", "kind")
MEMORY = _gauge("cluster_memory_bytes", "Memory allocatable, requested, and limited to.", "kind")
UTILISATION = _gauge("cluster_utilization_ratio", "Usage over allocatable, where usage is known.", "resource")
COST = _gauge("cluster_cost_dollars_per_hour", "Current cost by how the capacity was bought.", "capacity")
NAMESPACE_COST = _gauge(
    "cluster_namespace_cost_dollars_per_hour", "Current cost by the namespace that causes it.", "workload_namespace"
)
PRICED = _gauge("cluster_priced_nodes", "Nodes by the source of their price.", "source")

# Events (event-watcher)
EVENTS_SEEN = _counter("events_observed", "Occurrences worth forwarding.", "event_type")
EVENTS_PUT = _counter("events_queued", "Events put on the queue after aggregation.", "event_type")
EVENTS_DROPPED = _counter("events_dropped", "Occurrences dropped in a storm.", "event_type")
EVENTS_PLACED = _counter("events_placed", "Failures to place a pod that were over before they were told.")
LOOKUPS = _counter("event_lookups", "Calls about an event that only look up what goes with it.", "result")
EVENTS_HISTORY = _counter("events_history", "Sights ruled out as older than the checkpoint.", "event_type")

# Uplink (heartbeat)
DELIVERIES = _counter("deliveries", "Deliveries to Central.", "topic", "result")
DEAD_LETTERS = _counter("dead_letters", "Messages Central refused for good.", "topic")
CENTRAL_CONNECTED = _gauge("central_connected", "1 while Central answers.")
REGISTERED = _gauge("registered", "1 once Central took the registration.")

# Connections (whoever has one)
CENTRAL_SECONDS = _histogram("central_request_duration_seconds", "Calls to Central.", _SECONDS_OF_CALLS, "call", "code")
KUBE_SECONDS = _histogram(
    "kube_request_duration_seconds", "Calls to the API server.", _SECONDS_OF_CALLS, "verb", "code"
)
KUBE_CONNECTED = _gauge("kube_connected", "1 while the API server answers this worker.", "worker")
STREAM_CONNECTED = _gauge("stream_connected", "1 while the task stream is open and alive.")
OBJECTS_SKIPPED = _counter("objects_skipped", "Objects of the API server that could not be read.", "resource")
RECONNECTS = _counter("reconnects", "Connections or watches opened again.", "target")
RETRIES = _counter("loop_failures", "Passes of a worker's loop that failed and were retried.", "loop")

CENTRAL_REFUSES = _gauge("central_refuses", "1 while Central answers this call, and refuses it.", "call")
BOUND_HITS = _counter("bound_hits", "What was refused or cut off at a bound of the queue or the endpoints.", "bound")
LOG_LINES_DROPPED = _counter("log_lines_dropped", "Log lines beyond what one source may write.")

# The agent itself (health)
INFO = _gauge("agent_info", "Always 1; the labels say which agent this is.", "version", "cluster_id")
READY = _gauge("agent_ready", "1 while /ready is true.")
HEALTHY = _gauge("agent_healthy", "1 while /health is healthy.")
WORKER_UP = _gauge("worker_up", "1 while the worker runs and is not hung.", "worker")
WORKER_MEMORY = _gauge("worker_memory_bytes", "Memory that is the worker's alone.", "worker")
WORKER_CPU = _counter("worker_cpu_seconds", "CPU time the worker used.", "worker")
WORKER_RESTARTS = _counter("worker_restarts", "Times a worker was seen with a new pid.", "worker")
QUEUE_DEPTH = _gauge("queue_depth", "Messages waiting to be delivered.", "topic")
QUEUE_BYTES = _gauge("queue_bytes", "Bytes of messages waiting to be delivered.", "topic")
QUEUE_AGE = _gauge("queue_oldest_age_seconds", "Age of the message at the front.", "topic")
QUEUE_DROPPED = _counter("queue_dropped", "Messages lost for want of room since the spool began.", "topic")


def snapshot() -> dict[str, list[tuple[str, dict[str, str], float]]]:
    """This process's samples, but for histograms that saw nothing: family -> [(sample name, labels, value)]."""
    families: dict[str, list[tuple[str, dict[str, str], float]]] = {}
    for family in REGISTRY.collect():
        samples = [(sample.name, dict(sample.labels), float(sample.value)) for sample in family.samples]
        if samples and (family.type != "histogram" or any(value for _, _, value in samples)):
            families[family.name] = samples
    return families
