"""The table of operations."""

from __future__ import annotations

from shared.schemas.parameters import PARAMETERS
from workers.task_runner.operations import OPERATIONS


def test_every_type_of_task_has_its_operation_and_no_other() -> None:
    assert OPERATIONS.keys() == PARAMETERS.keys()
