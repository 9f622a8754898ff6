"""What a law is: one question about one thing Central wants, answered by the rule that forbids it.

The shape is kured's ``pkg/blockers``: an interface of one method, a file for each law. Laws are pure: what they
judge is handed to them, and so are the limits and the time.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol, TypeVar

PROTECTED = "cloudoptim.io/protected"
"""Label of nodes, namespaces and pods: ``true`` keeps the agent away. On a namespace, ``false`` takes it out of
PROTECTED_NAMESPACES again."""

S_contra = TypeVar("S_contra", contravariant=True)
S = TypeVar("S")


class Law(Protocol[S_contra]):
    """One limit of the cluster's owner."""

    def refusal(self, subject: S_contra) -> str | None:
        """The sentence that refuses ``subject``: the rule, and that the owner set it. None when it may be."""
        ...


@dataclass(frozen=True)
class TaskAsked:
    """A task that Central wants begun."""

    task_type: str
    now: datetime


@dataclass(frozen=True)
class NodeAsked:
    """A node that a task would write to."""

    name: str
    labels: Mapping[str, str]


@dataclass(frozen=True)
class PodAsked:
    """A pod that a task would evict, delete or label."""

    namespace: str
    name: str
    labels: Mapping[str, str]
    namespace_labels: Mapping[str, str]


@dataclass(frozen=True)
class LabelsAsked:
    """Keys of labels that a task would change, of nodes or pods."""

    keys: Iterable[str]


def first(laws: Iterable[Law[S]], subject: S) -> str | None:
    """The first law's refusal; None when no law has any."""
    return next((said for law in laws if (said := law.refusal(subject))), None)
