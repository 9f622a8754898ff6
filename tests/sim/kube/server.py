"""The API itself: who asks, may they, and which part answers."""

from __future__ import annotations

import sys
import time
import traceback
from collections.abc import Callable

import msgspec

from tests.sim.kube import bodies, deletes, discovery, evictions, lists, routes, tables, watches, writes
from tests.sim.kube.access import Access, Ask
from tests.sim.kube.admission import Admission, Admit
from tests.sim.kube.audit import Audit, Entry
from tests.sim.kube.faults import Fault, Faults
from tests.sim.kube.patches import JSON, MERGE, STRATEGIC
from tests.sim.kube.resources import METRICS, PODS, REVIEWS, SELF_REVIEWS, Object, Resource
from tests.sim.kube.status import ApiError, details, no_such_path, success
from tests.sim.kube.store import Store, Stored, encode
from tests.sim.kube.usage import Usage
from tests.sim.kube.wire import Request, Response
from tests.sim.kube.writes import Target

_NOT_FOUND = Response(404, b"404 page not found\n", "text/plain; charset=utf-8", {"X-Content-Type-Options": "nosniff"})
_WRITE_SECONDS = 0.001
"""What a write to etcd takes at least."""
_BROWSERS = ("curl/", "Wget/", "Mozilla/")
"""User agents that get indented JSON."""


