"""Who asks, and what RBAC lets them do."""

from __future__ import annotations

import glob
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from tests.sim.kube.resources import Object
from tests.sim.kube.status import ApiError, Cause, details, forbidden, invalid, unauthorized

AGENT_ACCOUNT = ("kube-system", "cloudoptim-agent")
AGENT = f"system:serviceaccount:{AGENT_ACCOUNT[0]}:{AGENT_ACCOUNT[1]}"
ADMIN = "kubernetes-admin"
ANONYMOUS = "system:anonymous"

_PUBLIC_PATHS = ("/healthz", "/livez", "/readyz", "/version")
_AUTHENTICATED_PATHS = ("/api", "/apis", "/openapi")


@dataclass(frozen=True)
class Ask:
    """One request, in the words of RBAC. A request for no resource has a ``path`` only."""

    verb: str
    path: str = ""
    group: str = ""
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""

    @property
    def target(self) -> str:
        return f"{self.resource}/{self.subresource}" if self.subresource else self.resource


@dataclass(frozen=True)
class Grant:
    """A role given to a user, in one namespace or everywhere."""

    source: str
    rules: tuple[Object, ...]
    namespace: str | None = None

    def covers(self, ask: Ask) -> bool:
        if self.namespace is not None and ask.namespace != self.namespace:
            return False
        return any(_rule_covers(rule, ask) for rule in self.rules)


EVERYTHING = Grant("", ({"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]},))


def _rule_covers(rule: Object, ask: Ask) -> bool:
    def listed(key: str, *values: str) -> bool:
        return bool({*values, "*"} & set(rule.get(key) or ()))

    if not listed("verbs", ask.verb):
        return False
    if not ask.resource:
        return listed("nonResourceURLs", ask.path)
    names = rule.get("resourceNames")
    any_subresource = f"*/{ask.subresource}" if ask.subresource else ask.target
    return (
        listed("apiGroups", ask.group)
        and listed("resources", ask.target, any_subresource)
        and (not names or ask.name in names)
    )


@dataclass
class Access:
    """Tokens and grants. While there are no tokens, everyone is the administrator."""

    tokens: dict[str, str] = field(default_factory=dict)
    grants: list[Grant] = field(default_factory=list)
    """What the agent's service account may do; all other named users are administrators."""

    def user(self, authorization: str) -> str:
        """The user behind an Authorization header; an unknown token is a 401."""
        if not self.tokens:
            return ADMIN
        scheme, _, token = authorization.partition(" ")
        if not token or scheme.lower() != "bearer":
            return ANONYMOUS
        user = self.tokens.get(token.strip())
        if user is None:
            raise unauthorized()
        return user

    def decide(self, user: str, ask: Ask) -> tuple[bool, str]:
        """Whether ``user`` may, and by which binding."""
        if not ask.resource and ask.verb == "get":
            if ask.path.startswith(_PUBLIC_PATHS):
                return True, "public"
            if user != ANONYMOUS and ask.path.startswith(_AUTHENTICATED_PATHS):
                return True, "authenticated"
        if user not in (AGENT, ANONYMOUS):
            return True, ""
        if user == AGENT and ask.resource == "selfsubjectaccessreviews" and ask.verb == "create":
            return True, "authenticated"
        grant = next((grant for grant in self.grants if user == AGENT and grant.covers(ask)), None)
        return (True, grant.source) if grant else (False, "")

    def check(self, user: str, ask: Ask) -> None:
        if not self.decide(user, ask)[0]:
            raise _refused(user, ask)

    def review(self, user: str, kind: str, body: Object) -> Object:
        """The answer to a (Self)SubjectAccessReview."""
        spec = body.get("spec") or {}
        asked, path = spec.get("resourceAttributes"), spec.get("nonResourceAttributes")
        if (asked is None) == (path is None):
            why = "exactly one of nonResourceAttributes or resourceAttributes must be specified"
            cause = Cause("FieldValueInvalid", f"Invalid value: null: {why}", "spec.resourceAttributes")
            raise invalid(".authorization.k8s.io", "", [cause])
        subject = user if kind == "SelfSubjectAccessReview" else str(spec.get("user", ""))
        known = ("verb", "group", "resource", "subresource", "namespace", "name")
        ask = (
            Ask(**{key: str(asked.get(key, "")) for key in known})
            if asked is not None
            else Ask(str((path or {}).get("verb", "")), str((path or {}).get("path", "")))
        )
        allowed, reason = self.decide(subject, ask)
        status: Object = {"allowed": allowed, **({"reason": reason} if reason.startswith("RBAC") else {})}
        head = {"kind": kind, "apiVersion": "authorization.k8s.io/v1", "metadata": {}}
        return {**head, "spec": spec, "status": status}


def _refused(user: str, ask: Ask) -> ApiError:
    if not ask.resource:
        message = f'forbidden: User "{user}" cannot {ask.verb} path "{ask.path}"'
        refused = ApiError(403, "Forbidden", message, details())
    else:
        scope = f'in the namespace "{ask.namespace}"' if ask.namespace else "at the cluster scope"
        why = f'User "{user}" cannot {ask.verb} resource "{ask.target}" in API group "{ask.group}" {scope}'
        refused = forbidden(ask.group, ask.resource, ask.name, why)
    refused.headers = {"X-Content-Type-Options": "nosniff"}
    return refused


def load_documents(sources: Iterable[str | Path | Object]) -> list[Object]:
    """Kubernetes objects from parsed documents, YAML files, folders and glob patterns."""
    documents: list[Object] = []
    for source in sources:
        if isinstance(source, dict):
            documents.append(source)
            continue
        path = Path(source)
        files = sorted(path.glob("**/*.yaml")) if path.is_dir() else map(Path, sorted(glob.glob(str(source))))
        for file in files:
            documents += [document for document in yaml.safe_load_all(file.read_text()) if document]
    return documents


def grants_from(documents: Iterable[Object]) -> list[Grant]:
    """What the agent's account is bound to. Roles without any binding among the documents are all granted."""
    documents = list(documents)
    roles = {
        (d["kind"], d["metadata"]["name"]): tuple(d.get("rules") or ())
        for d in documents
        if d.get("kind") in ("ClusterRole", "Role")
    }
    bindings = [d for d in documents if d.get("kind") in ("ClusterRoleBinding", "RoleBinding")]
    if not bindings:
        return [Grant(f"RBAC: granted by {kind} {name}", rules) for (kind, name), rules in roles.items()]
    grants = []
    for binding in bindings:
        accounts = [(s.get("namespace"), s["name"]) for s in binding.get("subjects") or ()]
        role = binding["roleRef"]["kind"], binding["roleRef"]["name"]
        if AGENT_ACCOUNT not in accounts or role not in roles:
            continue
        metadata = binding["metadata"]
        of = f'of {role[0]} "{role[1]}" to ServiceAccount "{AGENT_ACCOUNT[1]}/{AGENT_ACCOUNT[0]}"'
        source = f'RBAC: allowed by {binding["kind"]} "{metadata["name"]}" {of}'
        namespace = metadata.get("namespace") if binding["kind"] == "RoleBinding" else None
        grants.append(Grant(source, roles[role], namespace))
    return grants
