"""Can Central be reached, step by step, and does it take the key?"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from pathlib import Path
from urllib.parse import urlsplit

import requests
import urllib3

from shared import USER_AGENT
from shared.basics.errors import AuthenticationError, reason_of
from shared.central.identity import Caller
from shared.central.verdicts import Answer, error_of
from shared.config import Central
from workers.commands.doctor.findings import Finding, fail, ok, unknown, warn

_TIMEOUT = 10.0

_READ = 8192
"""Bytes of an answer that are looked at."""

SKEW_WARN = 30.0
SKEW_FAIL = 300.0
"""Seconds of difference between the clocks that matter: deadlines are wall-clock times."""


def check_central(central: Central, cluster_id: str, instance_id: str | None) -> Iterator[Finding]:
    """Name, connection, TLS, proxy, key and clock, in the order in which they fail."""
    parts = urlsplit(central.url)
    host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
    proxy = requests.utils.select_proxy(central.url, requests.utils.get_environ_proxies(central.url))
    if proxy:
        via = urlsplit(proxy)
        yield ok("central proxy", f"calls go through {via.hostname}:{via.port}")
        host, port = via.hostname or "", via.port or 80
    addresses = _resolve(host, port)
    if isinstance(addresses, Finding):
        yield addresses
        return
    if addresses != [host]:
        yield ok("central dns", f"{host} resolves to {', '.join(addresses)}")
    connection = _connect(host, port)
    if isinstance(connection, Finding):
        yield connection
        return
    yield ok("central tcp", f"{host}:{port} accepts connections")
    if parts.scheme == "https" and not proxy:
        yield _check_tls(connection, host, central.ca_bundle)
    elif parts.scheme == "http":
        yield warn("central tls", "the URL is http: the key travels in the clear", "use https in production")
    connection.close()
    yield from _check_key(central, cluster_id, instance_id)


def _resolve(host: str, port: int) -> list[str] | Finding:
    try:
        return sorted({str(found[4][0]) for found in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)})
    except OSError as error:
        advice = "check CENTRAL_SERVER_URL (ConfigMap key central-server-url) and the cluster's DNS"
        return fail("central dns", f"{host} cannot be resolved: {error}", advice)


def _connect(host: str, port: int) -> socket.socket | Finding:
    try:
        return socket.create_connection((host, port), timeout=_TIMEOUT)
    except OSError as error:
        advice = "check egress: NetworkPolicies, firewalls, and HTTPS_PROXY where one is needed; behind one: NO_PROXY"
        return fail("central tcp", f"{host}:{port} does not accept a connection: {error}", advice)


def _check_tls(connection: socket.socket, host: str, ca_bundle: str | None) -> Finding:
    try:
        trusted = ca_bundle or requests.utils.DEFAULT_CA_BUNDLE_PATH
        file, folder = (None, trusted) if Path(trusted).is_dir() else (trusted, None)
        context = ssl.create_default_context(cafile=file, capath=folder)
        with context.wrap_socket(connection, server_hostname=host) as secured:
            certificate = secured.getpeercert() or {}
            version = secured.version()
    except ssl.SSLError as error:
        if error.reason in ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE", "PACKET_LENGTH_TOO_LONG"):
            advice = "it speaks plain http there: is the port right, or should central-server-url begin with http://?"
            return fail("central tls", f"what listens at {host} does not speak TLS ({error.reason})", advice)
        return _untrusted(host, error)
    except OSError as error:
        return _untrusted(host, error)
    ends = str(certificate.get("notAfter", ""))
    left = (ssl.cert_time_to_seconds(ends) - datetime.now(timezone.utc).timestamp()) / 86_400 if ends else 0
    if left < 14:
        return warn("central tls", f"the certificate of {host} ends on {ends}", "tell whoever runs Central")
    return ok("central tls", f"{version}, the certificate is good until {ends}")


def _untrusted(host: str, error: OSError) -> Finding:
    advice = "for a private CA, mount its certificate and set REQUESTS_CA_BUNDLE; a proxy that opens TLS needs the same"
    return fail("central tls", f"the certificate of {host} is not accepted: {error}", advice)


def _check_key(central: Central, cluster_id: str, instance_id: str | None) -> Iterator[Finding]:
    """Ask for tasks: it changes nothing, and says whether the key is good for this cluster.

    Without an agent beside us no X-Agent-Instance is sent: Central could take us for a second agent and fence one.
    """
    caller = Caller(central.api_key, instance_id or "")
    headers = {**caller.headers(), "User-Agent": f"{USER_AGENT} doctor"}
    if instance_id is None:
        del headers["X-Agent-Instance"]
    try:
        with requests.get(
            f"{central.url}/api/v1/client/tasks",
            params={"cluster_id": cluster_id},
            auth=lambda request: _signed(request, headers),
            timeout=_TIMEOUT,
            verify=central.ca_bundle or True,
            allow_redirects=False,
            stream=True,
        ) as answer:
            body = answer.raw.read(_READ, decode_content=True)
            said = Answer.of(caller, answer.status_code, answer.headers, body)
            yield verdict_on_key(said, cluster_id, instance_id is not None)
            yield from check_clock("central clock", answer.headers.get("Date"))
    except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
        advice = "is CENTRAL_SERVER_URL right, scheme and port too? behind a proxy: does the proxy let it through?"
        yield fail("central api", f"no answer to a poll for tasks: {caller.quoted(reason_of(error))}", advice)


def _signed(request: requests.PreparedRequest, headers: dict[str, str]) -> requests.PreparedRequest:
    request.headers.update(headers)
    return request


def verdict_on_key(answer: Answer, cluster_id: str, named: bool) -> Finding:
    """What Central's answer to a poll says. ``named``: we said which agent we are, without which it may refuse us."""
    refusal = error_of("tasks", answer)
    if refusal is None:
        return ok("central key", f"Central takes the key for cluster {cluster_id}")
    if isinstance(refusal, AuthenticationError):
        advice = "put the right key into the Secret cloudoptim-client-secret (key api-key); check cluster-id"
        return fail("central key", f"it does not take the key: {refusal}", advice)
    if answer.status == 400 and not named:
        said = "Central answers, and does not refuse the key; more it tells only an agent that runs"
        return unknown("central key", said, "run the doctor in the pod, beside a running agent")
    return fail("central api", str(refusal), "is CENTRAL_SERVER_URL the base of Central's client API?")


def check_clock(topic: str, date: str | None) -> Iterator[Finding]:
    """Compare our clock with the ``Date`` of an answer."""
    try:
        skew = abs((parsedate_to_datetime(date or "") - datetime.now(timezone.utc)).total_seconds())
    except (ValueError, TypeError):
        return
    detail = f"the clocks are {skew:.0f} s apart"
    advice = "deadlines are times of day: correct the node's clock (NTP)"
    if skew > SKEW_FAIL:
        yield fail(topic, detail, advice)
    elif skew > SKEW_WARN:
        yield warn(topic, detail, advice)
    else:
        yield ok(topic, detail)
