"""What each answer of Central means: the truth table."""

from __future__ import annotations

import re
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from requests.structures import CaseInsensitiveDict

from shared.basics.api_key import ApiKey
from shared.basics.errors import AgentError, AuthenticationError, PermanentError, TemporaryError
from shared.central.identity import Caller
from shared.central.verdicts import (
    LONGEST_RETRY_AFTER,
    Answer,
    NotOffered,
    NotUnderstood,
    TooLarge,
    Unchanged,
    Unclear,
    error_of,
    retry_after,
)
from tests.sim.agent import ROOT
from tests.unit.conftest import NOON, FakeClock

CALLS = ("tasks", "result", "metrics", "events", "heartbeat", "register", "deregister", "prices", "stream")
KEYED = ("register", "heartbeat", "tasks")
OPTIONAL = ("register", "deregister", "prices")


def verdict(call: str, status: int) -> type[AgentError] | None:
    error = error_of(call, Answer(status))
    return type(error) if error is not None else None


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_2xx_is_no_error(call: str, status: int) -> None:
    assert verdict(call, status) is None


@pytest.mark.parametrize("call", CALLS)
def test_401_speaks_of_the_key_wherever_it_comes(call: str) -> None:
    assert verdict(call, 401) is AuthenticationError


@pytest.mark.parametrize("call", CALLS)
def test_403_speaks_of_the_key_on_register_heartbeat_and_tasks_only(call: str) -> None:
    """Elsewhere it may be some proxy's opinion of one body, and is tried again."""
    assert verdict(call, 403) is (AuthenticationError if call in KEYED else TemporaryError)


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("status", [404, 405, 501])
def test_a_central_without_registration_is_fine(call: str, status: int) -> None:
    """And as for the calls that every Central has, it may be an ingress that speaks while Central is rolled out."""
    assert verdict(call, status) is (NotOffered if call in OPTIONAL else TemporaryError)


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("status", [402, 406, 408, 411, 415, 418, 425, 429, 451, 499, 500, 502, 503, 504, 599])
def test_whatever_else_is_said_may_work_later(call: str, status: int) -> None:
    """It need not be Central who says it: a result must not be given up for a proxy's mood."""
    error = error_of(call, Answer(status))
    assert isinstance(error, TemporaryError)
    assert isinstance(error, NotUnderstood) == (status == 415)


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("status", [400, 409, 410, 422])
def test_refused_is_refused_for_good(call: str, status: int) -> None:
    assert verdict(call, status) is PermanentError


PAGE = b"<!doctype html><title>Access denied</title>"


def answered(status: int, content_type: str, body: bytes) -> Answer:
    headers = CaseInsensitiveDict({"content-type": content_type} if content_type else {})
    return Answer.of(Caller(ApiKey("demo-key"), "instance-1"), status, headers, body)


@pytest.mark.parametrize(
    ("content_type", "body", "central"),
    [
        ("application/json", b'{"error": "no such task"}', True),
        ("application/problem+json; charset=utf-8", b'{"title": "Conflict"}', True),
        ("Application/JSON", b' [1, "two"] ', True),
        ("", b'{"error": "no such task"}', True),
        ("", b"", True),
        ("text/html", b"", True),
        ("text/html", b" \r\n", True),
        ("text/html", PAGE, False),
        ("text/html; charset=utf-8", b"{}", False),
        ("text/plain", b"default backend - 404", False),
        ("application/json", PAGE, False),
        ("application/json", b'{"error": "no such', False),
        ("", b"no such task", False),
        ("", b"[" * 100_000, False),
        ("", b"\xff\xfe", False),
    ],
)
def test_central_speaks_json_or_says_nothing(content_type: str, body: bytes, central: bool) -> None:
    assert answered(409, content_type, body).by_central is central


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("status", [400, 409, 410, 422])
def test_what_something_before_central_refuses_may_work_later(call: str, status: int) -> None:
    """A CDN's page buried six of six results in a minute."""
    error = error_of(call, answered(status, "text/html", PAGE))
    assert type(error) is Unclear
    assert str(error) == f"something before Central answered {status} to {call}: {PAGE.decode()}"


@pytest.mark.parametrize(("page", "certain"), [(PAGE, False), (b'{"error": "unknown key"}', True), (b"", True)])
def test_only_central_is_certain_of_a_key_a_size_or_a_call_it_does_not_have(page: bytes, certain: bool) -> None:
    refused, large, not_offered = (
        error_of(call, answered(status, "", page))
        for call, status in (("tasks", 401), ("result", 413), ("register", 404))
    )
    assert isinstance(refused, AuthenticationError)
    assert isinstance(large, TooLarge)
    assert isinstance(not_offered, NotOffered)
    assert (refused.certain, large.certain, not_offered.certain) == (certain,) * 3