class Api:
    """Answers requests from a store. One instance serves every connection."""

    def __init__(self, store: Store, access: Access, usage: Usage, bookmark_interval: float = 60.0) -> None:
        self.store, self.access, self.usage = store, access, usage
        self.bookmark_interval = bookmark_interval
        self.admission = Admission(store)
        self.faults, self.audit = Faults(), Audit()
        self.between: list[Callable[[], object]] = []
        """What happens between an eviction's judgement of its budget and its write to it, one at a time."""
        self.control: Callable[[Request], Response] | None = None
        self.address = ""
        self.minor = discovery.NEWEST

    def handle(self, request: Request) -> Response:
        if self.control is not None and request.path.startswith("/sim/"):
            return self.control(request)
        route, user, code = routes.read(request), "", 500
        try:
            user = self.access.user(request.headers.get("authorization", ""))
            fault = self.faults.meet(route.ask, request.path)
            response = _faulty(fault, route.ask) if fault is not None else None
            if response is None:
                self.access.check(user, route.ask)
                response = self._answer(request, route, user)
            code = response.status
        except ApiError as refusal:
            response, code = _refusal(refusal), refusal.code
        except watches.Cut:
            code = 0
            raise
        except Exception as error:  # a bug in the simulator must not look like a lost connection
            traceback.print_exc(file=sys.stderr)
            causes: Object = {"causes": [{"message": str(error)}]}
            response = _json(500, ApiError(500, "InternalError", f"Internal error occurred: {error}", causes).body())
        finally:
            self._record(user, route.ask, request.path, code)
        if response.body and request.headers.get("user-agent", "").startswith(_BROWSERS):
            response = _indented(response)
        return response

    def _record(self, user: str, ask: Ask, path: str, code: int) -> None:
        place = (ask.group, ask.resource, ask.subresource, ask.namespace, ask.name)
        self.audit.add(Entry(time.time(), user, ask.verb, *place, code, path))

    def _answer(self, request: Request, route: routes.Route, user: str) -> Response:
        if not route.ask.resource:
            return self._about(request.path.rstrip("/") or "/")
        if route.ask.group == "metrics.k8s.io" and (gap := self._metrics_gap(route.version)):
            return gap
        if not routes.known_group(route.ask.group):
            return _NOT_FOUND
        resource, ask = routes.resolve(route), route.ask
        show = _shown_as(request)
        if resource in METRICS:
            return self._metrics(resource, ask, request)
        if resource in (SELF_REVIEWS, REVIEWS):
            review = self.access.review(user, resource.kind, bodies.read(request, resource.kind, resource.api_version))
            return _json(201, review)
        namespace = ask.namespace if resource.namespaced and ask.namespace else None
        target = Target(resource, namespace, ask.name, ask.subresource)
        if ask.verb == "watch":
            return self._watch(target, request, show)
        if ask.verb == "list":
            options = lists.parse_options(resource, request.query)
            page = lists.page(self.store, resource, namespace, options)
            if show is None:
                return Response(200, page.document(resource))
            return _json(200, show(resource, page.items, page.metadata))
        if ask.verb == "get":
            return _object(200, writes.existing(self.store, target), show)
        admit = self.admission.judge(user, ask, route.version, "dryRun" in request.query)
        return self._write(target, ask.verb, request, show, admit)

    def _write(self, target: Target, verb: str, request: Request, show: _Show | None, admit: Admit) -> Response:
        if target.subresource == "eviction":
            body = bodies.read(request, "Eviction", "policy/v1")
            return _json(201, evictions.evict(self.store, target, body, request.query, admit, self._meanwhile))
        if verb in ("delete", "deletecollection"):
            return self._delete(target, verb, request, show, admit)
        option = {"create": "CreateOptions", "update": "UpdateOptions", "patch": "PatchOptions"}[verb]
        dry_run = writes.dry_run_asked(option, [v for v in (request.query.get("dryRun"),) if v])
        if verb == "patch":
            kind = request.headers.get("content-type", "").partition(";")[0].strip()
            if kind not in (JSON, MERGE, STRATEGIC):
                raise ApiError(415, "UnsupportedMediaType", "415: Unsupported Media Type", {})
            return _object(200, writes.patch(self.store, target, kind, request.body, dry_run, admit), show)
        body = bodies.read(request, target.resource.kind, target.resource.api_version)
        if verb == "create":
            return _object(201, writes.create(self.store, target, body, dry_run, admit), show)
        return _object(200, writes.replace(self.store, target, body, dry_run, admit), show)

    def _meanwhile(self) -> None:
        """The time that others have between an eviction's read and its write."""
        if self.between:
            self.between.pop(0)()
        time.sleep(_WRITE_SECONDS)

    def _delete(self, target: Target, verb: str, request: Request, show: _Show | None, admit: Admit) -> Response:
        options = deletes.delete_options(bodies.read_options(request), request.query)
        if verb == "deletecollection":
            selection = lists.parse_options(target.resource, {**request.query, "limit": ""})
            found = lists.page(self.store, target.resource, target.namespace, selection)
            for stored in found.items:
                deletes.delete(self.store, Target(target.resource, stored.namespace, stored.name), options, admit)
            return Response(200, found.document(target.resource))
        deleted = deletes.delete(self.store, target, options, admit)
        metadata = deleted.object["metadata"]
        if target.resource is PODS or "deletionTimestamp" in metadata:
            return _object(200, deleted, show)
        about = details(deleted.name, target.resource.group, target.resource.plural)
        return _json(200, success(details={**about, "uid": metadata["uid"]}))

    def _watch(self, target: Target, request: Request, show: _Show | None) -> Response:
        resource = target.resource
        options = lists.parse_options(resource, {**request.query, "watch": "1"})
        if options.initial_events and self.minor < discovery.WATCH_LIST:
            raise lists.no_initial_events()
        version = options.version
        if version and not version.isdigit():
            why = f'Invalid value: "{version}": strconv.ParseUint: parsing "{version}": invalid syntax'
            raise ApiError(500, "", f"resourceVersion: {why}")

        def document(stored: Stored) -> bytes:
            assert show is not None
            return encode(show(resource, [stored], {"resourceVersion": str(stored.revision)}))

        watch = watches.Watch(self.store, resource, target.namespace, options, document if show else None)
        return Response(200, stream=watch.stream(self.bookmark_interval))

    def _metrics_gap(self, version: str) -> Response | None:
        """metrics-server is not installed, does not serve this version, or is down."""
        if version not in self._metrics_versions():
            return _NOT_FOUND
        if self.usage.state == "down":
            return Response(503, b"service unavailable\n", "text/plain; charset=utf-8")
        return None

    def _metrics_versions(self) -> tuple[str, ...]:
        """What the aggregator lists: also while metrics-server is down, as long as it is registered."""
        return () if self.usage.state == "absent" else self.usage.versions

    def _metrics(self, resource: Resource, ask: Ask, request: Request) -> Response:
        namespace = ask.namespace or None
        if ask.verb == "get":
            return _json(200, self.usage.one(resource, namespace, ask.name))
        options = lists.parse_options(resource, request.query)
        return _json(200, self.usage.listed(resource, namespace, options))

    def _about(self, path: str) -> Response:
        """Everything that is not an object: discovery, version, health."""
        parts = path.strip("/").split("/")
        if parts[0] in ("healthz", "readyz", "livez"):
            return Response(200, b"ok", "text/plain; charset=utf-8", {"X-Content-Type-Options": "nosniff"})
        if parts[:2] == ["apis", "metrics.k8s.io"] and len(parts) > 2 and (gap := self._metrics_gap(parts[2])):
            return gap
        found: Object | None = None
        if path == "/version":
            found = discovery.version(self.minor)
        elif path == "/api":
            found = discovery.core_versions(self.address)
        elif path == "/apis":
            found = discovery.groups(self._metrics_versions())
        elif parts[0] == "api" and len(parts) == 2:
            found = discovery.resources("", parts[1])
        elif parts[0] == "apis" and len(parts) == 2:
            found = discovery.find_group(parts[1], self._metrics_versions())
        elif parts[0] == "apis" and len(parts) == 3:
            found = discovery.resources(parts[1], parts[2])
        if found is None and parts[0] in ("api", "apis") and len(parts) > 1 and routes.known_group(_group(parts)):
            raise no_such_path()
        return _json(200, found) if found is not None else _NOT_FOUND


