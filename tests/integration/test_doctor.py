"""``cloudoptim-agent doctor`` beside the agent as it ships: every line of the checklist, well and broken.

``inside`` is what the pod's environment makes it: the agent's own token, run directory and settings. A laptop has an
administrator's kubeconfig and nothing else.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from shared.kube.connection import Kube
from shared.process.programs import PROGRAMS
from tests.container.bundle import fill_in, kubectl
from tests.integration.conftest import FAST
from tests.sim.agent import ROOT, Agent
from tests.sim.central.server import Central
from tests.sim.kube.cluster import Cluster

KEY = "s3cr3t-key"

OBJECTS = ("configmap", "secret", "serviceaccount", "clusterrole", "clusterrolebinding")


@dataclass(frozen=True)
class Report:
    """What the doctor said."""

    status: int
    verdicts: dict[str, list[str]]
    """The verdicts on each topic, in order."""
    text: str

    def worst(self, topic: str) -> str:
        return next(word for word in ("FAIL", "unknown", "warn", "ok") if word in self.verdicts[topic])

    @property
    def failed(self) -> set[str]:
        return {topic for topic, verdicts in self.verdicts.items() if "FAIL" in verdicts}


def run(env: Mapping[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    """The command, with this environment and no other."""
    command = [sys.executable, "-m", "workers.commands", "doctor", *arguments]
    environ = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", **env}
    return subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=120)


def examined(env: Mapping[str, str]) -> Report:
    done = run(env, "--json")
    assert done.stderr == ""
    assert KEY not in done.stdout
    verdicts: dict[str, list[str]] = {}
    for finding in json.loads(done.stdout):
        verdicts.setdefault(finding["topic"], []).append(finding["verdict"])
        assert finding["verdict"] not in ("FAIL", "warn") or finding["advice"], f"what to do? {finding}"
    report = Report(done.returncode, verdicts, done.stdout)
    assert report.status == int(bool(report.failed))
    return report


@dataclass(frozen=True)
class Place:
    """An installation that is well."""

    cluster: Cluster
    central: Central
    agent: Agent
    admin: Path

    @property
    def inside(self) -> dict[str, str]:
        """The environment inside the pod."""
        return {**self.agent.env, "KUBERNETES_SERVICE_HOST": "10.0.0.1"}

    @property
    def laptop(self) -> dict[str, str]:
        return {"KUBECONFIG": str(self.admin)}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """The bundle is applied by kubectl; the agent beside it stands for its pod."""
    folder = tmp_path_factory.mktemp("doctor")
    rbac = [ROOT / "k8s" / "base" / "rbac.yaml"]
    with Cluster(nodes=2, tls=folder, rbac=rbac) as cluster, Central(api_key=KEY) as central:
        admin = cluster.write_kubeconfig(folder / "admin.kubeconfig", token="admin")
        bundle = fill_in(folder / "k8s", {"central-server-url": central.url}, api_key=KEY)
        kubectl("--kubeconfig", str(admin), "apply", "--validate=false", "-k", str(bundle))
        cluster.add_pod("kube-system", "cloudoptim-agent-x", "node-1", labels={"app": "cloudoptim-agent"})
        path = "/apis/apps/v1/namespaces/kube-system/deployments/cloudoptim-agent/status"
        ready = {"status": {"readyReplicas": 1}}
        Kube(str(admin), "test").call("PATCH", path, None, ready, "application/merge-patch+json")
        env = {**FAST, "POD_UID": "0f1e2d3c"}
        with Agent(central.url, cluster.write_kubeconfig(folder / "kubeconfig"), env, api_key=KEY) as agent:
            agent.wait_ready()
            yield Place(cluster, central, agent, admin)


# -- well -----------------------------------------------------------------------------------------


def test_inside_a_pod_that_is_well_every_line_of_the_checklist_is_looked_at(place: Place) -> None:
    report = examined(place.inside)
    assert report.status == 0
    assert "inside the pod" in report.text
    well = ("settings", "kubernetes api", "deployment", "metrics.k8s.io", "central tcp", "central key", "central clock")
    agent = (*PROGRAMS, "queue results", "queue events", "queue metrics", "/health", "/ready")
    assert {topic: report.worst(topic) for topic in (*well, *agent)} == dict.fromkeys((*well, *agent), "ok")
    assert report.verdicts["rbac"] == ["ok"] * 19
    assert all(report.verdicts[topic] == ["unknown"] for topic in OBJECTS)
    assert "the agent may not read it, and need not" in report.text


def test_it_does_not_pose_as_a_second_agent(place: Place) -> None:
    """Central tells agents apart by their instance, to fence one of two."""
    examined(place.inside)
    asked = [arrival for arrival in place.central.ledger.of("tasks") if "doctor" in arrival.headers["User-Agent"]]
    instances = {arrival.headers["X-Agent-Instance"] for arrival in place.central.ledger.of("heartbeat")}
    assert {arrival.headers["X-Agent-Instance"] for arrival in asked} == instances


def test_from_a_laptop_the_bundle_is_read_and_the_rights_are_those_of_the_account(place: Place) -> None:
    place.cluster.audit.clear()
    report = examined(place.laptop)
    assert report.status == 0
    seen = (*OBJECTS, "settings", "deployment", "rbac", "central tcp", "pod")
    assert {topic: report.worst(topic) for topic in seen} == dict.fromkeys(seen, "ok")
    assert "the component pod-labels, which is not applied" in report.text, "the administrator may patch pods"
    assert place.cluster.audit.select(resource="subjectaccessreviews")
    assert not place.cluster.audit.select(resource="selfsubjectaccessreviews")
    assert report.worst("central key") == "unknown"


def test_the_table_is_for_people(place: Place) -> None:
    done = run(place.inside)
    lines = done.stdout.splitlines()
    assert done.returncode == 0
    assert lines[0].split(maxsplit=2) == ["ok", "where", "inside the pod"]
    assert lines[-1].endswith("1 warn, 5 unknown")
    assert any(line.startswith("ok ") and " task-runner " in line and line.endswith(" running") for line in lines)
    assert any(line.strip().startswith("→ use https") for line in lines)


# -- broken in one place --------------------------------------------------------------------------


def test_a_wrong_key(place: Place) -> None:
    assert examined({**place.inside, "CENTRAL_API_KEY": "wrong"}).failed == {"central key"}


def test_a_name_that_does_not_resolve(place: Place) -> None:
    assert examined({**place.inside, "CENTRAL_SERVER_URL": "https://central.invalid"}).failed == {"central dns"}


def test_a_central_that_is_away(place: Place) -> None:
    place.central.stop()
    try:
        place.agent.wait(lambda: place.agent.get("/ready")[0] == 503)
        report = examined(place.inside)
    finally:
        place.central.start()
        place.agent.wait_ready()
    assert report.failed == {"central tcp", "/ready"}
    assert "Central is not reachable" in report.text


def test_missing_rights(place: Place) -> None:
    """Every one of them is named, inside and from a laptop."""
    grants = place.cluster.access.grants
    place.cluster.access.grants = []
    try:
        inside, laptop = examined(place.inside), examined(place.laptop)
    finally:
        place.cluster.access.grants = grants
    for report in (inside, laptop):
        assert report.verdicts["rbac"] == ["FAIL"] * 8 + ["warn"] * 2 + ["FAIL"] * 3 + ["ok"] * 6
        assert "not allowed: create pods/eviction" in report.text
        assert "apply k8s/ again" in report.text


def test_settings_that_are_wrong_are_all_named(place: Place) -> None:
    report = examined({**place.inside, "CENTRAL_SERVER_URL": "central", "LOG_LEVEL": "LOUD", "CENTRAL_API_KEY": ""})
    assert report.verdicts["settings"] == ["FAIL"] * 3
    assert report.worst("central") == "unknown"
    assert report.worst("rbac") == "ok", "the rest is looked at all the same"


def test_a_worker_that_is_stopped(place: Place) -> None:
    place.agent.supervisorctl("stop", "metrics")
    try:
        report = examined(place.inside)
    finally:
        place.agent.supervisorctl("start", "metrics")
        place.agent.wait_ready()
    assert "metrics" in report.failed
    assert "is stopped" in report.text
    assert "supervisorctl restart metrics" in report.text


def test_paused_tasks_are_a_warning(place: Place) -> None:
    report = examined({**place.inside, "TASKS_PAUSED": "true"})
    assert (report.status, report.verdicts["settings"]) == (0, ["ok", "warn"])


def test_usage_that_is_not_there_is_a_warning(place: Place) -> None:
    place.cluster.set_metrics("absent")
    try:
        report = examined(place.inside)
    finally:
        place.cluster.set_metrics("ready")
    assert (report.status, report.verdicts["metrics.k8s.io"]) == (0, ["warn"])


def test_somebody_who_may_read_nothing_is_told_what_could_not_be_seen(place: Place, tmp_path: Path) -> None:
    """A kubeconfig of the agent's own account, outside the pod."""
    report = examined({"KUBECONFIG": str(place.cluster.write_kubeconfig(tmp_path / "kubeconfig"))})
    assert report.status == 0
    assert all(report.verdicts[topic] == ["unknown"] for topic in OBJECTS)
    assert report.verdicts["rbac"] == ["unknown"]
    assert "run the doctor in the pod" in report.text


