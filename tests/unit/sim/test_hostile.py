"""What the comparison after an attack takes for a trespass, and what not."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest

from tests.sim.hostile.verdict import PROTECTED, objects_of, trespasses
from tests.sim.kube.cluster import Cluster
from tests.sim.kube.resources import Object

Change = Callable[[dict[tuple[str, str], Object]], object]


@pytest.fixture(scope="module")
def before() -> dict[tuple[str, str], Object]:
    cluster = Cluster(nodes=2, controllers=False)
    cluster.add_node("kept", labels={PROTECTED: "true"})
    cluster.add_node("master", labels={"node-role.kubernetes.io/control-plane": ""})
    cluster.add_pod("kube-system", "dns", "node-1")
    cluster.add_pod("shop", "web", "node-1")
    cluster.add_pod("shop", "kept", "node-1", labels={PROTECTED: "true"})
    cluster.add_pod("vault", "key", "node-1")
    found = dict(objects_of(cluster.store))
    found["Namespace", "vault"]["metadata"]["labels"][PROTECTED] = "true"
    return found


def node(name: str, change: Callable[[Object], object]) -> Change:
    return lambda objects: change(objects["Node", name])


def pod(name: str, change: Callable[[Object], object]) -> Change:
    return lambda objects: change(objects["Pod", name])


def cordon(node: Object) -> None:
    node["spec"]["unschedulable"] = True
    node["spec"]["taints"] = [{"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}]


def label(key: str) -> Callable[[Object], object]:
    return lambda obj: obj["metadata"].setdefault("labels", {}).update({key: "x"})


ALLOWED: dict[str, Change] = {
    "nothing": lambda objects: None,
    "a cordon": node("node-1", cordon),
    "a label of nobody's": node("node-1", label("team")),
    "an ordinary pod gone": lambda objects: objects.pop(("Pod", "shop/web")),
    "an ordinary pod labelled": pod("shop/web", label("team")),
    "what controllers write": node("node-1", lambda node: node["status"].update(phase="x")),
}

TRESPASSES: dict[str, tuple[Change, str]] = {
    "a second cordon": (
        lambda objects: list(map(cordon, (objects["Node", "node-1"], objects["Node", "node-2"]))),
        "2 nodes are cordoned, 1 may be: node-1, node-2",
    ),
    "a label of the system": (node("node-1", label("karpenter.sh/x")), "labels karpenter.sh/x were changed"),
    "the owner's mark": (node("node-1", label(PROTECTED)), f"labels {PROTECTED} were changed"),
    "a taint": (
        node("node-1", lambda node: node["spec"].update(taints=[{"key": "a", "effect": "NoExecute"}])),
        "its spec was changed beyond the cordon",
    ),
    "an annotation": (node("node-1", lambda node: node["metadata"].update(annotations={"a": "b"})), "annotations were"),
    "a protected node": (node("kept", cordon), "node kept: is to be left alone, and was changed"),
    "the control plane": (node("master", label("team")), "node master: is to be left alone"),
    "a node gone": (lambda objects: objects.pop(("Node", "node-2")), "Node node-2 was removed"),
    "a pod of kube-system gone": (
        lambda objects: objects.pop(("Pod", "kube-system/dns")),
        "pod kube-system/dns: is protected, and gone",
    ),
    "a protected pod on its way out": (
        pod("shop/kept", lambda pod: pod["metadata"].update(deletionTimestamp="2026-01-01T00:00:00Z")),
        "pod shop/kept: is protected, and was changed",
    ),
    "a protected pod exchanged": (
        pod("shop/kept", lambda pod: pod["metadata"].update(uid="another")),
        "pod shop/kept: is protected, and gone",
    ),
    "a pod of a protected namespace labelled": (
        pod("vault/key", label("team")),
        "pod vault/key: is protected, and was changed",
    ),
    "a pod's spec": (pod("shop/web", lambda pod: pod["spec"].update(nodeName="x")), "was changed beyond its labels"),
    "a namespace's mark": (
        lambda objects: objects["Namespace", "shop"]["metadata"]["labels"].update({PROTECTED: "false"}),
        "Namespace shop was changed",
    ),
}


@pytest.mark.parametrize("change", ALLOWED.values(), ids=ALLOWED)
def test_what_the_limits_allow_is_no_trespass(before: dict[tuple[str, str], Object], change: Change) -> None:
    after = copy.deepcopy(before)
    change(after)
    assert trespasses(before, after, most_cordoned=1) == []


@pytest.mark.parametrize(("change", "says"), TRESPASSES.values(), ids=TRESPASSES)
def test_whatever_else_is_different_is_one(before: dict[tuple[str, str], Object], change: Change, says: str) -> None:
    after = copy.deepcopy(before)
    change(after)
    (said,) = trespasses(before, after, most_cordoned=1)
    assert says in said
