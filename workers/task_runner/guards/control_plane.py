"""Nodes of the control plane: refused unless the owner allows them.

By the labels kubeadm and the distributions set
(https://kubernetes.io/docs/reference/labels-annotations-taints/#node-role-kubernetes-io-control-plane); the second
is its name before Kubernetes 1.24.
"""

from __future__ import annotations

from dataclasses import dataclass

from workers.task_runner.guards.law import NodeAsked

ROLES = ("node-role.kubernetes.io/control-plane", "node-role.kubernetes.io/master")


@dataclass(frozen=True)
class ControlPlane:
    """``allowed``: ALLOW_CONTROL_PLANE_NODES."""

    allowed: bool

    def refusal(self, subject: NodeAsked) -> str | None:
        role = next((role for role in ROLES if role in subject.labels), None)
        if role is None or self.allowed:
            return None
        return (
            f"node {subject.name} is of the control plane ({role}), and the cluster's owner has not set"
            " ALLOW_CONTROL_PLANE_NODES"
        )
