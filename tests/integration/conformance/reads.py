"""Getting, listing, watching and asking for what is not there."""

from __future__ import annotations

from tests.integration.conformance.asking import Ask
from tests.integration.conformance.case import BUDGETS, DAEMONS, MINE, NODE, PODS, SETS, Case, a_node, made


def _get(name: str, path: str, **options: object) -> Case:
    return Case(name, Ask("GET", path, **options))  # type: ignore[arg-type]  # they are Ask's own


READS = (
    # -- what is not there ----------------------------------------------------------------------
    _get("get-node-missing", NODE),
    _get("get-pod-missing", MINE),
    _get("get-pod-of-missing-namespace", "/api/v1/namespaces/no-such/pods/p"),
    _get("get-namespace-missing", "/api/v1/namespaces/no-such"),
    _get("get-daemonset-missing", f"{DAEMONS}/none"),
    _get("get-replicaset-missing", f"{SETS}/none"),
    _get("get-budget-missing", f"{BUDGETS}/none"),
    _get("get-claim-missing", "/api/v1/namespaces/{ns}/persistentvolumeclaims/none"),
    _get("get-attachment-missing", "/apis/storage.k8s.io/v1/volumeattachments/none"),
    _get("get-status-missing", f"{MINE}/status"),
    _get("unknown-path", "/no/such/path"),
    _get("unknown-group", "/apis/none.example.com/v1/things"),
    _get("unknown-version", "/apis/apps/v9/deployments"),
    _get("unknown-core-version", "/api/v9/pods"),
    _get("unknown-version-itself", "/apis/apps/v9"),
    _get("unknown-group-itself", "/apis/none.example.com"),
    _get("unknown-resource", "/api/v1/things"),
    _get("unknown-resource-in-namespace", "/apis/apps/v1/namespaces/{ns}/things/x"),
    Case("unknown-subresource", Ask("GET", f"{MINE}/nothing"), (made(),)),
    _get("cluster-scoped-in-namespace", "/api/v1/namespaces/{ns}/nodes/x"),
    _get("namespaced-without-namespace", "/api/v1/pods/x"),
    # -- methods and media ----------------------------------------------------------------------
    Case("post-to-an-object", Ask("POST", NODE, {})),
    Case("put-to-a-collection", Ask("PUT", "/api/v1/nodes", {})),
    Case("patch-a-collection", Ask("PATCH", "/api/v1/nodes", {})),
    Case("delete-across-namespaces", Ask("DELETE", "/api/v1/pods")),
    Case("get-an-eviction", Ask("GET", f"{MINE}/eviction")),
    Case("accept-what-is-not-offered", Ask("GET", NODE, headers={"Accept": "text/html"})),
    _get("healthz", "/healthz"),
    _get("readyz", "/readyz"),
    # -- lists ----------------------------------------------------------------------------------
    _get("list-bad-label-selector", f"{PODS}?labelSelector=a%3D%3D%3Db"),
    _get("list-bad-field-selector", f"{PODS}?fieldSelector=spec.nodeName"),
    _get("list-unknown-field", f"{PODS}?fieldSelector=spec.color%3Dred"),
    _get("list-unknown-field-of-nodes", "/api/v1/nodes?fieldSelector=spec.nodeName%3Dx"),
    _get("list-bad-version", f"{PODS}?resourceVersion=abc"),
    _get("list-bad-limit", f"{PODS}?limit=many"),
    _get("list-bad-continue", f"{PODS}?limit=1&continue=!!!"),
    Case(
        "list-continue-with-version",
        Ask("GET", f"{PODS}?limit=1&continue={{next}}&resourceVersion=5"),
        (
            made(),
            made(name="{me}-2"),
            Ask("GET", f"{PODS}?limit=1&labelSelector=app%3D{{me}}", keep={"next": ("metadata", "continue")}),
        ),
    ),
    _get("list-of-the-future", f"{PODS}?resourceVersion=999999999"),
    _get("list-match-without-version", f"{PODS}?resourceVersionMatch=Exact"),
    _get("list-match-unknown", f"{PODS}?resourceVersionMatch=Sometimes&resourceVersion=5"),
    _get("list-exact-zero", f"{PODS}?resourceVersionMatch=Exact&resourceVersion=0"),
    _get("list-initial-events", f"{PODS}?sendInitialEvents=true&resourceVersionMatch=NotOlderThan"),
    _get("list-missing-namespace", "/api/v1/namespaces/no-such/pods"),
    Case(
        "list-one-of-two",
        Ask("GET", f"{PODS}?labelSelector=app%3D{{me}}&limit=1"),
        (made(), made(name="{me}-2")),
        ("items.0.metadata.name", "items.1", "metadata.remainingItemCount"),
    ),
    Case(
        "list-of-a-node-from-the-cache",
        Ask("GET", f"{PODS}?fieldSelector=spec.nodeName%3D{{node}},metadata.name%3D{{me}}&resourceVersion=0"),
        (made(),),
        ("metadata.remainingItemCount",),
    ),
    # -- watches --------------------------------------------------------------------------------
    _get("watch-bad-version", f"{PODS}?watch=1&resourceVersion=abc"),
    _get("watch-bad-selector", f"{PODS}?watch=1&labelSelector=a%3D%3D%3Db"),
    _get("watch-match-without-initial-events", f"{PODS}?watch=1&resourceVersionMatch=Exact&resourceVersion=5"),
    _get("watch-initial-events-without-match", f"{PODS}?watch=1&sendInitialEvents=true"),
    _get("watch-too-old", f"{PODS}?watch=1&resourceVersion=1", lines=True),
    Case(
        "watch-from-the-start",
        Ask("GET", f"{PODS}?watch=1&fieldSelector=metadata.name%3D{{me}}", lines=True),
        (made(),),
        ("type", "object.kind", "object.metadata.name"),
    ),
    # -- who may not ----------------------------------------------------------------------------
    _get("anonymous-get-node", "/api/v1/nodes/x", anonymous=True),
    _get("anonymous-list-nodes", "/api/v1/nodes", anonymous=True),
    _get("anonymous-watch-pods", "/api/v1/pods?watch=1", anonymous=True),
    _get("anonymous-list-pods-of-namespace", PODS, anonymous=True),
    _get("anonymous-get-daemonset", f"{DAEMONS}/x", anonymous=True),
    _get("anonymous-path", "/metrics", anonymous=True),
    Case("anonymous-evict", Ask("POST", f"{MINE}/eviction", {}, anonymous=True)),
    Case("anonymous-patch-node", Ask("PATCH", "/api/v1/nodes/x", {}, anonymous=True)),
    Case("anonymous-delete-pod", Ask("DELETE", MINE, anonymous=True)),
    Case("anonymous-delete-pods", Ask("DELETE", PODS, anonymous=True)),
    Case("anonymous-patch-pod-status", Ask("PATCH", f"{MINE}/status", {}, anonymous=True)),
    _get("bad-token", "/api/v1/nodes", anonymous=True, headers={"Authorization": "Bearer wrong"}),
    Case("one-node", Ask("GET", NODE), (a_node(),), ("metadata.name", "metadata.namespace", "metadata.generation")),
)
