"""Nodes the owner labelled as protected: they are neither cordoned nor drained, uncordoned nor labelled."""

from __future__ import annotations

from workers.task_runner.guards.law import PROTECTED, NodeAsked


class ProtectedNodes:
    """Needs no setting: the label on the node is the rule."""

    def refusal(self, subject: NodeAsked) -> str | None:
        if subject.labels.get(PROTECTED) == "true":
            return f"the cluster's owner protects node {subject.name}: it is labelled {PROTECTED}=true"
        return None
