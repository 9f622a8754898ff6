"""Central's REST API: one method for each call. Not thread-safe; each loop has its own."""

from __future__ import annotations

import gzip
import logging
import string
from collections.abc import Mapping, Sequence
from http.cookiejar import DefaultCookiePolicy
from typing import Any
from urllib.parse import quote

import requests
import urllib3
from requests.adapters import HTTPAdapter

from shared.basics import telemetry
from shared.basics.errors import AuthenticationError, PermanentError, TemporaryError, reason_of
from shared.basics.timing import SYSTEM_CLOCK, Clock, Deadline
from shared.basics.transfer import ONE_FRESH_CONNECTION, Cutoff, read_body, severable
from shared.central.identity import Caller
from shared.central.items import MAX_ITEMS, Malformed, Offered, offered
from shared.central.verdicts import Answer, NotOffered, NotUnderstood, TooLarge, Unclear, error_of
from shared.central.whereabouts import Whereabouts

CONNECT_TIMEOUT = 5.0
READ_TIMEOUT = 15.0
CALL_TIMEOUT = 30.0
"""Seconds for a whole call: a server that drips bytes is as silent as one that sends none."""

MAX_BODY = 8 * 1024 * 1024
"""Bytes of an answer that are read; of a larger list of tasks those that came whole are used."""

MAX_PRICES_BODY = 256 * 1024
"""Bytes of an answer with prices: a thousand of them take 150 KiB."""

_LONGEST_ETAG = 256

_PLAIN = string.punctuation.replace("%", "")
"""What a key may hold as it is, beside letters and digits: a header takes no other text, and a task's id may be any."""

_TELLING = ("register", "heartbeat", "tasks")
"""Calls whose refusal is about us. What is delivered may be refused for what it is."""

GZIP_FROM = 2048
"""Bytes from which a body is worth compressing."""

_logger = logging.getLogger(__name__)