# -- broken altogether ----------------------------------------------------------------------------


def test_with_nothing_set_at_all() -> None:
    report = examined({})
    assert report.failed == {"kubernetes api"}
    assert {topic: report.worst(topic) for topic in ("settings", "central", "pod")} == dict.fromkeys(
        ("settings", "central", "pod"), "unknown"
    )


def test_in_a_pod_with_nothing_set_and_no_token() -> None:
    report = examined({"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": "1"})
    assert report.failed == {"settings", "kubernetes api"}
    assert "CLUSTER_ID is not set" in report.text
    assert "is the ServiceAccount's token mounted" in report.text


def test_on_a_cluster_without_the_bundle(tmp_path: Path) -> None:
    with Cluster(nodes=1, rbac=[{"kind": "ClusterRole", "metadata": {"name": "none"}}]) as cluster:
        report = examined({"KUBECONFIG": str(cluster.write_kubeconfig(tmp_path / "kubeconfig", token="admin"))})
    assert report.failed == {*OBJECTS, "deployment", "rbac", "pod"}
    assert "kubectl apply -k k8s/" in report.text


def test_everything_at_once_is_broken(tmp_path: Path) -> None:
    """An API server that accepts and says nothing, a Central without a name, no run directory, nobody at the port."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        path = tmp_path / "kubeconfig"
        with Cluster(nodes=0) as cluster:
            text = cluster.write_kubeconfig(path).read_text()
        path.write_text(text.replace(cluster.url, f"http://127.0.0.1:{silent.getsockname()[1]}"))
        env = {
            "KUBERNETES_SERVICE_HOST": "10.0.0.1",
            "POD_UID": "0f1e2d3c",
            "KUBECONFIG": str(path),
            "CENTRAL_SERVER_URL": "https://central.invalid",
            "CENTRAL_API_KEY": KEY,
            "CLUSTER_ID": "demo",
            "AGENT_RUN_DIR": str(tmp_path / "absent"),
            "HEALTH_CHECK_PORT": "1",
        }
        report = examined(env)
    assert report.failed == {"kubernetes api", "central dns", "supervisord", "queue", "/health", "/ready"}
