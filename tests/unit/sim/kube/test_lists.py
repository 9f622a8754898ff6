"""Lists: pages, continue tokens, versions of the past, selectors."""

from __future__ import annotations

from urllib.parse import quote

import pytest

from tests.sim.kube.cluster import Cluster
from tests.sim.kube.resources import Object
from tests.unit.sim.kube.conftest import Caller

PODS = "/api/v1/namespaces/shop/pods"


@pytest.fixture(autouse=True)
def _seven_pods(still: Cluster) -> None:
    for number in range(7):
        labels = {"number": str(number), "parity": "odd" if number % 2 else "even"}
        still.add_pod("shop", f"p{number}", node="node-1", labels=labels)


def names(body: Object) -> list[str]:
    return [item["metadata"]["name"] for item in body["items"]]


def test_items_carry_no_kind_but_the_list_does(ask: Caller) -> None:
    body = ask("GET", PODS).body
    assert (body["kind"], body["apiVersion"]) == ("PodList", "v1")
    assert sorted(body["items"][0]) == ["metadata", "spec", "status"]


def test_pages_are_of_one_moment(ask: Caller, still: Cluster) -> None:
    first = ask("GET", f"{PODS}?limit=3").body
    assert first["metadata"]["remainingItemCount"] == 4
    still.add_pod("shop", "p25", node="node-1")
    ask("DELETE", f"{PODS}/p3?gracePeriodSeconds=0")
    second = ask("GET", f"{PODS}?limit=3&continue={first['metadata']['continue']}").body
    assert names(second) == ["p3", "p4", "p5"]
    assert second["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]
    last = ask("GET", f"{PODS}?limit=3&continue={second['metadata']['continue']}").body
    assert names(last) == ["p6"]
    assert "continue" not in last["metadata"]


def test_selected_pages_do_not_count_what_remains(ask: Caller) -> None:
    metadata = ask("GET", f"{PODS}?limit=2&labelSelector=parity=odd").body["metadata"]
    assert "continue" in metadata
    assert "remainingItemCount" not in metadata


def test_an_expired_token_brings_one_that_goes_on_inconsistently(ask: Caller, still: Cluster) -> None:
    token = ask("GET", f"{PODS}?limit=3").body["metadata"]["continue"]
    still.compact()
    still.add_pod("shop", "p25", node="node-1")
    still.compact()
    refused = ask("GET", f"{PODS}?limit=30&continue={token}")
    assert (refused.status, refused.body["reason"]) == (410, "Expired")
    assert refused.body["message"].startswith("The provided continue parameter is too old to display a consistent")
    rest = ask("GET", f"{PODS}?limit=30&continue={refused.body['metadata']['continue']}")
    assert names(rest.body) == ["p25", "p3", "p4", "p5", "p6"]


def test_version_zero_ignores_the_limit(ask: Caller) -> None:
    assert len(ask("GET", f"{PODS}?limit=3&resourceVersion=0").body["items"]) == 7


def test_an_exact_version_shows_the_past(ask: Caller, still: Cluster) -> None:
    version = ask("GET", PODS).body["metadata"]["resourceVersion"]
    still.add_pod("shop", "p9", node="node-1")
    exact = f"{PODS}?resourceVersionMatch=Exact&resourceVersion={version}"
    assert len(ask("GET", exact).body["items"]) == 7
    still.compact()
    refused = ask("GET", exact)
    assert (refused.status, refused.body["message"]) == (
        410,
        "The resourceVersion for the provided list is too old.",
    )


def test_a_version_of_the_future_times_out(ask: Caller) -> None:
    answer = ask("GET", f"{PODS}?resourceVersion=999999")
    assert (answer.status, answer.headers["Retry-After"]) == (504, "1")
    assert answer.body["details"]["causes"][0]["reason"] == "ResourceVersionTooLarge"


@pytest.mark.parametrize(
    ("selector", "found"),
    [
        ("parity=odd", "135"),
        ("parity!=odd", "0246"),
        ("parity in (odd, x)", "135"),
        ("parity notin (odd)", "0246"),
        ("number>3", "456"),
        ("!parity", ""),
        ("nope!=x,number in (1,2)", "12"),
        ("parity=", ""),
    ],
)
def test_label_selectors(ask: Caller, selector: str, found: str) -> None:
    body = ask("GET", f"{PODS}?labelSelector={quote(selector)}").body
    assert names(body) == [f"p{number}" for number in found]


@pytest.mark.parametrize(
    ("selector", "message"),
    [
        ("a=b=c", "found '=', expected: ',' or 'end of string'"),
        ("a b", "unable to parse requirement: found 'b', expected: in, notin, =, ==, !=, gt, lt"),
        ("a in (b", "unable to parse requirement: found '', expected: ',' or ')'"),
        ("a=b,", "found '', expected: identifier after ','"),
        ("=x", "found '=', expected: !, identifier, or 'end of string'"),
    ],
)
def test_bad_label_selectors(ask: Caller, selector: str, message: str) -> None:
    answer = ask("GET", f"{PODS}?labelSelector={quote(selector)}")
    assert (answer.status, answer.body["reason"], answer.body["message"]) == (400, "BadRequest", message)


def test_field_selectors(ask: Caller, still: Cluster) -> None:
    still.add_pod("other", "elsewhere", node="node-1")
    assert names(ask("GET", "/api/v1/pods?fieldSelector=spec.nodeName=node-1,metadata.namespace=other").body) == [
        "elsewhere"
    ]
    assert len(ask("GET", "/api/v1/pods?fieldSelector=status.phase!=Running").body["items"]) == 0
    refused = ask("GET", "/api/v1/pods?fieldSelector=spec.colour=red")
    assert (refused.status, refused.body["message"]) == (400, "field label not supported: spec.colour")
    refused = ask("GET", "/apis/apps/v1/deployments?fieldSelector=spec.colour=red")
    known = 'only "metadata.name", "metadata.namespace"'
    assert refused.body["message"] == f'"spec.colour" is not a known field selector: {known}'


def test_unknown_paths(ask: Caller) -> None:
    assert ask("GET", "/api/v1/gadgets").body["details"] == {}
    answer = ask("GET", "/apis/gadgets.io/v1/gadgets")
    assert (answer.status, answer.body) == (404, "404 page not found\n")
    assert ask("PUT", "/api/v1/nodes", {}).status == 405
