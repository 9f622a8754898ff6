"""The operations: one for each task type, in one table."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from workers.task_runner.context import Context
from workers.task_runner.operations.cordon_node import cordon_node, uncordon_node
from workers.task_runner.operations.delete_pod import delete_pod
from workers.task_runner.operations.drain_node import drain_node
from workers.task_runner.operations.label import label_node, label_pod
from workers.task_runner.operations.reschedule_pod import reschedule_pod

OPERATIONS: dict[str, Callable[[Any, Context], None]] = {
    "drain_node": drain_node,
    "cordon_node": cordon_node,
    "uncordon_node": uncordon_node,
    "label_node": label_node,
    "label_pod": label_pod,
    "delete_pod": delete_pod,
    "reschedule_pod": reschedule_pod,
}
"""Task type to operation; the keys are those of shared.schemas.parameters.PARAMETERS (a test holds that)."""
