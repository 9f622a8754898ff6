"""What a request is about, read from its method and path as the API server reads it."""

from __future__ import annotations

from dataclasses import dataclass

from tests.sim.kube.access import Ask
from tests.sim.kube.resources import RESOURCES, Resource, find
from tests.sim.kube.status import method_not_allowed, no_such_path
from tests.sim.kube.wire import Request

_NAMED = {"GET": "get", "PUT": "update", "PATCH": "patch", "DELETE": "delete", "POST": "create"}
_COLLECTION = {"GET": "list", "POST": "create", "DELETE": "deletecollection", "PUT": "update", "PATCH": "patch"}


@dataclass(frozen=True)
class Route:
    ask: Ask
    version: str = ""
    watch_prefix: bool = False
    """The deprecated ``/api/v1/watch/...`` form."""


def read(request: Request) -> Route:
    """The parts of the path; says nothing yet about whether they exist."""
    parts = [part for part in request.path.split("/") if part]
    if len(parts) >= 3 and parts[0] == "api":
        group, version, rest = "", parts[1], parts[2:]
    elif len(parts) >= 4 and parts[0] == "apis":
        group, version, rest = parts[1], parts[2], parts[3:]
    else:
        return Route(Ask(request.method.lower(), request.path))
    watch_prefix = rest[0] == "watch" and len(rest) > 1
    rest = rest[1:] if watch_prefix else rest
    namespace = ""
    if rest[0] == "namespaces" and len(rest) > 1:
        namespace = rest[1]
        if len(rest) > 2 and rest[2] not in ("status", "finalize"):
            rest = rest[2:]
    resource, name, *subresource = [*rest, "", ""][: max(3, len(rest))]
    verb = (_NAMED if name else _COLLECTION).get(request.method, request.method.lower())
    watching = request.query.get("watch", "false").lower() not in ("false", "0")
    if watch_prefix or (verb == "list" and watching):
        verb = "watch"
    ask = Ask(verb, request.path, group, resource, "/".join(filter(None, subresource)), namespace, name)
    return Route(ask, version, watch_prefix)


def known_group(group: str) -> bool:
    return any(resource.group == group for resource in RESOURCES)


def resolve(route: Route) -> Resource:
    """The resource behind a route, if there is one and the method fits it."""
    ask = route.ask
    resource = find(ask.group, route.version, ask.resource)
    if resource is None:
        raise no_such_path()
    scoped = bool(ask.namespace) and resource.plural != "namespaces"
    if scoped != resource.namespaced and (scoped or ask.name):
        raise no_such_path()
    if ask.subresource:
        allowed = _subresource_verbs(resource, ask.subresource)
    elif ask.name:
        allowed = {"get", "update", "patch", "delete"} & set(resource.verbs)
        allowed |= {"watch"} if route.watch_prefix else set()
    else:
        allowed = {"list", "watch", "create", "deletecollection"} & set(resource.verbs)
        if resource.namespaced and not scoped:
            allowed -= {"create", "deletecollection"}
    if ask.verb not in allowed:
        raise method_not_allowed()
    return resource


def _subresource_verbs(resource: Resource, subresource: str) -> set[str]:
    if subresource == "status" and resource.status:
        return {"get", "update", "patch"}
    if (resource.plural, subresource) == ("pods", "eviction"):
        return {"create"}
    raise no_such_path()
