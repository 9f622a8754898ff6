"""The connection to the API server: the official client's settings, TLS, proxies and tokens; raw bytes out.

``ApiClient`` is used below its typed API classes: those decode 5,000 pods in 4.7 s where msgspec takes 0.05,
and importing them costs 20 MB.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlencode

import urllib3
from kubernetes import config as kube_config
from kubernetes.client import ApiClient, Configuration
from kubernetes.client.exceptions import ApiException
from kubernetes.config import ConfigException

from shared.basics import telemetry
from shared.basics.errors import AgentError, TemporaryError
from shared.basics.timing import SYSTEM_CLOCK, Clock, Deadline
from shared.basics.transfer import ONE_FRESH_CONNECTION, Cutoff, read_body, severable
from shared.kube.errors import (
    KubeUnavailable,
    Unauthorized,
    by_rbac,
    error_of,
    parse_status,
    retry_after,
    target_of,
)
from shared.kube.grants import Grants

CONNECT_TIMEOUT = 5.0
READ_TIMEOUT = 30.0
CALL_TIMEOUT = 120.0
"""Seconds for a whole call; a page of 500 pods is 3 MB."""

SHORTEST_TIMEOUT = 2.0
"""Seconds an answer is waited for although the caller's time is up: it may still have something to put right."""

_AWAY = (502, 503, 504)
"""Answers of an API server that is not there, or of what stands before it. A 500 is about the one request."""

_AGGREGATED = "/apis/metrics.k8s.io/"
"""Served by another than the API server, who waits for it and answers 503 when it is away: says nothing of itself."""

_PROBES = {"TCP_KEEPIDLE": 15, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 3}
"""Names that not every system has: the doctor runs on laptops, too."""

