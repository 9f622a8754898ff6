"""Namespaces and pods the owner protects: no task evicts, deletes or labels what is in them, whatever it asks."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from workers.task_runner.guards.law import PROTECTED, PodAsked


@dataclass(frozen=True)
class ProtectedNamespaces:
    """``names``: PROTECTED_NAMESPACES. The label of the namespace adds to them, or takes one out."""

    names: Collection[str]

    def refusal(self, subject: PodAsked) -> str | None:
        marked = subject.namespace_labels.get(PROTECTED)
        if marked == "true":
            return f"the cluster's owner protects namespace {subject.namespace}: it is labelled {PROTECTED}=true"
        if subject.namespace in self.names and marked != "false":
            return f"the cluster's owner protects namespace {subject.namespace}: it is in PROTECTED_NAMESPACES"
        return None


class ProtectedPods:
    """Needs no setting: the label on the pod is the rule."""

    def refusal(self, subject: PodAsked) -> str | None:
        if subject.labels.get(PROTECTED) == "true":
            return f"the owner protects pod {subject.namespace}/{subject.name}: it is labelled {PROTECTED}=true"
        return None
