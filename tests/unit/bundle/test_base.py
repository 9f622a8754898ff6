"""What the bundle's own files say, against what was promised and against the agent."""

from __future__ import annotations

import configparser
import re
from typing import Any

import yaml

from shared import __version__, config
from tests.container.bundle import COMPONENTS, K8S, one, rbac
from tests.sim.agent import CONF
from workers.metrics import capacity
from workers.metrics.capacity import Capacity

DEPLOYMENT: dict[str, Any] = yaml.safe_load((K8S / "base" / "deployment.yaml").read_text())
POD: dict[str, Any] = DEPLOYMENT["spec"]["template"]["spec"]
AGENT: dict[str, Any] = POD["containers"][0]
NAMES = {"name": "cloudoptim-agent", "labels": {"app": "cloudoptim-agent"}}

READ = {"get", "list", "watch"}
TABLE = {
    ("", "nodes"): READ | {"patch", "update"},
    ("", "pods"): READ,
    ("", "events"): READ,
    ("", "namespaces"): READ,
    ("apps", "deployments"): READ,
    ("apps", "statefulsets"): READ,
    ("apps", "daemonsets"): READ,
    ("apps", "replicasets"): READ,
    ("metrics.k8s.io", "nodes"): {"get", "list"},
    ("metrics.k8s.io", "pods"): {"get", "list"},
    ("", "pods/eviction"): {"create"},
    ("policy", "poddisruptionbudgets"): {"get", "list"},
}
"""What was promised, resource by resource."""

BEYOND = {
    "pod-labels": {("", "pods"): {"patch"}},
    "forced-delete": {("", "pods"): {"delete"}},
    "volume-wait": {("storage.k8s.io", "volumeattachments"): {"list"}, ("", "persistentvolumeclaims"): {"get"}},
    "kubernetes-events": {("", "events"): {"create"}},
    "device-claims": {("resource.k8s.io", "resourceclaims"): {"list"}},
}

Rights = dict[tuple[str, str], set[str]]


def rights(*components: str) -> Rights:
    """Verbs by group and resource."""
    found: Rights = {}
    for rule in one(rbac(*components), "ClusterRole")["rules"]:
        assert set(rule) == {"apiGroups", "resources", "verbs"}
        for group in rule["apiGroups"]:
            for resource in rule["resources"]:
                found.setdefault((group, resource), set()).update(rule["verbs"])
    return found


def test_role_is_the_table_and_nothing_more() -> None:
    assert rights() == TABLE


def test_components_add_what_they_are_named_for() -> None:
    for component, added in BEYOND.items():
        expected = {key: TABLE.get(key, set()) | added.get(key, set()) for key in TABLE.keys() | added.keys()}
        assert rights(component) == expected, component


def test_every_component_with_rules_is_known_here() -> None:
    assert {path.parent.name for path in COMPONENTS.glob("*/rules.yaml")} == set(BEYOND)


def test_role_is_bound_to_the_account() -> None:
    binding = one(rbac(), "ClusterRoleBinding")
    assert binding["roleRef"]["name"] == one(rbac(), "ClusterRole")["metadata"]["name"] == "cloudoptim-agent"
    assert binding["subjects"] == [{"kind": "ServiceAccount", "name": "cloudoptim-agent", "namespace": "kube-system"}]
    assert POD["serviceAccountName"] == "cloudoptim-agent"


def test_one_replica_replaced_not_doubled() -> None:
    assert DEPLOYMENT["metadata"] == {**NAMES, "namespace": "kube-system"}
    assert DEPLOYMENT["spec"]["replicas"] == 1
    assert DEPLOYMENT["spec"]["strategy"] == {"type": "Recreate"}


def test_image_is_of_this_version() -> None:
    assert AGENT["image"] == f"cloudoptim/client-agent:{__version__}"


def test_probes_and_resources() -> None:
    assert AGENT["ports"] == [{"name": "health", "containerPort": 8080}]
    liveness, readiness = AGENT["livenessProbe"], AGENT["readinessProbe"]
    assert liveness["httpGet"] == {"path": "/health", "port": "health"}
    assert readiness["httpGet"] == {"path": "/ready", "port": "health"}
    assert (liveness["initialDelaySeconds"], liveness["periodSeconds"]) == (30, 10)
    assert (readiness["initialDelaySeconds"], readiness["periodSeconds"]) == (10, 5)
    assert AGENT["resources"] == {
        "requests": {"cpu": "100m", "memory": "128Mi"},
        "limits": {"cpu": "200m", "memory": "256Mi"},
    }


