"""Field by field what was agreed with Central: names and types of everything on the wire."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from shared.schemas.agent import Deregistration, Heartbeat, Registration
from shared.schemas.events import EVENT_TYPES, ClusterEvent, EventBatch
from shared.schemas.metrics import ClusterMetrics
from shared.schemas.prices import Prices, QuotedPrice
from shared.schemas.tasks import Task, TaskResult

MOMENT = "2026-03-01T12:00:00Z"

TASK: dict[str, Any] = {
    "task_id": "t1",
    "cluster_id": "demo",
    "task_type": "drain_node",
    "parameters": {"node_name": "node-1"},
    "priority": 5,
    "deadline": MOMENT,
    "created_at": MOMENT,
}

FIELDS: dict[type[BaseModel], list[str]] = {
    Task: [*TASK, "signature"],
    TaskResult: ["task_id", "status", "logs", "executed_at", "duration_seconds", "error"],
    Registration: [
        "cluster_id",
        "instance_id",
        "agent_version",
        "timestamp",
        "kubernetes_version",
        "provider",
        "region",
        "node_count",
        "task_types",
    ],
    Deregistration: ["cluster_id", "instance_id", "timestamp", "reason"],
    Heartbeat: [
        "cluster_id",
        "instance_id",
        "agent_version",
        "timestamp",
        "status",
        "uptime_seconds",
        "k8s_api_connected",
        "workers",
        "tasks_in_progress",
        "queue_depth",
        "dropped",
        "dead_letters",
        "reasons",
    ],
    ClusterEvent: [
        "event_id",
        "event_type",
        "severity",
        "reason",
        "message",
        "kind",
        "namespace",
        "name",
        "uid",
        "node_name",
        "owner",
        "count",
        "first_seen",
        "last_seen",
        "details",
    ],
    EventBatch: ["cluster_id", "events"],
    Prices: ["prices"],
    QuotedPrice: ["instance_type", "region", "capacity", "dollars_per_hour"],
}


@pytest.mark.parametrize("model", FIELDS, ids=lambda model: model.__name__)
def test_a_body_has_exactly_the_agreed_fields(model: type[BaseModel]) -> None:
    assert list(model.model_fields) == FIELDS[model]


def test_a_sample_begins_with_the_agreed_fields_and_has_all_of_section_5() -> None:
    fields = list(ClusterMetrics.model_fields)
    assert fields[:11] == [
        "cluster_id",
        "timestamp",
        "node_count",
        "spot_node_count",
        "on_demand_node_count",
        "total_cpu_cores",
        "total_memory_gb",
        "allocated_cpu_cores",
        "allocated_memory_gb",
        "pod_count",
        "current_cost_per_hour",
    ]
    section_5 = {
        "ready_node_count",
        "not_ready_node_count",
        "nodes_by_instance_type",
        "nodes_by_zone",
        "cpu_utilization_percent",
        "memory_utilization_percent",
        "running_pod_count",
        "pending_pod_count",
        "failed_pod_count",
        "limit_cpu_cores",
        "limit_memory_gb",
        "spot_cost_per_hour",
        "on_demand_cost_per_hour",
        "cost_per_hour_by_instance_type",
    }
    assert section_5 <= set(fields)


def test_a_task_is_read_as_central_sends_it() -> None:
    task = Task.model_validate({**TASK, "news": "of a later version"})
    assert task.deadline == datetime(2026, 3, 1, 12, 0, tzinfo=timezone.utc)
    assert task.parameters == {"node_name": "node-1"}


@pytest.mark.parametrize("field", TASK)
def test_no_field_of_a_task_may_be_missing(field: str) -> None:
    with pytest.raises(ValidationError, match=field):
        Task.model_validate({key: value for key, value in TASK.items() if key != field})


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("task_id", ""),
        ("task_id", "x" * 257),
        ("task_id", 7),
        ("cluster_id", None),
        ("task_type", ["drain_node"]),
        ("parameters", "node-1"),
        ("priority", 0),
        ("priority", 11),
        ("priority", "high"),
        ("deadline", "tomorrow"),
        ("created_at", None),
    ],
)
def test_a_malformed_field_of_a_task_is_refused(field: str, value: Any) -> None:
    with pytest.raises(ValidationError, match=field):
        Task.model_validate({**TASK, field: value})


@pytest.mark.parametrize("status", ["success", "failed", "timeout"])
def test_a_result_has_one_of_three_statuses(status: Any) -> None:
    now = datetime(2026, 3, 1, 12, 0, tzinfo=timezone.utc)
    result = TaskResult(task_id="t1", status=status, logs="", executed_at=now, duration_seconds=1.5)
    assert result.model_dump(mode="json") == {
        "task_id": "t1",
        "status": status,
        "logs": "",
        "executed_at": "2026-03-01T12:00:00.000Z",
        "duration_seconds": 1.5,
        "error": None,
    }
    with pytest.raises(ValidationError):
        TaskResult.model_validate({**result.model_dump(), "status": "cancelled"})


def test_there_are_four_types_of_events_and_one_of_ours() -> None:
    agreed = ("pod_scheduling_failed", "node_not_ready", "pod_evicted", "oom_killed")
    assert (*agreed, "node_disruption_notice") == EVENT_TYPES