@pytest.mark.parametrize("call", CALLS)
def test_413_is_the_size_which_can_be_helped(call: str) -> None:
    assert verdict(call, 413) is TooLarge


def test_304_says_of_prices_that_they_are_the_same_and_of_what_is_sent_nothing() -> None:
    assert verdict("prices", 304) is Unchanged
    assert verdict("result", 304) is TemporaryError


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed_and_says_what_to_set(call: str, status: int) -> None:
    error = error_of(call, Answer(status, {"Location": "https://new.example.com"}))
    assert type(error) is TemporaryError
    assert str(error).endswith("it redirects to https://new.example.com, set CENTRAL_SERVER_URL to that")


def test_not_offered_and_too_large_are_permanent() -> None:
    assert issubclass(NotOffered, PermanentError)
    assert issubclass(TooLarge, PermanentError)


def test_the_message_names_call_status_and_what_was_said() -> None:
    said = error_of("events", Answer(422, said='{"error":"count"}'))
    assert str(said) == 'Central answered 422 to events: {"error":"count"}'
    assert str(error_of("events", Answer(503))) == "Central answered 503 to events"
    assert str(error_of("tasks", Answer(401))) == (
        "Central answered 401 to tasks; is the API key right, and for this cluster?"
    )


@pytest.mark.parametrize("status", [401, 403])
def test_an_authentication_error_knows_its_status(status: int) -> None:
    error = error_of("tasks", Answer(status))
    assert isinstance(error, AuthenticationError)
    assert error.status == status


@pytest.mark.parametrize("status", [403, 404, 408, 415, 425, 429, 500, 503])
def test_a_wish_for_patience_is_passed_on(status: int) -> None:
    error = error_of("events", Answer(status, {"Retry-After": "17"}))
    assert isinstance(error, TemporaryError)
    assert error.delay == 17


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        (None, None),
        ("", None),
        ("  ", None),
        ("soon", None),
        ("0", 0),
        ("7", 7),
        (" 7.5 ", 7.5),
        ("-3", 0),
        ("300", 300),
        ("86400", LONGEST_RETRY_AFTER),
        ("inf", LONGEST_RETRY_AFTER),
        ("nan", 0),
        ("Sun, 01 Mar 2026 12:00:42 GMT", 42),
        ("Sun, 01 Mar 2026 12:00:42 -0000", 42),
        ("Sun, 01 Mar 2026 14:00:42 +0200", 42),
        ("Sun, 01 Mar 2026 11:00:00 GMT", 0),
        ("Sun, 01 Mar 2037 11:00:00 GMT", LONGEST_RETRY_AFTER),
        ("Sun, 99 Mar 2026 11:00:00 GMT", None),
    ],
)
def test_retry_after_is_seconds_or_a_date_and_bounded(
    text: str | None, seconds: float | None, clock: FakeClock
) -> None:
    assert retry_after({} if text is None else {"Retry-After": text}, clock) == seconds


def test_dates_are_read_as_they_are_written(clock: FakeClock) -> None:
    assert retry_after({"Retry-After": format_datetime(NOON)}, clock) == 0


@given(st.text(max_size=40))
def test_no_header_is_too_odd(text: str) -> None:
    seconds = retry_after({"Retry-After": text}, FakeClock())
    assert seconds is None or 0 <= seconds <= LONGEST_RETRY_AFTER


@given(st.sampled_from(CALLS), st.integers(100, 999))
def test_every_status_has_one_meaning(call: str, status: int) -> None:
    error = error_of(call, Answer(status))
    assert (error is None) == (200 <= status < 300)
    assert error is None or isinstance(error, (TemporaryError, PermanentError, AuthenticationError))


def test_the_table_of_the_documentation_is_what_the_agent_does() -> None:
    """docs/central-api.md, call by call."""
    page = (ROOT / "docs" / "central-api.md").read_text()
    head, rows = re.findall(r"^(\| \| tasks .*)\n\|[-|]+\n((?:\|.*\n)+)", page, re.MULTILINE)[0]
    calls = [cell.strip().split(", ") for cell in head.strip("|").split("|")[1:]]
    means: dict[str, type[AgentError]] = {
        "key": AuthenticationError,
        "refused": PermanentError,
        "absent": NotOffered,
        "large": TooLarge,
        "again": TemporaryError,
    }
    seen = 0
    for row in rows.splitlines():
        statuses, *cells = (cell.strip() for cell in row.strip("|").split("|"))
        for status in map(int, statuses.split(", ")):
            for names, cell in zip(calls, cells, strict=True):
                for call in names:
                    assert type(error_of(call, Answer(status))) is means[cell], f"{status} to {call}"
                    seen += 1
    assert seen > 100