class CentralClient:
    """Calls to the Central at ``url`` for ``cluster_id``.

    Every method raises PermanentError (refused by Central itself: 400, 409, 410, 422; 413, whoever says it),
    AuthenticationError (401, or 403 where it speaks of the key) or TemporaryError (anything else: not reachable, 404,
    429, 5xx, nonsense, and Unclear for a refusal in somebody else's words; ``delay`` from Retry-After).
    """

    def __init__(
        self, url: str, cluster_id: str, caller: Caller, ca_bundle: str | None = None, clock: Clock = SYSTEM_CLOCK
    ) -> None:
        self._base = f"{url}/api/v1/client"
        self._cluster_id = cluster_id
        self._caller = caller
        self._clock = clock
        self._takes_gzip = False
        self._whereabouts = Whereabouts(url, clock)
        self._last: Deadline | None = None
        self._cutoff: Cutoff | None = None
        """Of the call under way."""
        self._etag = ""
        """Of the last answer."""
        self._session = requests.Session()
        self._session.verify = ca_bundle or True
        # Nothing here needs a cookie. Kept ones come back with each call until a proxy refuses its headers' size.
        self._session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=()))
        # All calls bear repeating: GET, or POST with an Idempotency-Key.
        for scheme in ("https://", "http://"):
            self._session.mount(scheme, _Adapter(pool_connections=1, pool_maxsize=1, max_retries=ONE_FRESH_CONNECTION))

    def tasks(self) -> Offered:
        """Pending tasks: a list, or ``{"tasks": [...]}``. Of an answer that is too large, what came whole."""
        params = {"cluster_id": self._cluster_id, "limit": str(MAX_ITEMS)}
        body = self._call("GET", "tasks", "/tasks", params=params, whole=False)
        if not body.strip():
            return Offered()
        try:
            return offered(body, cut=len(body) == MAX_BODY)
        except Malformed as error:
            said = self._caller.quoted(body)
            raise TemporaryError(f"Central's list of tasks is not one that can be read, {error}: {said}") from error

    def send_result(self, task_id: str, result: bytes, key: str) -> None:
        """Report how a task ended."""
        self._post("result", f"/tasks/{quote(task_id, safe='')}/result", result, key)

    def send_metrics(self, sample: bytes, key: str) -> None:
        """Send one sample of the cluster's totals."""
        self._post("metrics", "/metrics", sample, key)

    def send_events(self, batch: bytes, key: str) -> None:
        """Send a batch of cluster events."""
        self._post("events", "/events", batch, key)

    def heartbeat(self, beat: bytes) -> None:
        """Say that the agent lives."""
        self._post("heartbeat", "/heartbeat", beat)

    def register(self, registration: bytes) -> None:
        """Announce this start of the agent. Raises NotOffered where Central has no such call."""
        self._post("register", "/register", registration)

    def deregister(self, deregistration: bytes) -> None:
        """Say goodbye. Raises NotOffered where Central has no such call."""
        self._post("deregister", "/deregister", deregistration)

    def prices(self, types: Sequence[str], etag: str = "") -> tuple[bytes, str]:
        """What these instance types cost, and the answer's ETag; ``etag`` is that of the last answer.

        Raises NotOffered where Central has no such call, and Unchanged where that answer still holds.
        """
        params = {"cluster_id": self._cluster_id, "types": ",".join(types)}
        headers = {"If-None-Match": etag} if etag else None
        body = self._call("GET", "prices", "/prices", params=params, headers=headers, limit=MAX_PRICES_BODY)
        return body, self._etag

    def finish_by(self, deadline: Deadline) -> None:
        """Let no further call go on beyond the ``deadline``."""
        self._last = deadline

    def sever(self) -> None:
        """End the call that another thread waits for: it raises TemporaryError."""
        if (cutoff := self._cutoff) is not None:
            cutoff.use()

    def close(self) -> None:
        """Close the connection; a later call opens another."""
        self._session.close()

    def _post(self, call: str, path: str, body: bytes, key: str | None = None) -> None:
        headers = {"Content-Type": "application/json"}
        if key is not None:
            headers["Idempotency-Key"] = quote(key, safe=_PLAIN)
        if self._takes_gzip and len(body) >= GZIP_FROM:
            try:
                packed = {**headers, "Content-Encoding": "gzip"}
                self._call("POST", call, path, headers=packed, data=gzip.compress(body, mtime=0))
                return
            except TooLarge:
                raise
            except (PermanentError, NotUnderstood, Unclear) as error:
                # It may be the packing that it objects to: a Central set back to an older version, a proxy.
                _logger.info("%s; sending it again without compression", error)
                self._takes_gzip = False
        self._call("POST", call, path, headers=headers, data=body)

    def _call(
        self,
        method: str,
        call: str,
        path: str,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        data: bytes | None = None,
        whole: bool = True,
        limit: int = MAX_BODY,
    ) -> bytes:
        """One exchange; the answer's body, or, where that need not be ``whole``, its first ``limit`` bytes.

        The key goes in as ``auth``: requests would replace a plain header by what a .netrc says. Redirects
        are not followed: they would turn a POST into a GET.
        """
        started, code = self._clock.monotonic(), "error"
        seconds = CALL_TIMEOUT if self._last is None else min(CALL_TIMEOUT, self._last.remaining)
        if not seconds:
            raise TemporaryError(f"there is no time left for {call}")
        if self._whereabouts.moved():
            _logger.info("Central's name leads elsewhere now; what is connected to where it led is closed")
            self._session.close()
        self._cutoff = cutoff = Cutoff(seconds)
        try:
            with (
                cutoff,
                self._session.request(
                    method,
                    self._base + path,
                    params=params,
                    headers=headers,
                    data=data,
                    auth=self._sign,
                    timeout=(CONNECT_TIMEOUT, READ_TIMEOUT),
                    allow_redirects=False,
                    stream=True,
                ) as response,
            ):
                code = telemetry.code(response.status_code)
                body = read_body(response.raw, limit, Deadline.after(seconds, self._clock), whole)
                if cutoff.used:
                    raise TimeoutError
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
            _tell_refused(call, False)
            if cutoff.used:
                raise TemporaryError(f"Central does not answer {call} whole within {seconds:g} s") from error
            raise TemporaryError(
                f"Central is not reachable for {call}: {self._caller.quoted(reason_of(error))}"
            ) from error
        finally:
            self._cutoff = None
            telemetry.CENTRAL_SECONDS.labels(call, code).observe(self._clock.monotonic() - started)
        self._etag = response.headers.get("ETag", "")[:_LONGEST_ETAG]
        if "accept-encoding" in response.headers:
            # RFC 9110 12.5.3: in an answer this says which encodings the server takes in requests.
            self._takes_gzip = "gzip" in response.headers["accept-encoding"].lower()
        verdict = error_of(call, Answer.of(self._caller, response.status_code, response.headers, body))
        refused = isinstance(verdict, (PermanentError, AuthenticationError, Unclear))
        _tell_refused(call, refused and not isinstance(verdict, NotOffered))
        if verdict is not None:
            raise verdict
        if body.lstrip()[:1] == b"<":
            # Somebody's page for people, such as a log-in or maintenance: what was sent never reached Central.
            raise TemporaryError(f"{call} was answered by a web page, not by Central: {self._caller.quoted(body)}")
        return body

    def _sign(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        try:
            request.headers.update(self._caller.headers())
        except ValueError as error:
            raise PermanentError("the API key cannot be sent in a header") from error
        return request


class _Adapter(HTTPAdapter):
    """Makes connections that a Cutoff ends."""

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        severable(self.poolmanager)

    def proxy_manager_for(self, *args: Any, **kwargs: Any) -> Any:
        manager = super().proxy_manager_for(*args, **kwargs)
        if isinstance(manager, urllib3.ProxyManager):  # And no SOCKS, which has connections of its own.
            severable(manager)
        return manager


def _tell_refused(call: str, refused: bool) -> None:
    if call in _TELLING:
        telemetry.CENTRAL_REFUSES.labels(call).set(int(refused))
