"""Answers of the API server as our errors: the truth table."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.basics.errors import AgentError, PermanentError, TemporaryError
from shared.kube.errors import (
    Cause,
    Conflict,
    Denied,
    DeniedForNow,
    Details,
    Forbidden,
    Gone,
    Invalid,
    KubeUnavailable,
    NoSuchApi,
    NotFound,
    Status,
    Target,
    Unauthorized,
    Unclear,
    denier,
    error_of,
    parse_status,
    retry_after,
    target_of,
)

NODE = Target("nodes", "a")


def status(code: int, **fields: Any) -> Status:
    """A Status of the API server's."""
    return Status("Status", code, **fields)


def not_found(kind: str = "nodes", name: str = "a", message: str = 'nodes "a" not found') -> Status:
    return status(404, reason="NotFound", message=message, details=Details(name, kind))


@pytest.mark.parametrize(
    ("code", "error"),
    [
        (301, KubeUnavailable),
        (400, Invalid),
        (401, Unauthorized),
        (403, Forbidden),
        (404, Unclear),
        (405, Invalid),
        (406, Invalid),
        (408, KubeUnavailable),
        (409, Conflict),
        (410, Gone),
        (413, Invalid),
        (415, Invalid),
        (422, Invalid),
        (425, KubeUnavailable),
        (429, KubeUnavailable),
        (500, KubeUnavailable),
        (502, KubeUnavailable),
        (503, KubeUnavailable),
        (504, KubeUnavailable),
    ],
)
def test_a_status_has_one_meaning(code: int, error: type[AgentError]) -> None:
    assert type(error_of(status(code), "get node a", NODE)) is error


@pytest.mark.parametrize("code", [400, 403, 404, 405, 409, 413, 422])
def test_whoever_does_not_speak_like_an_api_server_refuses_nothing_for_good(code: int) -> None:
    """A proxy's page, whatever its code."""
    assert type(error_of(parse_status(code, b"<html>default backend"), "get node a", NODE)) is Unclear


# -- rule 26: what proves absence -------------------------------------------------------------------


def test_26_the_api_servers_own_words_about_the_very_object_prove_that_it_is_gone() -> None:
    assert type(error_of(not_found(), "get node a", NODE)) is NotFound


@pytest.mark.parametrize(
    "answer",
    [
        not_found(name="b"),
        not_found(kind="pods"),
        not_found(kind="poddisruptionbudgets"),
        status(404, reason="NotFound", message="the server could not find the requested resource", details=Details()),
        status(404, reason="NotFound", message='nodes "a" not found'),
        msgspec.structs.replace(not_found(), kind="Error"),
        msgspec.structs.replace(not_found(), reason="Forbidden"),
        Status(code=404, message="default backend - 404"),
    ],
)
def test_26_anything_else_with_code_404_proves_nothing(answer: Status) -> None:
    assert type(error_of(answer, "get node a", NODE)) is Unclear


@pytest.mark.parametrize("code", [400, 401, 403, 404, 409, 410, 422, 429])
@pytest.mark.parametrize(
    ("said", "who"),
    [
        ('admission webhook "guard.example.com" denied the request: nodes "a" not found', "webhook guard.example.com"),
        (
            "nodes \"a\" is forbidden: ValidatingAdmissionPolicy 'guard' with binding 'b' denied request: no",
            "policy guard",
        ),
    ],
)
def test_26_a_denial_is_one_whatever_its_code_and_is_quoted(code: int, said: str, who: str) -> None:
    error = error_of(status(code, reason="NotFound", message=said, details=Details("a", "nodes")), "patch node a", NODE)
    assert type(error) is (DeniedForNow if code in (401, 404, 409, 410, 429) else Denied)
    assert said in str(error)
    assert denier(said) == who


def test_a_whole_collection_that_is_not_found_is_an_api_that_is_not_served() -> None:
    page = parse_status(404, b"404 page not found")
    assert type(error_of(page, "list nodes", target_of("/apis/metrics.k8s.io/v1beta1/nodes"))) is NoSuchApi


