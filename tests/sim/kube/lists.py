"""Reading many objects: options, pages, continue tokens and which version of the past is shown."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from tests.sim.kube.resources import PODS, Object, Resource
from tests.sim.kube.selectors import Fields, parse_fields, parse_labels
from tests.sim.kube.status import ApiError, Cause, bad_request, expired, invalid, not_supported, version_too_large
from tests.sim.kube.store import Store, Stored, TooOld, decode, encode

_TOO_OLD = "The resourceVersion for the provided list is too old."
_CONTINUE_TOO_OLD = (
    "The provided continue parameter is too old to display a consistent list result. You can start a new list "
    "without the continue parameter, or use the continue token in this response to retrieve the remainder of the "
    "results. Continuing with the provided token results in an inconsistent list - objects that were created, "
    "modified, or deleted between the time the first chunk was returned and now may show up in the list."
)
_INCONSISTENT = -1
"""The resourceVersion of a token that goes on with the present."""


@dataclass(frozen=True)
class ListOptions:
    """The query of a list or watch, validated."""

    labels: Callable[[Object], bool] | None
    fields: Fields | None
    limit: int
    token: str
    version: str
    match: str
    watch: bool
    bookmarks: bool
    timeout: int | None
    initial_events: bool | None
    """None where nothing is said about them."""

    @property
    def selective(self) -> bool:
        return self.labels is not None or self.fields is not None

    def selects(self, obj: Object) -> bool:
        return (self.labels is None or self.labels(obj)) and (self.fields is None or self.fields(obj))


def parse_options(resource: Resource, query: Mapping[str, str]) -> ListOptions:
    labels, fields = query.get("labelSelector", ""), query.get("fieldSelector", "")
    options = ListOptions(
        labels=parse_labels(labels) if labels else None,
        fields=parse_fields(resource, fields) if fields else None,
        limit=_integer(query.get("limit")) or 0,
        token=query.get("continue", ""),
        version=query.get("resourceVersion", ""),
        match=query.get("resourceVersionMatch", ""),
        watch=_flag(query, "watch"),
        bookmarks=_flag(query, "allowWatchBookmarks"),
        timeout=_integer(query.get("timeoutSeconds")),
        initial_events=_flag(query, "sendInitialEvents") if "sendInitialEvents" in query else None,
    )
    _validate(options)
    return options


def _flag(query: Mapping[str, str], name: str) -> bool:
    return query.get(name, "false").lower() not in ("false", "0")


def _integer(text: str | None) -> int | None:
    if not text:
        return None
    try:
        return int(text)
    except ValueError:
        raise bad_request(f'strconv.ParseInt: parsing "{text}": invalid syntax') from None


def _validate(options: ListOptions) -> None:
    causes = []

    def forbid(field: str, why: str) -> None:
        causes.append(Cause("FieldValueForbidden", f"Forbidden: {why}", field))

    def unsupported(field: str, value: str, *supported: str) -> None:
        if value not in supported:
            causes.append(not_supported(field, value, *supported))

    match = "resourceVersionMatch"
    if options.watch:
        if options.initial_events is not None and options.match != "NotOlderThan":
            forbid(match, "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan")
        if options.match:
            if options.initial_events is None:
                forbid(match, f"{match} is forbidden for watch unless sendInitialEvents is provided")
            unsupported(match, options.match, "NotOlderThan")
            if options.token:
                forbid(match, f"{match} is forbidden when continue is provided")
    elif options.match:
        if not options.version:
            forbid(match, f"{match} is forbidden unless resourceVersion is provided")
        if options.token:
            forbid(match, f"{match} is forbidden when continue is provided")
        unsupported(match, options.match, "Exact", "NotOlderThan", "")
        if options.match == "Exact" and options.version == "0":
            forbid(match, f'{match} "exact" is forbidden for resourceVersion "0"')
    if options.initial_events is not None and not options.watch:
        forbid("sendInitialEvents", "sendInitialEvents is forbidden for list")
    if causes:
        raise invalid("ListOptions.meta.k8s.io", "", causes)


def no_initial_events() -> ApiError:
    """The refusal of sendInitialEvents where the API server cannot do it."""
    why = "Forbidden: sendInitialEvents is forbidden for watch unless the WatchList feature gate is enabled"
    return invalid("ListOptions.meta.k8s.io", "", [Cause("FieldValueForbidden", why, "sendInitialEvents")])


def parse_version(text: str) -> int:
    if text and not text.isdigit():
        why = f'Invalid value: "{text}": strconv.ParseUint: parsing "{text}": invalid syntax'
        raise bad_request(f"invalid resource version: resourceVersion: {why}")
    return int(text or 0)


@dataclass(frozen=True)
class Page:
    items: list[Stored]
    revision: int
    token: str = ""
    remaining: int = 0

    @property
    def metadata(self) -> Object:
        metadata: Object = {"resourceVersion": str(self.revision)}
        if self.token:
            metadata["continue"] = self.token
        if self.remaining:
            metadata["remainingItemCount"] = self.remaining
        return metadata

    def document(self, resource: Resource) -> bytes:
        head = encode({"kind": f"{resource.kind}List", "apiVersion": resource.api_version})
        items = b",".join([stored.raw for stored in self.items])
        return b'%s,"metadata":%s,"items":[%s]}\n' % (head[:-1], encode(self.metadata), items)


def page(store: Store, resource: Resource, namespace: str | None, options: ListOptions) -> Page:
    """The page ``options`` ask for."""
    with store.lock:
        revision, start = _moment(store, namespace, options)
        node = options.fields.exactly("spec.nodeName") if options.fields else None
        if resource is PODS and node and revision == store.revision and not start:
            on_node = sorted(store.pods.on_node(node), key=lambda stored: stored.key)
            found: Iterator[Stored] = (pod for pod in on_node if namespace in (None, pod.namespace))
            count = 0  # never shown with a selector
        else:
            try:
                found, count = store.page(resource, namespace, revision, start)
            except TooOld:
                raise _expired(options, namespace, start) from None
        limit = 0 if options.version == "0" and not options.token else max(0, options.limit)
        return _cut(found, count, limit, revision, namespace, options)


def _moment(store: Store, namespace: str | None, options: ListOptions) -> tuple[int, str]:
    """Which revision to show, and the key to start at."""
    asked = parse_version(options.version)
    if options.token:
        if asked:
            raise bad_request("specifying resource version is not allowed when using continue")
        revision, start = _decode_token(options.token, namespace)
        return (store.revision if revision == _INCONSISTENT else revision), start
    if asked > store.revision:
        raise version_too_large(asked, store.revision)
    exact = options.match == "Exact" or (options.limit > 0 and not options.match)
    return (asked if exact and asked else store.revision), ""


def _cut(
    found: Iterator[Stored],
    count: int,
    limit: int,
    revision: int,
    namespace: str | None,
    options: ListOptions,
) -> Page:
    items: list[Stored] = []
    for stored in found:
        if limit and len(items) == limit:  # more objects follow; whether they match is not looked at
            token = _token(revision, items[-1].key + "\0", namespace)
            return Page(items, revision, token, 0 if options.selective else count - limit)
        if not options.selective or options.selects(stored.object):
            items.append(stored)
    return Page(items, revision)


def _token(revision: int, key: str, namespace: str | None) -> str:
    start = key[len(namespace) :] if namespace else key
    body = encode({"v": "meta.k8s.io/v1", "rv": revision, "start": start})
    return base64.urlsafe_b64encode(body).rstrip(b"=").decode()


def _decode_token(token: str, namespace: str | None) -> tuple[int, str]:
    try:
        body = decode(base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True))
        revision, start = int(body["rv"]), str(body["start"])
    except (ValueError, KeyError, TypeError):
        why = "illegal base64 data at input byte 0"
        raise bad_request(f"invalid continue token: continue key is not valid: {why}") from None
    return revision, (f"{namespace}{start}" if namespace else start.lstrip("/"))


def _expired(options: ListOptions, namespace: str | None, start: str) -> ApiError:
    if not options.token:
        return expired(_TOO_OLD)
    return expired(_CONTINUE_TOO_OLD, _token(_INCONSISTENT, start, namespace))