def test_grace_is_above_the_stop_times() -> None:
    conf = configparser.RawConfigParser(inline_comment_prefixes=(";",))
    conf.read(CONF)
    stops = [conf.getint(section, "stopwaitsecs") for section in conf.sections() if section.startswith("program:")]
    assert len(stops) == 5
    assert sum(stops) < POD["terminationGracePeriodSeconds"] == 120


def test_isolation() -> None:
    assert POD["securityContext"]["runAsNonRoot"] is True
    assert POD["securityContext"]["runAsUser"] >= 10000
    assert POD["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert AGENT["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    scratch = {volume["name"] for volume in POD["volumes"] if "emptyDir" in volume}
    written = {mount["name"] for mount in AGENT["volumeMounts"] if not mount.get("readOnly")}
    assert written == scratch == {"run"}


def test_leaves_a_lost_node_after_a_minute() -> None:
    seconds = {toleration["key"]: toleration["tolerationSeconds"] for toleration in POD["tolerations"]}
    assert seconds == {"node.kubernetes.io/not-ready": 60, "node.kubernetes.io/unreachable": 60}


def test_key_comes_as_a_file_that_changes() -> None:
    """A variable, or a file mounted by subPath, would keep the old key until a restart."""
    env = {entry["name"]: entry for entry in AGENT["env"]}
    mounts = {mount["mountPath"]: mount for mount in AGENT["volumeMounts"]}
    folder, _, name = env["CENTRAL_API_KEY_FILE"]["value"].rpartition("/")
    assert name == "api-key"
    assert "subPath" not in mounts[folder]
    assert "CENTRAL_API_KEY" not in env


BY_FILE = ["CENTRAL_API_KEY", "PRICES_FILE", "REQUESTS_CA_BUNDLE"]
"""Settings that a mounted file or a component gives."""

BY_COMPONENT = ["KUBERNETES_EVENTS"]
"""It goes with rights that the base does not grant."""

ELSEWHERE = ["KUBECONFIG", "TERMINATION_LOG"]
"""Of no use in a pod."""

PROXIES = {name for each in ("HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY") for name in (each, each.lower())}


def test_variables_are_the_agents() -> None:
    known = config.reference()
    unknown = {entry["name"] for entry in AGENT["env"] if f"`{entry['name']}`" not in known}
    assert unknown - PROXIES == set()


def test_every_setting_can_be_made_in_the_config_map_and_nothing_else_can() -> None:
    """Whoever may edit it must not be able to set LD_PRELOAD, PYTHONPATH or PATH of a process that may drain nodes."""
    assert "envFrom" not in AGENT
    named = {entry["name"] for entry in AGENT["env"]}
    settings = set(re.findall(r"^\| `([A-Z_]+)`", config.reference(), re.MULTILINE))
    (guards,) = [volume["configMap"]["items"] for volume in POD["volumes"] if volume["name"] == "guards"]
    limits = {item["key"].replace("-", "_").upper() for item in guards}
    assert settings - named == {*limits, *BY_FILE, *BY_COMPONENT, *ELSEWHERE}
    from_config_map = {
        entry["valueFrom"]["configMapKeyRef"]["key"]: entry["name"]
        for entry in AGENT["env"]
        if "configMapKeyRef" in entry.get("valueFrom", {})
    }
    assert set(from_config_map.values()) <= settings | PROXIES
    assert all(key == name or key.islower() for key, name in from_config_map.items())


def test_prefers_nodes_that_the_agent_itself_counts_as_on_demand() -> None:
    """Each label that means spot to the metrics worker keeps the pod away, if the scheduler has a choice."""
    (preferred,) = POD["affinity"]["nodeAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"]
    terms = {term["key"]: term for term in preferred["preference"]["matchExpressions"]}
    for key, term in terms.items():
        for value in term.get("values", ["anything"]):
            assert capacity.capacity({key: value}) is Capacity.SPOT, f"{key}={value}"
    avoided = {(key.lower(), value.lower()) for key, term in terms.items() for value in term.get("values", [])}
    meant = {
        (label, value)
        for label, meanings in capacity._RULES
        if not isinstance(meanings, Capacity)
        for value, kind in meanings.items()
        if kind is Capacity.SPOT
    }
    assert meant <= avoided
    present = {label for label, meaning in capacity._RULES if meaning is Capacity.SPOT}
    assert present <= {key for key, term in terms.items() if term["operator"] == "Exists" or "values" not in term}


def test_priority_displaces_nobody() -> None:
    priority = yaml.safe_load((K8S / "base" / "priority-class.yaml").read_text())
    assert priority["metadata"] == NAMES
    assert POD["priorityClassName"] == "cloudoptim-agent"
    assert priority["preemptionPolicy"] == "Never"
    assert 0 < priority["value"] < 2_000_000_000, "below the system's own classes"