@pytest.mark.parametrize(
    ("path", "target"),
    [
        ("/api/v1/nodes", None),
        ("/api/v1/nodes/a", Target("nodes", "a")),
        ("/api/v1/pods", None),
        ("/api/v1/namespaces", None),
        ("/api/v1/namespaces/shop", Target("namespaces", "shop")),
        ("/api/v1/namespaces/shop/pods", None),
        ("/api/v1/namespaces/shop/pods/web-0", Target("pods", "web-0")),
        ("/api/v1/namespaces/shop/pods/web-0/eviction", Target("pods", "web-0")),
        ("/apis/apps/v1/namespaces/shop/daemonsets/a%2Fb", Target("daemonsets", "a/b")),
        ("/apis/apps/v1/daemonsets", None),
        ("/version", None),
    ],
)
def test_the_object_that_a_path_names(path: str, target: Target | None) -> None:
    assert target_of(path) == target


def test_a_uid_that_is_anothers_is_a_conflict_by_its_cause() -> None:
    """A PATCH that names another uid changes a field that is immutable."""
    details = Details("a", "Node", [Cause("FieldValueInvalid", "field is immutable", "metadata.uid")])
    assert type(error_of(status(422, reason="Invalid", details=details), "patch node a", NODE)) is Conflict


@pytest.mark.parametrize("error", [KubeUnavailable, Unclear, NoSuchApi, Unauthorized, Gone])
def test_these_may_pass(error: type[AgentError]) -> None:
    assert issubclass(error, TemporaryError)


@pytest.mark.parametrize("error", [Forbidden, Denied, NotFound, Conflict, Invalid])
def test_these_will_not(error: type[AgentError]) -> None:
    assert issubclass(error, PermanentError)


def test_the_message_says_what_was_attempted_and_why_it_failed() -> None:
    assert str(error_of(not_found(), "get a", NODE)) == 'get a: 404 nodes "a" not found'
    assert str(error_of(status(503, reason="ServiceUnavailable"), "get a")) == "get a: 503 ServiceUnavailable"
    assert str(error_of(Status(code=503), "get a")) == "get a: 503 without a reason"


def test_the_delay_goes_with_what_may_work_later() -> None:
    error = error_of(Status(code=429), "get a", delay=7)
    assert isinstance(error, KubeUnavailable)
    assert error.delay == 7


@pytest.mark.parametrize(
    ("text", "seconds"),
    [(None, None), ("1", 1), ("10", 10), ("-1", 0), ("nan", None), ("soon", None), ("", None)]
    + [("86400", 60), ("inf", 60)],
)
def test_14_retry_after_is_seconds_and_a_minute_at_most(text: str | None, seconds: float | None) -> None:
    assert retry_after({} if text is None else {"Retry-After": text}) == seconds


def test_a_status_is_read_with_its_causes() -> None:
    body = {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": "Cannot evict pod",
        "reason": "TooManyRequests",
        "details": {"causes": [{"reason": "DisruptionBudget", "message": "The budget"}], "retryAfterSeconds": 10},
        "code": 429,
    }
    status = parse_status(429, json.dumps(body).encode())
    assert (status.code, status.reason, status.message) == (429, "TooManyRequests", "Cannot evict pod")
    assert status.has_cause("DisruptionBudget")
    assert not status.has_cause("NamespaceTerminating")
    assert status.details is not None
    assert status.details.retry_after_seconds == 10


@pytest.mark.parametrize("details", ['"details":null', '"details":{}', '"details":{"causes":null}'])
def test_a_status_may_have_no_causes(details: str) -> None:
    status = parse_status(500, b'{"kind":"Status","reason":null,%b}' % details.encode())
    assert status.causes == []
    assert not status.has_cause("DisruptionBudget")


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"Too many requests, please try again later.\n", "Too many requests, please try again later."),
        (b"", ""),
        (b"<html>\n <body> 502", "<html> <body> 502"),
        (b'"a string"', '"a string"'),
        (b"\xff\xfe", "\ufffd\ufffd"),
        (b"[" * 10_000, "[" * 300),
        (b"x" * 10_000, "x" * 300),
    ],
    ids=["throttled", "empty", "html", "string", "bytes", "deep", "long"],
)
def test_a_body_that_is_no_status_becomes_the_message(body: bytes, message: str) -> None:
    assert parse_status(429, body) == Status(code=429, message=message)


@given(st.integers(100, 599), st.binary(max_size=200))
def test_no_answer_is_too_odd(code: int, body: bytes) -> None:
    assert isinstance(error_of(parse_status(code, body), "get a"), (TemporaryError, PermanentError))
