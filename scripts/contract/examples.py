"""One example of each body, as docs/openapi.json and docs/asyncapi.json show it. Tests send them."""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]

_NOW = "2026-11-25T08:00:00.000Z"
_INSTANCE = "0b7f6c1e-5d4a-5c3b-9e2f-1a0d9c8b7e6f"
_NAMED: Json = {"node_name": "ip-10-0-1-77.ec2.internal"}
_POD: Json = {"namespace": "shop", "pod_name": "checkout-6d8f9c7b5-x2x9z"}


def task(task_type: str, parameters: Json, priority: int = 5) -> Json:
    return {
        "task_id": f"t-{task_type.replace('_', '-')}-1",
        "cluster_id": "prod-eu-1",
        "task_type": task_type,
        "parameters": parameters,
        "priority": priority,
        "deadline": "2026-11-25T09:00:00Z",
        "created_at": "2026-11-25T08:00:00Z",
    }


TASKS: dict[str, Json] = {
    "drain_node": task("drain_node", {**_NAMED, "grace_period": 60, "uncordon_on_failure": True}, priority=1),
    "cordon_node": task("cordon_node", _NAMED),
    "uncordon_node": task("uncordon_node", _NAMED),
    "label_node": task("label_node", {**_NAMED, "labels": {"team": "shop", "old": None}}),
    "label_pod": task("label_pod", {**_POD, "labels": {"tier": "web"}}),
    "delete_pod": task("delete_pod", _POD),
    "reschedule_pod": task("reschedule_pod", {**_POD, "grace_period": 30}),
}
"""By task type."""

PRICES: Json = {
    "prices": [
        {"instance_type": "m5.large", "region": "eu-west-1", "capacity": "on_demand", "dollars_per_hour": 0.061},
        {"instance_type": "m5.large", "region": None, "capacity": "spot", "dollars_per_hour": 0.034},
    ]
}
"""An answer of Central's."""

_COSTS: Json = {
    "basis": "requests",
    "usage_pod_count": 0,
    "nanodollars_per_hour": 192_000_000,
    "cpu_nanodollars_per_hour": 130_000_000,
    "memory_nanodollars_per_hour": 62_000_000,
    "accelerator_nanodollars_per_hour": 0,
    "idle_nanodollars_per_hour": 100_000_000,
    "system_nanodollars_per_hour": 12_000_000,
    "namespaces": [{"namespace": "shop", "nanodollars_per_hour": 80_000_000}],
    "other_namespaces": {"count": 0, "nanodollars_per_hour": 0},
    "owners": [
        {"namespace": "shop", "kind": "Deployment", "name": "checkout", "nanodollars_per_hour": 80_000_000},
    ],
    "other_owners": {"count": 0, "nanodollars_per_hour": 0},
    "labels": [
        {
            "label": "team",
            "values": [{"value": "shop", "nanodollars_per_hour": 80_000_000}],
            "other_values": {"count": 0, "nanodollars_per_hour": 0},
        }
    ],
}

BODIES: dict[str, Json] = {
    "result": {
        "task_id": "t-drain-node-1",
        "status": "success",
        "logs": "+0.00s drain_node begins\n+1.01s node ip-10-0-1-77.ec2.internal is drained",
        "executed_at": _NOW,
        "duration_seconds": 1.01,
        "error": None,
    },
    "metrics": {
        "cluster_id": "prod-eu-1",
        "timestamp": _NOW,
        "node_count": 2,
        "spot_node_count": 1,
        "on_demand_node_count": 1,
        "total_cpu_cores": 3.86,
        "total_memory_gb": 14.2,
        "allocated_cpu_cores": 1.5,
        "allocated_memory_gb": 4.0,
        "pod_count": 12,
        "current_cost_per_hour": 0.192,
        "ready_node_count": 2,
        "not_ready_node_count": 0,
        "unknown_capacity_node_count": 0,
        "virtual_node_count": 0,
        "kwok_node_count": 0,
        "accelerators_by_type": {},
        "claimed_devices_by_driver": None,
        "nodes_by_instance_type": {"m5.large": 2},
        "nodes_by_zone": {"eu-west-1a": 1, "eu-west-1b": 1},
        "cpu_utilization_percent": 21.5,
        "memory_utilization_percent": 40.2,
        "usage_node_count": 2,
        "running_pod_count": 11,
        "pending_pod_count": 1,
        "failed_pod_count": 0,
        "succeeded_pod_count": 0,
        "unknown_pod_count": 0,
        "limit_cpu_cores": 3.0,
        "limit_memory_gb": 6.0,
        "spot_cost_per_hour": 0.085,
        "on_demand_cost_per_hour": 0.107,
        "cost_per_hour_by_instance_type": {"m5.large": 0.192},
        "priced_node_count_by_source": {"table": 2},
        "billed_pod_count_by_source": {},
        "prices_as_of": "2026-11-01",
        "cost_allocation": _COSTS,
    },
    "events": {
        "cluster_id": "prod-eu-1",
        "events": [
            {
                "event_id": "5f0c5a2e6c0e4c559d0c3f7b7b8f7a11",
                "event_type": "oom_killed",
                "severity": "warning",
                "reason": "OOMKilled",
                "message": "a process of container app was killed for want of memory (exit code 1)",
                "kind": "Pod",
                "namespace": "shop",
                "name": "checkout-6d8f9c7b5-x2x9z",
                "uid": "7d1c1b0a-2f7e-4a53-8c8e-0d5a3f1b9c22",
                "node_name": "ip-10-0-1-77.ec2.internal",
                "owner": "Deployment/checkout",
                "count": 1,
                "first_seen": _NOW,
                "last_seen": _NOW,
                "details": {
                    "container": "app",
                    "exit_code": 1,
                    "restart_count": 3,
                    "memory_request": "128Mi",
                    "memory_limit": "256Mi",
                },
            }
        ],
    },
    "heartbeat": {
        "cluster_id": "prod-eu-1",
        "instance_id": _INSTANCE,
        "agent_version": "0.1.0",
        "timestamp": _NOW,
        "status": "healthy",
        "uptime_seconds": 3600.0,
        "k8s_api_connected": True,
        "workers": {"task-runner": "running", "metrics": "running"},
        "tasks_in_progress": 1,
        "queue_depth": {"results": 0, "events": 2, "metrics": 0},
        "dropped": {"results": 0, "events": 0, "metrics": 0},
        "dead_letters": {"results": 0, "events": 0, "metrics": 0},
        "reasons": [],
    },
    "register": {
        "cluster_id": "prod-eu-1",
        "instance_id": _INSTANCE,
        "agent_version": "0.1.0",
        "timestamp": _NOW,
        "kubernetes_version": "v1.36.2",
        "provider": "aws",
        "region": "eu-west-1",
        "node_count": 2,
        "task_types": ["cordon_node", "drain_node", "uncordon_node"],
    },
    "deregister": {
        "cluster_id": "prod-eu-1",
        "instance_id": _INSTANCE,
        "timestamp": _NOW,
        "reason": "SIGTERM",
    },
}
"""By operation."""

CANCEL: Json = {"type": "cancel", "task_id": "t-drain-node-1"}
