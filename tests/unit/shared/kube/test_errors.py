"""Answers of the API server as our errors: the truth table."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.basics.errors import AgentError, PermanentError, TemporaryError
from shared.kube.errors import (
    Conflict,
    Forbidden,
    Gone,
    Invalid,
    KubeUnavailable,
    NotFound,
    Status,
    Unauthorized,
    error_of,
    parse_status,
    retry_after,
)


@pytest.mark.parametrize(
    ("code", "error"),
    [
        (400, Invalid),
        (401, Unauthorized),
        (403, Forbidden),
        (404, NotFound),
        (405, Invalid),
        (406, Invalid),
        (408, KubeUnavailable),
        (409, Conflict),
        (410, Gone),
        (413, Invalid),
        (415, Invalid),
        (422, Invalid),
        (429, KubeUnavailable),
        (500, KubeUnavailable),
        (502, KubeUnavailable),
        (503, KubeUnavailable),
        (504, KubeUnavailable),
    ],
)
def test_a_status_has_one_meaning(code: int, error: type[AgentError]) -> None:
    assert type(error_of(Status(code=code), "get node a")) is error


@pytest.mark.parametrize("error", [KubeUnavailable, Unauthorized, Gone])
def test_these_may_pass(error: type[AgentError]) -> None:
    assert issubclass(error, TemporaryError)


@pytest.mark.parametrize("error", [Forbidden, NotFound, Conflict, Invalid])
def test_these_will_not(error: type[AgentError]) -> None:
    assert issubclass(error, PermanentError)


def test_the_message_says_what_was_attempted_and_why_it_failed() -> None:
    assert str(error_of(Status(404, "NotFound", 'nodes "a" not found'), "get a")) == 'get a: 404 nodes "a" not found'
    assert str(error_of(Status(503, "ServiceUnavailable"), "get a")) == "get a: 503 ServiceUnavailable"
    assert str(error_of(Status(503), "get a")) == "get a: 503 without a reason"


def test_the_delay_goes_with_what_may_work_later() -> None:
    error = error_of(Status(429), "get a", 7)
    assert isinstance(error, KubeUnavailable)
    assert error.delay == 7


@pytest.mark.parametrize(
    ("text", "seconds"), [(None, None), ("1", 1), ("10", 10), ("-1", 0), ("nan", 0), ("soon", None), ("", None)]
)
def test_retry_after_is_seconds(text: str | None, seconds: float | None) -> None:
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
