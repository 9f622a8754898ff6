"""One answer to which authorities are trusted: the calls, the stream and the doctor, by whatever variable."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import trustme

from shared import config
from shared.basics.errors import TemporaryError
from shared.central.client import CentralClient
from shared.central.identity import Caller
from shared.central.stream import TaskStream
from tests.sim.central.server import Central
from workers.commands.doctor.central import check_central

VARIABLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE")
OTHERS = (*VARIABLES, "SSL_CERT_DIR", "WEBSOCKET_CLIENT_CA_BUNDLE")


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def private(authority: trustme.CA) -> Iterator[Central]:
    """A Central whose certificate a private authority signs."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    with Central(tls=context) as central:
        yield central


def trusting(central: Central, environ: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> dict[str, bool]:
    """Who connects, in an environment of these alone."""
    for name in OTHERS:
        monkeypatch.delenv(name, raising=False)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    given = {"CENTRAL_SERVER_URL": central.url, "CENTRAL_API_KEY": "demo-key", "CLUSTER_ID": "demo", **environ}
    settings = config.load(given)
    caller, bundle = Caller(settings.central.api_key, "instance-1"), settings.central.ca_bundle
    found = {}
    with closing(CentralClient(central.url, "demo", caller, bundle)) as client:
        found["calls"] = _works(client)
    with closing(TaskStream(central.url, "demo", caller, bundle)) as stream:
        found["stream"] = _opens(stream)
    findings = {finding.topic: finding for finding in check_central(settings.central, "demo", "instance-1")}
    found["doctor"] = all(findings[topic].verdict.name == "OK" for topic in ("central tls", "central key"))
    return found


def _works(client: CentralClient) -> bool:
    try:
        client.tasks()
    except TemporaryError as error:
        return _is_other(error)
    return True


def _is_other(error: TemporaryError) -> bool:
    """Never true: a failure must be about the certificate."""
    if "CERTIFICATE_VERIFY_FAILED" not in str(error):
        raise error
    return False


def _opens(stream: TaskStream) -> bool:
    frames = stream.frames()
    try:
        next(frames)
    except TemporaryError as error:
        return _is_other(error)
    frames.close()  # type: ignore[attr-defined]
    return True


@pytest.mark.parametrize("variable", VARIABLES)
def test_each_variable_is_for_all(
    private: Central, authority: trustme.CA, variable: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(bundle))
    assert trusting(private, {variable: str(bundle)}, monkeypatch) == dict.fromkeys(("calls", "stream", "doctor"), True)


def test_without_one_a_private_authority_is_trusted_by_none(private: Central, monkeypatch: pytest.MonkeyPatch) -> None:
    assert trusting(private, {}, monkeypatch) == dict.fromkeys(("calls", "stream", "doctor"), False)


@pytest.mark.parametrize("variable", [name for name in OTHERS if name not in VARIABLES])
def test_what_is_not_documented_is_for_none(
    private: Central, authority: trustme.CA, variable: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(bundle))
    where = str(bundle if variable.endswith("BUNDLE") else tmp_path)
    assert not any(trusting(private, {variable: where}, monkeypatch).values())
