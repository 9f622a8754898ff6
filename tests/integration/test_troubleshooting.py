"""Each symptom of the page on troubleshooting is brought about, and what the page quotes is what is said then."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

from shared.basics.errors import EXIT_CONFIG, EXIT_UNAUTHORIZED
from shared.kube.connection import Kube
from tests.integration.conftest import FAST
from tests.integration.test_doctor import Place, place, run  # noqa: F401
from tests.sim.agent import ROOT, Agent
from tests.sim.central.server import Central
from tests.sim.kube.cluster import Cluster

PAGE = (ROOT / "docs" / "operations.md").read_text()


def section(title: str) -> str:
    """The text below a heading, to the next one."""
    (text,) = re.findall(rf"^##+ {re.escape(title)}\n(.*?)(?=^##+ |\Z)", PAGE, re.DOTALL | re.MULTILINE)
    return str(text)


def quotes(title: str) -> list[str]:
    """What a section quotes, in pieces that stand in one place: a finding of the doctor, a log line, a text."""
    pieces: list[str] = []
    for language, block in re.findall(r"^```(\w*)\n(.*?)^```", section(title), re.DOTALL | re.MULTILINE):
        if language in ("", "json"):
            pieces += re.split(r"\n(?=(?:ok|warn|FAIL|unknown|cloudoptim-agent:|\{|\d+ ok) ?)", block.strip("\n"))
    return pieces


def plain(text: str) -> str:
    """In one line, and each word that has a digit in it (a port, a time, a generated name) as ``#``."""
    return " ".join("#" if re.search(r"\d", word) else word for word in text.replace("\n", " ").split())


def said(where: str, *pieces: str) -> None:
    """Each piece is in what was said."""
    for piece in pieces:
        assert plain(piece) in plain(where), f"the page quotes\n{piece}\n\nit is not in\n{where}"


def test_a_doctor_that_finds_all_well(place: Place) -> None:  # noqa: F811
    done = run(place.inside)
    quoted = quotes("Is it well?")
    said(done.stdout, *quoted)
    assert len(quoted) > 10


def test_the_workers_by_supervisorctl(place: Place) -> None:  # noqa: F811
    (block,) = re.findall(
        r"^\$ .* supervisorctl status\n(.*?)^```", section("Troubleshooting"), re.DOTALL | re.MULTILINE
    )
    assert plain(block) == plain(place.agent.supervisorctl("status"))


def test_central_is_away(place: Place) -> None:  # noqa: F811
    """The doctor's two findings, and the log's line."""
    tcp, ready, line = quotes("The agent does not poll")[:3]
    place.central.stop()
    try:
        place.agent.wait(lambda: place.agent.get("/ready")[0] == 503)
        place.agent.wait(lambda: "poll failed (3 in a row)" in place.agent.log_path.read_text())
        done = run(place.inside)
    finally:
        place.central.start()
        place.agent.wait_ready()
    said(done.stdout, tcp)
    for reason in re.findall(r"central: Central is not reachable for tasks: .* \(task-runner\)", plain(ready)):
        said(done.stdout, reason)
    assert plain(line.split('"message": ')[1]) in plain(place.agent.log_path.read_text())


def test_the_key_is_refused(cluster: Cluster, kubeconfig: Path) -> None:
    """Status 77; whichever worker is sure of it first."""
    (quoted,) = (
        piece for piece in quotes("The agent does not poll") if piece.startswith("Central refused the API key")
    )
    with Central(api_key="right") as central, Agent(central.url, kubeconfig, FAST, api_key="wrong-key") as agent:
        assert agent.process is not None
        assert agent.process.wait(90) == EXIT_UNAUTHORIZED
        reason = Path(agent.env["TERMINATION_LOG"]).read_text()
    worker = r"\((?:heartbeat|task-runner)\): Central answered # to \w+"
    said(re.sub(worker, "WORKER", plain(reason)), re.sub(worker, "WORKER", plain(quoted)))


def test_settings_are_missing(tmp_path: Path, kubeconfig: Path) -> None:
    quoted = [piece for piece in quotes("The agent does not poll") if piece.startswith("cloudoptim-agent:")]
    agent = Agent("", kubeconfig, cluster_id="")
    with agent:
        assert agent.process is not None
        assert agent.process.wait(60) == EXIT_CONFIG
        said(agent.log_path.read_text(), *quoted)
    assert len(quoted) == 2


def test_it_cannot_drain(place: Place, tmp_path: Path) -> None:  # noqa: F811
    error, finding = quotes('It cannot drain: "Forbidden"')
    grants = place.cluster.access.grants
    place.cluster.add_deployment("shop", "web", 1, node="node-1")
    place.cluster.wait_settled()
    task = place.central.task("drain_node", {"node_name": "node-1"})
    place.cluster.access.grants = [
        replace(grant, rules=tuple(rule for rule in grant.rules if "pods/eviction" not in rule["resources"]))
        for grant in grants
    ]
    try:
        place.central.offer(task)
        result = place.central.ledger.wait_result(task["task_id"])
        doctor = run(place.inside)
    finally:
        place.cluster.access.grants = grants
    assert result["status"] == "failed"
    said(result["error"], error)
    said(doctor.stdout, finding)


def test_a_sample_is_refused(place: Place) -> None:  # noqa: F811
    (quoted,) = quotes("No metrics at Central")
    place.central.fault("metrics", status=422, times=1)
    place.agent.wait(lambda: "Central refuses 1 of metrics for good" in place.agent.log_path.read_text())
    line = next(line for line in place.agent.log("heartbeat") if "of metrics for good" in line["message"])
    assert plain(line["message"]) == plain(json.loads(quoted)["message"])
    assert line["level"] == json.loads(quoted)["level"]


def test_the_pod_is_killed_for_want_of_memory(place: Place) -> None:  # noqa: F811
    (quoted,) = quotes("The pod is OOMKilled")
    path = "/api/v1/namespaces/kube-system/pods/cloudoptim-agent-x/status"
    killed = {"name": "agent", "restartCount": 3, "lastState": {"terminated": {"reason": "OOMKilled", "exitCode": 137}}}
    admin = Kube(str(place.admin), "test")
    admin.call("PATCH", path, None, {"status": {"containerStatuses": [killed]}}, "application/merge-patch+json")
    said(run(place.laptop).stdout, quoted)


def test_https_to_a_port_that_speaks_http(place: Place) -> None:  # noqa: F811
    done = run({**place.inside, "CENTRAL_SERVER_URL": place.central.url.replace("http:", "https:")})
    assert "does not speak TLS" in done.stdout
    assert "the port speaks plain http, and it says that" in section("The agent does not poll")
