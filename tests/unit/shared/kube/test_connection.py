"""The connection: settings at first use, tokens that rotate, and what counts as connected."""

from __future__ import annotations

import json
import socket
import threading
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import urllib3.util.connection
from kubernetes.config import incluster_config

from shared.basics.errors import TemporaryError
from shared.basics.timing import Deadline
from shared.kube import connection
from shared.kube.connection import MAX_BODY, MAX_LINE, Hangup, Kube, bounded_by, optional
from shared.kube.errors import Conflict, Forbidden, Gone, Invalid, KubeUnavailable, NotFound, Unauthorized, Unclear
from tests.sim.kube.cluster import Cluster
from tests.sim.kube.credentials import kubeconfig
from tests.unit.conftest import Dripping, FakeClock, OddServer, counted, eventually, http, kube_of

NODE = "/api/v1/nodes/node-1"


class Reports(list[tuple[bool, str]]):
    """What Kube reported, in order."""

    def __call__(self, ok: bool, why: str) -> None:
        self.append((ok, why))


# -- calls ----------------------------------------------------------------------------------------


def test_a_get_returns_the_body(kube: Kube) -> None:
    assert json.loads(kube.get(NODE))["metadata"]["name"] == "node-1"


def test_a_query_is_encoded(kube: Kube) -> None:
    body = kube.get("/api/v1/nodes", {"fieldSelector": "metadata.name=node-2", "limit": 5})
    assert [item["metadata"]["name"] for item in json.loads(body)["items"]] == ["node-2"]


def test_a_write_carries_its_body_and_its_kind(tmp_path: Path) -> None:
    with OddServer(http(200, b"{}")) as server:
        kube = kube_of(server.url, tmp_path)
        kube.call("PATCH", NODE, None, {"spec": {"unschedulable": True}}, "application/merge-patch+json")
        (request,) = server.requests
    assert request.startswith(b"PATCH /api/v1/nodes/node-1 HTTP/1.1\r\n")
    assert b"\r\nContent-Type: application/merge-patch+json\r\n" in request
    assert b"\r\nUser-Agent: tests\r\n" in request
    assert request.endswith(b'{"spec": {"unschedulable": true}}')


@pytest.mark.parametrize(
    ("status", "error"),
    [(400, Invalid), (403, Forbidden), (404, Unclear), (409, Conflict), (410, Gone), (500, KubeUnavailable)],
)
def test_an_answer_that_is_none_is_an_error(cluster: Cluster, kube: Kube, status: int, error: type[Exception]) -> None:
    cluster.fail(status=status, body={"kind": "Status", "message": "because"}, resource="nodes")
    with pytest.raises(error, match=f"GET {NODE}: {status} because"):
        kube.get(NODE)


def test_an_exchange_returns_any_answer(cluster: Cluster, kube: Kube) -> None:
    cluster.fail(status=418, body="short and stout", headers={"X-Pot": "tea"}, resource="nodes")
    answer = kube.exchange("GET", NODE)
    assert (answer.status, answer.body, answer.headers["X-Pot"]) == (418, b"short and stout", "tea")


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_wish_for_patience_is_passed_on(cluster: Cluster, kube: Kube, status: int) -> None:
    cluster.fail(status=status, body="busy", headers={"Retry-After": "7"}, times=None)
    with pytest.raises(KubeUnavailable) as raised:
        kube.get(NODE)
    assert raised.value.delay == 7


@pytest.mark.parametrize("status", [429, 500, 503])
def test_nothing_but_a_closed_connection_is_tried_again_in_silence(cluster: Cluster, kube: Kube, status: int) -> None:
    fault = cluster.fail(status=status, body="busy", times=None, resource="nodes")
    with pytest.raises(KubeUnavailable):
        kube.get(NODE)
    assert fault.hits == 1


def test_a_kept_connection_that_was_closed_meanwhile_is_opened_anew(cluster: Cluster, kube: Kube) -> None:
    kube.get(NODE)
    cluster.drop_connections()
    assert kube.get(NODE)
    cluster.restart()
    assert kube.get(NODE)


def test_an_api_server_that_is_away_may_come_back(cluster: Cluster, kube: Kube) -> None:
    cluster.stop()
    with pytest.raises(KubeUnavailable, match=f"GET {NODE}: "):
        kube.get(NODE)
    cluster.start()
    assert kube.get(NODE)


