"""Where the bundle's objects are: all that have a namespace are in one, the agent's own."""

from __future__ import annotations

from dataclasses import dataclass

ACCOUNT = "cloudoptim-agent"
"""Name of the ServiceAccount, and of most other objects."""

DEFAULT_NAMESPACE = "kube-system"

_RBAC = "/apis/rbac.authorization.k8s.io/v1"


@dataclass(frozen=True)
class Installation:
    """One agent's, by its namespace."""

    namespace: str = DEFAULT_NAMESPACE

    @property
    def core(self) -> str:
        return f"/api/v1/namespaces/{self.namespace}"

    @property
    def config_map(self) -> str:
        return f"{self.core}/configmaps/cloudoptim-client-config"

    @property
    def secret(self) -> str:
        return f"{self.core}/secrets/cloudoptim-client-secret"

    @property
    def deployment(self) -> str:
        return f"/apis/apps/v1/namespaces/{self.namespace}/deployments/{ACCOUNT}"

    @property
    def objects(self) -> tuple[tuple[str, str], ...]:
        """What else the checklist names: topic and path."""
        return (
            ("configmap", self.config_map),
            ("secret", self.secret),
            ("serviceaccount", f"{self.core}/serviceaccounts/{ACCOUNT}"),
            ("clusterrole", f"{_RBAC}/clusterroles/{ACCOUNT}"),
            ("clusterrolebinding", f"{_RBAC}/clusterrolebindings/{ACCOUNT}"),
        )

    @property
    def kubectl(self) -> str:
        """The beginning of a command that looks at it."""
        return f"kubectl -n {self.namespace}"
