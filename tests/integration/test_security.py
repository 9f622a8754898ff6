"""The API key shows nowhere, and nothing sent to the endpoints hurts them."""

from __future__ import annotations

import errno
import json
import socket
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.integration.conftest import FAST
from tests.sim.agent import Agent
from tests.sim.central.server import Central
from tests.sim.kube.cluster import Cluster

KEY = "s3cr3t-Key_that.must-not/show+anywhere=="


def test_the_key_is_nowhere_to_be_seen(cluster: Cluster, kubeconfig: Path, tmp_path: Path) -> None:
    """A full run, with everything that fails on the way: log, endpoints, files, process list, what Central got."""
    with Central(api_key=KEY) as central:
        env = {**FAST, "LOG_LEVEL": "DEBUG"}
        with Agent(central.url, kubeconfig, env, api_key=KEY) as agent:
            agent.wait_ready()
            central.fault("result", status=500, times=2)
            said_back = json.dumps({"you sent": {"authorization": f"Bearer {KEY}"}}).encode()
            central.fault("heartbeat", status=401, body=said_back, times=2)
            central.fault("events", status=422, body=said_back, times=1)
            central.fault("tasks", status=302, headers={"Location": f"{central.url}/?key={quote(KEY)}"}, times=1)
            central.fault("tasks", status=401, body=said_back, times=1)
            cluster.oom_kill("shop", cluster.pods(namespace="shop")[0]["metadata"]["name"])
            agent.wait(lambda: any("Central refuses 1 of events" in line["message"] for line in agent.log("heartbeat")))
            central.fault("metrics", cut=True, times=2)
            task = central.task("drain_node", {"node_name": "node-1"})
            central.push(task)
            assert central.ledger.wait_result(task["task_id"])["status"] == "success"
            central.stop()
            agent.wait(lambda: not agent.ready().get("central_server_connected", True))
            central.start()
            agent.wait_ready()
            seen = {path: agent.get(path)[1] for path in ("/health", "/ready", "/metrics")}
            seen["supervisorctl"] = agent.supervisorctl("status") + agent.supervisorctl("avail")
            seen["process list"] = _process_list()
            seen.update({str(path): _text(path) for path in agent.run_dir.rglob("*") if path.is_file()})
            agent.stop()
            seen["termination log"] = _text(Path(agent.env["TERMINATION_LOG"]))
            seen["log"] = agent.log_path.read_text(errors="replace")
        seen["what Central got"] = json.dumps([arrival.body for arrival in central.ledger.arrivals])
    assert len(seen["log"]) > 10_000, "a log to look through"
    assert [where for where, text in seen.items() if KEY in text] == []


@pytest.mark.filterwarnings("ignore:Generating overly large repr")
def test_garbage_at_the_endpoints_does_no_harm(agent: Agent) -> None:
    @settings(max_examples=300, suppress_health_check=list(HealthCheck))
    @given(st.one_of(st.binary(max_size=2000), _requests()))
    def talk(data: bytes) -> None:
        with socket.create_connection(("127.0.0.1", agent.port), timeout=60) as connection:
            try:
                connection.sendall(data)
                connection.shutdown(socket.SHUT_WR)
                while connection.recv(65536):
                    pass
            except OSError as error:
                # It may hang up on garbage without reading all of it; it may not leave us waiting.
                if error.errno not in (errno.ECONNRESET, errno.EPIPE, errno.ENOTCONN):
                    raise

    pids = agent.pids()
    talk()
    assert agent.get("/health")[0] == 200
    assert agent.get("/metrics")[0] == 200
    assert agent.pids() == pids


def test_clients_that_say_nothing_do_not_block_the_others(agent: Agent) -> None:
    """More silent connections than are answered at once; they are given up after five seconds."""
    silent = [socket.create_connection(("127.0.0.1", agent.port)) for _ in range(40)]
    try:
        agent.wait(lambda: agent.get("/health")[0] == 200, timeout=60)
    finally:
        for connection in silent:
            connection.close()


def _requests() -> st.SearchStrategy[bytes]:
    """Nearly HTTP."""
    method = st.sampled_from([b"GET", b"POST", b"HEAD", b"PUT", b"OPTIONS", b"get", b"\x00"])
    path = st.one_of(
        st.sampled_from([b"/health", b"/ready", b"/metrics", b"/", b"*", b"//", b"/metrics/../health?x=%00"]),
        st.binary(max_size=300),
    )
    version = st.sampled_from([b"HTTP/1.1", b"HTTP/1.0", b"HTTP/9.9", b"", b"FTP/1"])
    header = st.sampled_from([b"", b"Host: x\r\n", b"Content-Length: 99999999999\r\n", b"LONG"])
    ending = st.sampled_from([b"\r\n", b"", b"\n\n"])
    return (
        st.tuples(method, path, version, header, ending)
        .map(lambda parts: (*parts[:3], parts[3].replace(b"LONG", b"A" * 70_000 + b": b\r\n"), parts[4]))
        .map(lambda parts: parts[0] + b" " + parts[1] + b" " + parts[2] + b"\r\n" + parts[3] + parts[4])
    )


def _process_list() -> str:
    lines = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            lines.append(path.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
        except OSError:
            continue
    return "\n".join(lines)


def _text(path: Path) -> str:
    try:
        return path.read_bytes().decode(errors="replace")
    except OSError:
        return ""