@pytest.mark.parametrize(
    "answer",
    [b"garbage\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{", b""],
    ids=["no HTTP", "cut body", "hangs up"],
)
def test_a_broken_answer_is_unavailability(tmp_path: Path, answer: bytes) -> None:
    with OddServer(answer) as server, pytest.raises(KubeUnavailable):
        kube_of(server.url, tmp_path).get(NODE)


def test_a_huge_answer_is_not_read_to_its_end(tmp_path: Path) -> None:
    huge = http(200, b"x" * 1000, {"Content-Length": str(MAX_BODY + 1)}) + b"x" * MAX_BODY
    with OddServer(huge) as server, pytest.raises(KubeUnavailable, match="larger than"):
        kube_of(server.url, tmp_path).get(NODE)


@pytest.mark.parametrize(
    "call", [lambda kube: kube.get(NODE), lambda kube: list(kube.lines(NODE, {}, 30))], ids=["call", "watch"]
)
@pytest.mark.parametrize(("head", "drip"), [(b"HTTP/1.1 200 OK\r\nX: ", b"y"), (b"HTTP/1.1 200 OK\r\n", b"X: y\r\n")])
def test_an_answer_whose_headers_drip_is_given_up_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: Any, head: bytes, drip: bytes
) -> None:
    """Each byte that comes begins the libraries' time-outs anew."""
    monkeypatch.setattr(connection, "CALL_TIMEOUT", 0.3)
    with closing(Dripping(head, drip)) as server:
        with pytest.raises(KubeUnavailable):
            call(kube_of(f"http://{server.address}", tmp_path))
        assert not server.over.is_set()


