"""Each step to Central, broken on its own."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from pathlib import Path
from threading import Thread

import pytest
import trustme

from shared.basics.api_key import ApiKey
from shared.central.verdicts import Answer
from shared.config import Central
from tests.sim.central.server import Central as Stand
from tests.unit.conftest import OddServer, http
from workers.commands.doctor.central import check_central, check_clock, verdict_on_key
from workers.commands.doctor.findings import Finding, Verdict

KEY = "demo-key"


def found(url: str, instance: str | None = "instance-1", key: str = KEY, ca: str | None = None) -> dict[str, Finding]:
    findings = list(check_central(Central(url, api_key=ApiKey(key), ca_bundle=ca), "demo", instance))
    assert len({finding.topic for finding in findings}) == len(findings)
    assert key not in str(findings)
    return {finding.topic: finding for finding in findings}


def verdicts(findings: dict[str, Finding]) -> dict[str, str]:
    return {topic: finding.verdict.value for topic, finding in findings.items()}


# -- the steps ------------------------------------------------------------------------------------


def test_all_is_well_but_for_the_missing_tls(central: Stand) -> None:
    assert verdicts(found(central.url)) == {
        "central tcp": "ok",
        "central tls": "warn",
        "central key": "ok",
        "central clock": "ok",
    }


def test_a_name_that_nobody_knows_ends_it_there() -> None:
    findings = found("https://central.invalid")
    assert verdicts(findings) == {"central dns": "FAIL"}
    assert "central.invalid cannot be resolved" in findings["central dns"].detail
    assert "CENTRAL_SERVER_URL" in findings["central dns"].advice


def test_a_name_is_shown_with_its_addresses(central: Stand) -> None:
    assert "localhost resolves to " in found(central.url.replace("127.0.0.1", "localhost"))["central dns"].detail


def test_a_port_that_nobody_listens_on_ends_it_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    findings = found(f"https://127.0.0.1:{port}")
    assert verdicts(findings) == {"central tcp": "FAIL"}
    assert "NetworkPolicies" in findings["central tcp"].advice


def test_https_to_a_plain_http_port_is_told_as_that(central: Stand) -> None:
    findings = found(central.url.replace("http://", "https://"))
    assert verdicts(findings)["central tls"] == "FAIL"
    assert "does not speak TLS" in findings["central tls"].detail
    assert "plain http" in findings["central tls"].advice
    assert "certificate" not in findings["central tls"].detail


def test_a_wrong_key_is_said_and_not_shown(central: Stand) -> None:
    findings = found(central.url, key="wr0ng-key")
    assert findings["central key"].verdict is Verdict.FAIL
    assert "Central answered 401 to tasks" in findings["central key"].detail
    assert "cloudoptim-client-secret" in findings["central key"].advice


def test_a_proxy_is_looked_at_instead(central: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    """The stand-in is the proxy here, and answers by itself."""
    monkeypatch.setenv("HTTP_PROXY", central.url)
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    findings = found("http://central.invalid")
    assert f"through {central.url.removeprefix('http://')}" in findings["central proxy"].detail
    assert findings["central tcp"].verdict is Verdict.OK, "the proxy resolves the name, not we"
    assert findings["central key"].verdict is Verdict.OK


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (http(404), "Central answered 404"),
        (http(302, headers={"Location": "http://elsewhere.test/"}), "302"),
        (http(503), "503"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "no answer to a poll for tasks"),
        (b"", "no answer to a poll for tasks"),
    ],
    ids=["404", "redirect", "503", "no HTTP", "hangs up"],
)
def test_something_else_than_central_is_told_from_it(answer: bytes, words: str) -> None:
    with OddServer(b"", answer) as server:  # The first connection only sees whether there is a port.
        findings = found(server.url)
    assert findings["central api"].verdict is Verdict.FAIL
    assert words in findings["central api"].detail
    assert "CENTRAL_SERVER_URL" in findings["central api"].advice


# -- who we say we are ----------------------------------------------------------------------------


def test_without_an_agent_beside_us_we_do_not_pose_as_one(central: Stand) -> None:
    """Central might fence the agent for another that it never heard of."""
    findings = found(central.url, instance=None)
    assert findings["central key"].verdict is Verdict.UNKNOWN
    assert "does not refuse the key" in findings["central key"].detail
    assert not central.ledger.arrivals, "a poll that was refused"


def test_a_wrong_key_is_seen_without_an_agent_too(central: Stand) -> None:
    assert found(central.url, instance=None, key="wr0ng-key")["central key"].verdict is Verdict.FAIL


@pytest.mark.parametrize(
    ("status", "named", "verdict"),
    [
        (200, True, Verdict.OK),
        (200, False, Verdict.OK),
        (400, True, Verdict.FAIL),
        (400, False, Verdict.UNKNOWN),
        (401, False, Verdict.FAIL),
        (403, True, Verdict.FAIL),
        (404, False, Verdict.FAIL),
        (429, True, Verdict.FAIL),
        (500, True, Verdict.FAIL),
    ],
)
def test_centrals_answer_is_judged_by_its_status(status: int, named: bool, verdict: Verdict) -> None:
    assert verdict_on_key(Answer(status), "demo", named).verdict is verdict


# -- TLS ------------------------------------------------------------------------------------------


@contextmanager
def tls_server(authority: trustme.CA, name: str, expires: datetime | None = None) -> Iterator[str]:
    """Accepts TLS connections, closes them, and says where."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name, not_after=expires).configure_cert(context)
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            try:
                context.wrap_socket(connection, server_side=True).close()
            except OSError:
                connection.close()

    thread = Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield f"https://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(60)
        listener.close()


@pytest.mark.parametrize(
    ("name", "trusted", "days", "verdict", "words"),
    [
        ("127.0.0.1", True, 90, "ok", "the certificate is good until"),
        ("127.0.0.1", True, 5, "warn", "ends on"),
        ("127.0.0.1", True, -1, "FAIL", "expired"),
        ("127.0.0.1", False, 90, "FAIL", "certificate verify failed"),
        ("central.example.com", True, 90, "FAIL", "127.0.0.1"),
    ],
    ids=["good", "ends soon", "expired", "private CA", "another's"],
)
def test_a_certificate_is_judged_before_the_key_is_sent(
    tmp_path: Path, name: str, trusted: bool, days: int, verdict: str, words: str
) -> None:
    authority = trustme.CA()
    bundle = tmp_path / "ca.crt"
    (authority if trusted else trustme.CA()).cert_pem.write_to_path(str(bundle))
    with tls_server(authority, name, datetime.now(timezone.utc) + timedelta(days=days)) as url:
        finding = found(url, ca=str(bundle))["central tls"]
    assert finding.verdict.value == verdict
    assert words in finding.detail
    assert ("REQUESTS_CA_BUNDLE" in finding.advice) == (verdict == "FAIL")


# -- clocks ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("seconds", "verdict"), [(0, "ok"), (-100, "warn"), (100, "warn"), (400, "FAIL")])
def test_clocks_may_differ_by_a_little(seconds: int, verdict: str) -> None:
    theirs = format_datetime(datetime.now(timezone.utc) + timedelta(seconds=seconds), usegmt=True)
    (finding,) = check_clock("clock", theirs)
    assert finding.verdict.value == verdict
    assert ("NTP" in finding.advice) == (verdict != "ok")


@pytest.mark.parametrize("date", [None, "", "yesterday", "Thu, 99 Jan 2026 00:00:00 GMT"])
def test_an_answer_without_a_date_says_nothing_of_clocks(date: str | None) -> None:
    assert not list(check_clock("clock", date))