KEEPALIVE = [
    (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    *((socket.IPPROTO_TCP, getattr(socket, name), value) for name, value in _PROBES.items() if hasattr(socket, name)),
]
"""A connection whose other end is gone, as behind a restarted load balancer, breaks 30 s after it fell silent."""

MAX_BODY = 64 * 1024 * 1024

MAX_LINE = 8 * 1024 * 1024
"""Bytes of one line of a watch; an object has 1.5 MiB at most."""

_WATCH = "WATCH"
"""A right of its own to RBAC, though by method it is a GET."""

JSON = "application/json"
MERGE_PATCH = "application/merge-patch+json"

_budget: ContextVar[Deadline | None] = ContextVar("budget", default=None)
_quiet: ContextVar[bool] = ContextVar("quiet", default=False)

Report = Callable[[bool, str], None]
"""Told after each exchange whether the API server answers, and if not, why."""


@contextlib.contextmanager
def bounded_by(deadline: Deadline) -> Iterator[None]:
    """Wait for no answer much beyond ``deadline``, in this block and in threads that carry its context."""
    token = _budget.set(deadline)
    try:
        yield
    finally:
        _budget.reset(token)


@contextlib.contextmanager
def optional(seconds: float = SHORTEST_TIMEOUT) -> Iterator[None]:
    """For what is only looked up: no answer within ``seconds`` is no answer, and says nothing of the API server."""
    quiet = _quiet.set(True)
    try:
        with bounded_by(Deadline.after(seconds)):
            yield
    finally:
        _quiet.reset(quiet)


@dataclass(frozen=True)
class Answer:
    """An HTTP answer, whatever its status."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    may_pass: bool = False
    """Whether it is a refusal by RBAC of what it granted until now (rule 16)."""


class Hangup:
    """Ends a stream that another thread reads, at once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._response: urllib3.HTTPResponse | None = None
        self.used = False

    def attach(self, response: urllib3.HTTPResponse) -> None:
        """The stream to end; ended right away if it comes too late."""
        with self._lock:
            self._response = response
            if self.used:
                _shut(response)

    def use(self) -> None:
        """End the stream, now and any later one."""
        with self._lock:
            self.used = True
            if self._response is not None:
                _shut(self._response)


def _shut(response: urllib3.HTTPResponse) -> None:
    try:
        response.shutdown()
    except (ValueError, OSError, RuntimeError):
        pass  # It ended by itself a moment ago.


class Kube:
    """Thread-safe. Settings are loaded at first use, so that a worker can start before they are there."""

    def __init__(
        self,
        kubeconfig: str | None,
        user_agent: str,
        report: Report = lambda ok, why: None,
        connections: int = 4,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._kubeconfig = kubeconfig
        self._user_agent = user_agent
        self._report = report
        self._connections = connections
        self._clock = clock
        self._lock = threading.Lock()
        self._client: Any = None
        self._grants = Grants(clock)
        self.answers = True
        """Whether the API server answered when it was asked last."""

    def get(self, path: str, query: Mapping[str, Any] | None = None) -> bytes:
        """GET ``path``; the body of a 2xx answer, else the error it stands for."""
        return self.call("GET", path, query)

    def call(
        self,
        method: str,
        path: str,
        query: Mapping[str, Any] | None = None,
        body: Any = None,
        content_type: str = JSON,
    ) -> bytes:
        """One exchange; the body of a 2xx answer.

        Raises:
            KubeUnavailable, Unauthorized, Gone: it may work later.
            Forbidden, Denied, NotFound, Conflict, Invalid: it will not.
        """
        answer = self.exchange(method, path, query, body, content_type)
        if 200 <= answer.status < 300:
            return answer.body
        raise self._error(method, path, answer)

    def exchange(
        self,
        method: str,
        path: str,
        query: Mapping[str, Any] | None = None,
        body: Any = None,
        content_type: str = JSON,
    ) -> Answer:
        """One exchange; the answer whatever its status, but for 401.

        Raises:
            KubeUnavailable: no answer.
            Unauthorized: 401, also with the token read again.
        """
        budget = _budget.get()
        whole = CALL_TIMEOUT if budget is None else max(SHORTEST_TIMEOUT, min(CALL_TIMEOUT, budget.remaining))
        with Cutoff(whole) as cutoff:
            response = self._open(method, path, query, body, content_type, min(READ_TIMEOUT, whole))
            try:
                content = read_body(response, MAX_BODY, Deadline.after(whole, self._clock))
                if cutoff.used:
                    raise TemporaryError(f"no whole answer within {whole:g} s")
            except (urllib3.exceptions.HTTPError, OSError, TemporaryError) as error:
                response.close()
                raise self._unavailable(f"{method} {path}", error) from error
            response.release_conn()
        return self._remembered(method, path, Answer(response.status, response.headers, content))

    def lines(
        self, path: str, query: Mapping[str, Any], silence: float, hangup: Hangup | None = None
    ) -> Iterator[list[bytes]]:
        """The lines of a streamed answer, those that came together together, until the server or ``hangup`` ends it.

        Raises:
            What ``call`` raises; KubeUnavailable also when nothing came for ``silence`` seconds.
        """
        rest = b""
        for chunk in self.chunks(path, query, silence, hangup):
            *complete, rest = (rest + chunk).split(b"\n")
            if complete:
                yield complete
            if len(rest) > MAX_LINE:
                raise self._unavailable(f"GET {path}", TemporaryError(f"a line of more than {MAX_LINE} bytes"))

    def chunks(
        self, path: str, query: Mapping[str, Any], silence: float, hangup: Hangup | None = None
    ) -> Iterator[bytes]:
        """A streamed answer in the pieces it comes in, for what is too large to be held in one piece.

        Raises:
            What ``lines`` raises.
        """
        with Cutoff(CALL_TIMEOUT) as cutoff:
            response = self._open("GET", path, query, None, JSON, silence)
        try:
            if cutoff.used:
                raise self._unavailable(f"GET {path}", TemporaryError(f"no answer within {CALL_TIMEOUT:g} s"))
            if hangup is not None:
                hangup.attach(response)
            if response.status != 200:
                body = read_body(response, MAX_BODY, Deadline.after(CALL_TIMEOUT, self._clock))
                answer = self._remembered(_WATCH, path, Answer(response.status, response.headers, body))
                raise self._error("GET", path, answer)
            self._grants.worked(_WATCH, path)
            while chunk := response.read1(256 * 1024):
                yield chunk
        except (urllib3.exceptions.HTTPError, OSError) as error:
            if hangup is not None and hangup.used:
                return
            raise self._unavailable(f"GET {path}", error) from error
        finally:
            response.close()

    def _open(
        self,
        method: str,
        path: str,
        query: Mapping[str, Any] | None,
        body: Any,
        content_type: str,
        read_timeout: float,
    ) -> urllib3.HTTPResponse:
        """Send the request; on 401 once more with settings and token read again."""
        for attempt in ("first", "with a fresh token"):
            response = self._send(method, path, query, body, content_type, read_timeout)
            if response.status != 401:
                away = response.status in _AWAY and not path.startswith(_AGGREGATED)
                self._tell(not away, f"the API server answers {response.status}")
                return response
            response.drain_conn()
            response.release_conn()
            if attempt == "first":
                self._reload()
        error = Unauthorized(f"{method} {path}: 401, the API server does not accept the agent's token")
        self._tell(False, str(error))
        raise error

    def _send(
        self,
        method: str,
        path: str,
        query: Mapping[str, Any] | None,
        body: Any,
        content_type: str,
        read_timeout: float,
    ) -> urllib3.HTTPResponse:
        client = self._loaded()
        headers = {"Accept": JSON, "User-Agent": self._user_agent}
        if body is not None:
            headers["Content-Type"] = content_type
        url = client.configuration.host + path + (f"?{urlencode(query)}" if query else "")
        started, code = self._clock.monotonic(), "error"
        try:
            client.update_params_for_auth(headers, [], ["BearerToken"], path, method, body)
            answer = client.call_api(method, url, headers, body, _request_timeout=(CONNECT_TIMEOUT, read_timeout))
            response: urllib3.HTTPResponse = answer.response
            code = telemetry.code(response.status)
        except (ApiException, ConfigException, urllib3.exceptions.HTTPError, OSError) as error:
            raise self._unavailable(f"{method} {path}", error) from error
        finally:
            telemetry.KUBE_SECONDS.labels(method, code).observe(self._clock.monotonic() - started)
        return response

    def _remembered(self, method: str, path: str, answer: Answer) -> Answer:
        """``answer``, which is kept in mind; a refusal of what was granted before may pass, for a while."""
        if 200 <= answer.status < 300:
            self._grants.worked(method, path)
        elif answer.status == 403 and by_rbac(parse_status(answer.status, answer.body)):
            return replace(answer, may_pass=self._grants.refused(method, path))
        return answer

    def _error(self, method: str, path: str, answer: Answer) -> AgentError:
        status = parse_status(answer.status, answer.body)
        if answer.may_pass:
            return KubeUnavailable(f"{method} {path}: 403 {status.said}; it was granted until now")
        return error_of(status, f"{method} {path}", target_of(path), retry_after(answer.headers))

    def _loaded(self) -> Any:
        with self._lock:
            if self._client is None:
                configuration = Configuration()
                self._load_into(configuration)
                configuration.retries = ONE_FRESH_CONNECTION
                configuration.connection_pool_maxsize = self._connections
                configuration.socket_options = KEEPALIVE
                self._client = ApiClient(configuration)
                pools = self._client.rest_client.pool_manager
                if type(pools) in (urllib3.PoolManager, urllib3.ProxyManager):  # And no SOCKS.
                    severable(pools)
            return self._client

    def _load_into(self, configuration: Configuration) -> None:
        try:
            if self._kubeconfig:
                kube_config.load_kube_config(  # type: ignore[no-untyped-call]  # the client has no types here
                    self._kubeconfig, client_configuration=configuration
                )
            else:
                kube_config.load_incluster_config(configuration)  # type: ignore[no-untyped-call]  # likewise
                # HTTPS_PROXY is there for Central. The Service's address is inside the cluster, where no proxy is.
                configuration.proxy = None
        except Exception as error:  # The client's loader raises whatever a malformed file leads it to.
            where = f"KUBECONFIG={self._kubeconfig}" if self._kubeconfig else "the pod's ServiceAccount"
            raise self._unavailable(f"settings from {where}", error) from error

    def _reload(self) -> None:
        """Read the token again now; the client itself does so once a minute only."""
        with self._lock:
            if self._client is not None:
                self._load_into(self._client.configuration)

    def _unavailable(self, what: str, error: BaseException) -> KubeUnavailable:
        failure = KubeUnavailable(f"{what}: {_reason(error)}")
        if _AGGREGATED not in what and not _quiet.get():
            self._tell(False, str(failure))
        return failure

    def _tell(self, ok: bool, why: str) -> None:
        self.answers = ok
        self._report(ok, why)


def _reason(error: BaseException) -> str:
    """What urllib3 wraps in a MaxRetryError, without the wrapping."""
    inner = getattr(error, "reason", None)
    return str(inner if isinstance(inner, BaseException) else error) or type(error).__name__
