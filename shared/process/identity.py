"""Which start of the agent this is."""

from __future__ import annotations

import os
import uuid

from shared.basics.timing import boot_id
from shared.process.age import start_ticks

_NAMESPACE = uuid.UUID("6f1c2a64-5f0b-4a0e-9a5e-0d4c5b1a7e11")


def instance_id(pod_uid: str | None = None, supervisord: int | None = None) -> str:
    """A UUID that is new with each start of supervisord and the same in all workers it starts.

    It is derived from what they share, their parent's pid and start time on this boot of the machine, so
    that a restarted worker finds it again and nothing has to be handed around. ``supervisord`` is its pid for
    those who are not its children.
    """
    parent = supervisord or os.getppid()
    return str(uuid.uuid5(_NAMESPACE, f"{boot_id()}/{pod_uid or ''}/{parent}/{start_ticks(parent)}"))