def _group(parts: list[str]) -> str:
    return parts[1] if parts[0] == "apis" else ""


_Show = Callable[[Resource, list[Stored], Object], Object]


def _shown_as(request: Request) -> _Show | None:
    """How the Accept header wants objects: as a Table, as metadata only, or (None) as they are."""
    ranges = [part.strip() for part in request.headers.get("accept", "*/*").split(",")]
    include = request.query.get("includeObject", "Metadata")
    for media in ranges:
        kind, *parameters = [part.strip() for part in media.split(";")]
        form = dict(parameter.partition("=")[::2] for parameter in parameters).get("as", "")
        if kind == "application/json" and form == "Table":
            return lambda resource, items, metadata: tables.table(resource, items, metadata, include)
        if kind == "application/json" and form == "PartialObjectMetadata":
            return lambda resource, items, metadata: tables.partial(items[0])
        if kind == "application/json" and form == "PartialObjectMetadataList":
            return lambda resource, items, metadata: tables.partial_list(items, metadata)
        if kind in ("application/json", "application/*", "*/*", "application/vnd.kubernetes.protobuf", ""):
            return None
    message = f"406: Not Acceptable\n\nAvailable representations: {bodies.MEDIA_TYPES}"
    raise ApiError(406, "NotAcceptable", message, {})


def _json(status: int, body: Object) -> Response:
    return Response(status, encode(body) + b"\n")


def _object(status: int, stored: Stored, show: _Show | None) -> Response:
    if show is None:
        return Response(status, stored.document + b"\n")
    return _json(status, show(stored.resource, [stored], {"resourceVersion": str(stored.revision)}))


def _refusal(refusal: ApiError) -> Response:
    response = _json(refusal.code, refusal.body())
    if refusal.retry_after:
        response.headers["Retry-After"] = str(refusal.retry_after)
    response.headers.update(refusal.headers)
    return response


def _faulty(fault: Fault, ask: Ask) -> Response | None:
    if fault.delay:
        time.sleep(fault.delay)
    if fault.close:
        raise watches.Cut
    if fault.status is None:
        return None
    if isinstance(fault.body, str):
        return Response(fault.status, fault.body.encode(), "text/plain; charset=utf-8", dict(fault.headers))
    body = fault.body(ask) if callable(fault.body) else fault.body
    return Response(fault.status, encode(body), headers=dict(fault.headers))


def _indented(response: Response) -> Response:
    if response.content_type == "application/json":
        response.body = msgspec.json.format(response.body, indent=2) + b"\n"
    return response