@pytest.mark.parametrize("head", [b"HTTP/1.1 200 OK\r\nX: ", b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n"])
def test_whoever_has_little_time_waits_no_longer_for_a_whole_call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, head: bytes
) -> None:
    monkeypatch.setattr(connection, "SHORTEST_TIMEOUT", 0.1)
    with closing(Dripping(head, b"y")) as server:
        with pytest.raises(KubeUnavailable), bounded_by(Deadline.after(0.3)):
            kube_of(f"http://{server.address}", tmp_path).get(NODE)
        assert not server.over.is_set()


def test_an_answer_that_drips_is_given_up(tmp_path: Path) -> None:
    class Hasty(FakeClock):
        """Each look at it costs five minutes."""

        def monotonic(self) -> float:
            self.advance(300)
            return super().monotonic()

    with OddServer(http(200, b"x" * 10)) as server, pytest.raises(KubeUnavailable, match="drips in too slowly"):
        kube_of(server.url, tmp_path, clock=Hasty()).get(NODE)


def test_calls_are_measured_by_verb_and_status(kube: Kube) -> None:
    sample = "kube_request_duration_seconds_count"
    before = [counted(sample, verb="GET", code=code) for code in ("200", "404")]
    kube.get(NODE)
    with pytest.raises(NotFound):
        kube.get("/api/v1/nodes/none")
    assert [counted(sample, verb="GET", code=code) for code in ("200", "404")] == [count + 1 for count in before]


def test_many_threads_share_it(kube: Kube) -> None:
    found: list[bytes] = []
    threads = [threading.Thread(target=lambda: found.append(kube.get(NODE))) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 16


# -- settings and tokens --------------------------------------------------------------------------


def test_settings_are_loaded_at_first_use_so_that_they_may_come_late(cluster: Cluster, tmp_path: Path) -> None:
    path = tmp_path / "kubeconfig"
    kube = Kube(str(path), "tests")
    with pytest.raises(KubeUnavailable, match=f"settings from KUBECONFIG={path}"):
        kube.get(NODE)
    path.write_text(kubeconfig(cluster.url, None, None))
    assert kube.get(NODE)


@pytest.mark.parametrize("content", ["", "{}", "garbage", "[]", "{"])
def test_a_broken_kubeconfig_is_unavailability(tmp_path: Path, content: str) -> None:
    path = tmp_path / "kubeconfig"
    path.write_text(content)
    with pytest.raises(KubeUnavailable):
        Kube(str(path), "tests").get(NODE)


def test_without_a_kubeconfig_it_takes_the_service_account(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    with pytest.raises(KubeUnavailable, match="settings from the pod's ServiceAccount"):
        Kube(None, "tests").get(NODE)


def test_inside_a_cluster_no_proxy_stands_before_the_api_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """HTTPS_PROXY is set for Central; the API server is behind the Service's address."""
    account = tmp_path / "serviceaccount"
    account.mkdir()
    with Cluster(nodes=1, tls=tmp_path, tokens={"t": "someone"}) as cluster:
        (account / "token").write_text("t")
        (account / "ca.crt").write_text((tmp_path / "ca.crt").read_text())
        monkeypatch.setattr(incluster_config, "SERVICE_TOKEN_FILENAME", str(account / "token"))
        monkeypatch.setattr(incluster_config, "SERVICE_CERT_FILENAME", str(account / "ca.crt"))
        host, port = urlsplit(cluster.url).netloc.split(":")
        for name, text in {
            "KUBERNETES_SERVICE_HOST": host,
            "KUBERNETES_SERVICE_PORT": port,
            "HTTPS_PROXY": "http://127.0.0.1:1",
            "HTTP_PROXY": "http://127.0.0.1:1",
        }.items():
            monkeypatch.setenv(name, text)
        assert Kube(None, "tests").get(NODE)


def test_a_rotated_token_is_read_again_at_once(tmp_path: Path) -> None:
    with Cluster(tokens={"old": "someone"}) as cluster:
        kube = kube_of(cluster.url, tmp_path, "old")
        kube.get(NODE)
        cluster.access.tokens = {"new": "someone"}
        (tmp_path / "kubeconfig").write_text(kubeconfig(cluster.url, "new", None))
        assert kube.get(NODE)


def test_a_token_that_is_not_accepted_even_when_read_again_is_unauthorized(tmp_path: Path) -> None:
    with Cluster(tokens={"right": "someone"}) as cluster:
        reports = Reports()
        kube = kube_of(cluster.url, tmp_path, "wrong-token", reports)
        with pytest.raises(Unauthorized, match="401, the API server does not accept the agent's token") as raised:
            kube.get(NODE)
        assert "wrong-token" not in str(raised.value)
        assert isinstance(raised.value, TemporaryError), "tokens rotate"
        assert [ok for ok, _ in reports] == [False]
        assert len(cluster.audit.select(verb="get", resource="nodes")) == 2


# -- what is reported -----------------------------------------------------------------------------


@pytest.mark.parametrize("status", [200, 400, 403, 404, 409, 410, 422, 429])
def test_an_api_server_that_answers_is_connected(tmp_path: Path, status: int) -> None:
    reports = Reports()
    with OddServer(http(status)) as server:
        kube_of(server.url, tmp_path, report=reports).exchange("GET", NODE)
    assert [ok for ok, _ in reports] == [True]


def test_one_that_does_not_answer_is_not(tmp_path: Path) -> None:
    reports = Reports()
    with OddServer(b"") as server, pytest.raises(KubeUnavailable):
        kube_of(server.url, tmp_path, report=reports).get(NODE)
    ((ok, why),) = reports
    assert not ok
    assert NODE in why


def test_a_500_about_one_object_is_an_answer_too(cluster: Cluster, tmp_path: Path) -> None:
    reports = Reports()
    kube = kube_of(cluster.url, tmp_path, report=reports)
    cluster.add_pod("shop", "web-0", "node-1", app="web")
    for name in ("one", "two"):
        cluster.add_budget("shop", name, {"app": "web"}, min_available=1)
    body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "web-0"}}
    assert kube.exchange("POST", "/api/v1/namespaces/shop/pods/web-0/eviction", None, body).status == 500
    assert reports[-1][0]


@pytest.mark.parametrize("quiet", [True, False])
def test_a_look_up_that_is_not_answered_in_time_is_not_held_against_the_api_server(
    tmp_path: Path, quiet: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "SHORTEST_TIMEOUT", 0.2)
    reports = Reports()
    with closing(Dripping(b"HTTP/1.1 200 OK\r\nX: ", b"y")) as server:
        kube = kube_of(f"http://{server.address}", tmp_path, report=reports)
        with optional(0.2) if quiet else bounded_by(Deadline.after(0.2)), pytest.raises(KubeUnavailable):
            kube.get(NODE)
    assert (False not in [ok for ok, _ in reports]) is quiet


def test_a_connection_finds_out_by_itself_that_the_other_end_is_gone(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fifteen seconds after it fell silent it is probed, and it breaks with the third probe that is not answered."""
    opened: list[socket.socket] = []
    create = urllib3.util.connection.create_connection

    def noted(*args: Any, **kwargs: Any) -> socket.socket:
        opened.append(create(*args, **kwargs))
        return opened[-1]

    monkeypatch.setattr(urllib3.util.connection, "create_connection", noted)
    kube = kube_of(cluster.url, tmp_path)
    kube.get(NODE)
    (connection,) = opened
    assert connection.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
    options = (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT, socket.TCP_NODELAY)
    assert [connection.getsockopt(socket.IPPROTO_TCP, option) for option in options] == [15, 5, 3, 1]


# -- streams --------------------------------------------------------------------------------------


def streamed(*chunks: bytes) -> bytes:
    body = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in (*chunks, b""))
    return b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n" + body


def lines_of(tmp_path: Path, answer: bytes) -> list[bytes]:
    with OddServer(answer) as server:
        return [line for lines in kube_of(server.url, tmp_path).lines(NODE, {"watch": "1"}, 5.0) for line in lines]


@pytest.mark.parametrize(
    "chunks",
    [
        (b"one\ntwo\nthree\n",),
        (b"one\n", b"two\n", b"three\n"),
        (b"o", b"ne\nt", b"wo\nthree", b"\n"),
    ],
    ids=["together", "one by one", "in pieces"],
)
def test_lines_are_lines_however_they_come(tmp_path: Path, chunks: tuple[bytes, ...]) -> None:
    assert lines_of(tmp_path, streamed(*chunks)) == [b"one", b"two", b"three"]


def test_what_came_together_is_handed_out_together(tmp_path: Path) -> None:
    with OddServer(streamed(b"one\ntwo\nthr", b"ee\n")) as server:
        bunches = list(kube_of(server.url, tmp_path).lines(NODE, {}, 5.0))
    assert [line for bunch in bunches for line in bunch] == [b"one", b"two", b"three"]
    assert len(bunches) <= 2


def test_a_line_that_is_cut_off_is_not_handed_out(tmp_path: Path) -> None:
    assert lines_of(tmp_path, streamed(b"one\ntw")) == [b"one"]


def test_a_line_without_an_end_is_given_up(tmp_path: Path) -> None:
    with pytest.raises(KubeUnavailable, match="a line of more than"):
        lines_of(tmp_path, streamed(b"x" * (MAX_LINE + 1)))


def test_a_stream_that_breaks_is_unavailability(tmp_path: Path) -> None:
    broken = streamed(b"one\n")[: -len(b"0\r\n\r\n")]
    with OddServer(broken) as server:
        lines = kube_of(server.url, tmp_path).lines(NODE, {}, 5.0)
        assert next(lines) == [b"one"]
        with pytest.raises(KubeUnavailable):
            next(lines)


def test_a_refused_stream_is_the_error_of_its_answer(cluster: Cluster, kube: Kube) -> None:
    cluster.fail(status=410, body={"message": "too old"}, resource="nodes")
    with pytest.raises(Gone, match="too old"):
        list(kube.lines("/api/v1/nodes", {"watch": "1"}, 5.0))


def test_silence_is_unavailability(cluster: Cluster, kube: Kube) -> None:
    with pytest.raises(KubeUnavailable):
        list(kube.lines("/api/v1/nodes", {"watch": "1", "resourceVersion": version_of(kube)}, 0.05))


def version_of(kube: Kube) -> str:
    found: Any = json.loads(kube.get("/api/v1/nodes"))["metadata"]["resourceVersion"]
    return str(found)


def test_hanging_up_ends_a_stream_at_once(cluster: Cluster, kube: Kube) -> None:
    hangup, ended = Hangup(), threading.Event()
    version = version_of(kube)

    def read() -> None:
        list(kube.lines("/api/v1/nodes", {"watch": "1", "resourceVersion": version}, 60.0, hangup))
        ended.set()

    watches = len(cluster.store.subscriptions())
    threading.Thread(target=read, daemon=True).start()
    eventually(lambda: len(cluster.store.subscriptions()) > watches)
    hangup.use()
    assert ended.wait(60)


def test_hanging_up_before_the_stream_is_open_ends_it_as_well(kube: Kube) -> None:
    hangup = Hangup()
    hangup.use()
    query = {"watch": "1", "resourceVersion": version_of(kube)}
    assert list(kube.lines("/api/v1/nodes", query, 60.0, hangup)) == []


def test_hanging_up_on_a_stream_that_ended_is_fine(cluster: Cluster, kube: Kube) -> None:
    hangup = Hangup()
    query = {"watch": "1", "resourceVersion": version_of(kube), "timeoutSeconds": "0"}
    cluster.fail(status=410, body={"message": "too old"}, resource="nodes")
    with pytest.raises(Gone):
        list(kube.lines("/api/v1/nodes", query, 60.0, hangup))
    hangup.use()
