"""The operations: one for each task type, in one table."""

from __future__ import annotations

from typing import Any

from workers.task_runner.operations.cordon_node import Cordon, Uncordon
from workers.task_runner.operations.delete_pod import DeletesPod
from workers.task_runner.operations.drain_node import DrainsNode
from workers.task_runner.operations.label import LabelsNode, LabelsPod
from workers.task_runner.operations.operation import Operation
from workers.task_runner.operations.reschedule_pod import ReschedulesPod

OPERATIONS: dict[str, type[Operation[Any]]] = {
    "drain_node": DrainsNode,
    "cordon_node": Cordon,
    "uncordon_node": Uncordon,
    "label_node": LabelsNode,
    "label_pod": LabelsPod,
    "delete_pod": DeletesPod,
    "reschedule_pod": ReschedulesPod,
}
"""Task type to operation; the keys are those of shared.schemas.parameters.PARAMETERS (a test holds that)."""
