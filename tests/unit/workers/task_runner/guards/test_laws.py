"""The laws of the cluster's owner: what each refuses, and in which words."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.config.limits import Limits, Share
from shared.config.windows import parse_windows
from shared.kube.nodes import Node
from shared.schemas.parameters import PARAMETERS
from tests.unit.conftest import NOON
from tests.unit.workers.task_runner.conftest import pod
from workers.task_runner import guards
from workers.task_runner.guards.cordoned import Census, CordonAsked
from workers.task_runner.guards.hourly import HourAsked, Tally
from workers.task_runner.guards.law import PROTECTED

ZONE = "topology.kubernetes.io/zone"


def node(name: str = "a", **labels: str) -> Node:
    return msgspec.convert({"metadata": {"name": name, "labels": labels or None}}, Node)


def labelled(labels: Mapping[str, str]) -> Node:
    return msgspec.convert({"metadata": {"name": "a", "labels": dict(labels)}}, Node)


# -- tasks ----------------------------------------------------------------------------------------


def on_task(task_type: str = "cordon_node", dry_run: bool = False, **limits: Any) -> Any:
    return guards.on_task(task_type, NOON, Limits(**limits), dry_run)


@pytest.mark.parametrize("task_type", PARAMETERS)
def test_without_a_limit_every_task_may_begin(task_type: str) -> None:
    assert on_task(task_type) is None


@pytest.mark.parametrize("task_type", PARAMETERS)
@pytest.mark.parametrize("dry_run", [False, True])
def test_while_paused_none_may(task_type: str, dry_run: bool) -> None:
    said = on_task(task_type, dry_run, paused=True)
    assert said == "tasks are paused by the cluster's owner: TASKS_PAUSED is true"


@pytest.mark.parametrize("task_type", PARAMETERS)
def test_an_agent_that_is_read_only_takes_none(task_type: str) -> None:
    assert on_task(task_type, read_only=True) == "this agent is read-only: the cluster's owner set READ_ONLY"


def test_limits_nobody_can_read_refuse_all() -> None:
    said = on_task(unreadable="/limits/max-cordoned-nodes: expected a number")
    why = "their limits cannot be read: /limits/max-cordoned-nodes: expected a number"
    assert said == f"tasks are paused by the cluster's owner: {why}"


def test_only_allowed_types_may() -> None:
    allowed = frozenset({"label_node", "cordon_node"})
    assert on_task("cordon_node", allowed_types=allowed) is None
    assert on_task("drain_node", allowed_types=allowed) == (
        "the cluster's owner does not allow drain_node: ALLOWED_TASK_TYPES is cordon_node, label_node"
    )


def test_outside_the_windows_work_is_refused_and_a_dry_run_is_not() -> None:
    """NOON is a Sunday, 12:00 UTC."""
    closed = parse_windows("Mon-Fri 22:00-06:00 Europe/Berlin;  Sat,Sun 22:00-24:00")
    said = on_task("drain_node", windows=closed)
    assert said == (
        "outside the cluster owner's maintenance windows: MAINTENANCE_WINDOWS is Mon-Fri 22:00-06:00 Europe/Berlin;"
        " Sat,Sun 22:00-24:00; the next one opens at 2026-03-01T22:00:00Z"
    )
    assert on_task("drain_node", dry_run=True, windows=closed) is None
    assert on_task("drain_node", windows=parse_windows("Sun 11:00-13:00")) is None


# -- nodes ----------------------------------------------------------------------------------------


def test_a_protected_node_is_left_alone() -> None:
    said = guards.on_node(labelled({PROTECTED: "true"}), Limits())
    assert said == "the cluster's owner protects node a: it is labelled cloudoptim.io/protected=true"
    assert guards.on_node(labelled({PROTECTED: "false"}), Limits()) is None
    assert guards.on_node(node(), Limits()) is None


@pytest.mark.parametrize("role", ["node-role.kubernetes.io/control-plane", "node-role.kubernetes.io/master"])
@pytest.mark.parametrize("value", ["", "true"])
def test_the_control_plane_is_refused_unless_it_is_allowed(role: str, value: str) -> None:
    said = guards.on_node(labelled({role: value}), Limits())
    assert said == (
        f"node a is of the control plane ({role}), and the cluster's owner has not set ALLOW_CONTROL_PLANE_NODES"
    )
    assert guards.on_node(labelled({role: value}), Limits(control_plane_allowed=True)) is None


def test_what_is_protected_stays_so_where_the_control_plane_is_allowed() -> None:
    both = labelled({PROTECTED: "true", "node-role.kubernetes.io/control-plane": ""})
    assert "protects node a" in str(guards.on_node(both, Limits(control_plane_allowed=True)))


# -- pods -----------------------------------------------------------------------------------------

KUBE_SYSTEM = Limits(protected_namespaces=("kube-system",))


@pytest.mark.parametrize(
    ("labels", "namespace_labels", "limits", "says"),
    [
        ({}, {}, Limits(), None),
        ({PROTECTED: "true"}, {}, Limits(), "pod shop/web-0: it is labelled cloudoptim.io/protected=true"),
        ({PROTECTED: "false"}, {}, Limits(), None),
        ({}, {PROTECTED: "true"}, Limits(), "namespace shop: it is labelled cloudoptim.io/protected=true"),
        ({PROTECTED: "false"}, {PROTECTED: "true"}, Limits(), "namespace shop"),
        ({}, {}, Limits(protected_namespaces=("shop",)), "namespace shop: it is in PROTECTED_NAMESPACES"),
        ({}, {PROTECTED: "false"}, Limits(protected_namespaces=("shop",)), None),
        ({}, {}, KUBE_SYSTEM, None),
    ],
    ids=[
        "nothing",
        "the pod",
        "the pod says no",
        "its namespace",
        "a pod cannot leave its namespace's protection",
        "a listed namespace",
        "a listed namespace that its label takes out",
        "another namespace is listed",
    ],
)
def test_protected_pods(labels: Any, namespace_labels: Any, limits: Limits, says: str | None) -> None:
    said = guards.on_pod(pod(labels=labels), namespace_labels, limits)
    assert (said is None) == (says is None)
    assert says is None or (said and says in said and "owner protects" in said)


# -- labels ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "refused"),
    [
        ("team", False),
        ("example.com/team", False),
        ("karpenter.sh/capacity-type", True),
        ("node.karpenter.sh/x", True),
        ("notkarpenter.sh/x", False),
        ("karpenter.sh.evil.com/x", False),
        ("karpenter.sh", False),
        (PROTECTED, True),
        ("cloudoptim.io/other", False),
    ],
)
def test_protected_labels(key: str, refused: bool) -> None:
    said = guards.on_labels(["a", key], Limits(protected_labels=("karpenter.sh",)))
    assert (said is not None) == refused


def test_the_owners_own_mark_needs_no_setting() -> None:
    assert guards.on_labels([PROTECTED], Limits()) == (
        "label cloudoptim.io/protected is the cluster's owner's: no task changes it"
    )


# -- cordoned nodes -------------------------------------------------------------------------------


def cordoning(shares: tuple[Share, ...], cordoned: Mapping[str, str], name: str = "a1", zone: str = "a") -> Any:
    """Ten nodes, a0 to a5 in zone a, b0 to b3 in b."""
    nodes = [{ZONE: "a"}] * 6 + [{ZONE: "b"}] * 4
    census = Census.of(nodes, [ZONE])
    others = {other: {ZONE: where} for other, where in cordoned.items()}
    return guards.on_cordon(CordonAsked(name, {ZONE: zone}, others, census), Limits(max_cordoned=shares))


def test_no_limit_is_none_and_zero_is_one() -> None:
    assert cordoning((), {f"a{number}": "a" for number in range(6)}) is None
    assert cordoning((Share(0),), {}) == "MAX_CORDONED_NODES is 0 and 0 nodes are cordoned already (none)"


def test_the_node_itself_cordoned_by_an_earlier_try_does_not_count() -> None:
    assert cordoning((Share(1),), {"a1": "a"}) is None
    assert cordoning((Share(1),), {"a2": "a"}) is not None


def test_a_part_of_a_node_is_one() -> None:
    assert Share(10, percent=True).of(1) == 1
    assert Share(10, percent=True).of(11) == 2
    assert Share(0, percent=True).of(1000) == 0
    assert Share(100, percent=True).of(7) == 7


def test_every_share_must_allow_it() -> None:
    shares = (Share(50, percent=True), Share(20, True, ZONE))
    assert cordoning(shares, {"b0": "b"}) is None
    assert cordoning(shares, {"a2": "a", "a3": "a"}) == (
        f"MAX_CORDONED_NODES is 20%/{ZONE} (of 6 nodes of {ZONE}=a: 2) and 2 nodes of {ZONE}=a are cordoned already"
        " (a2, a3)"
    )
    half = dict.fromkeys(("b0", "b1", "b2", "b3", "b4"), "b")
    assert cordoning(shares, half) == (
        "MAX_CORDONED_NODES is 50% (of 10 nodes: 5) and 5 nodes are cordoned already (b0, b1, b2, b3, b4)"
    )


def test_nodes_without_the_label_are_a_group_too() -> None:
    asked = CordonAsked("x", {}, {"y": {}, "z": {ZONE: "a"}})
    said = guards.on_cordon(asked, Limits(max_cordoned=(Share(1, label=ZONE),)))
    assert said == f"MAX_CORDONED_NODES is 1/{ZONE} and 1 nodes without {ZONE} are cordoned already (y)"


# -- an hour's worth ------------------------------------------------------------------------------


def test_as_many_as_the_limit_begin_within_the_hour() -> None:
    limits, tally = Limits(max_drains_per_hour=2), Tally({})
    assert guards.hourly_drains(limits).refusal(HourAsked(NOON, tally)) is None
    tally = tally.add(NOON).add(NOON + timedelta(minutes=10))
    later = NOON + timedelta(minutes=20)
    assert guards.hourly_drains(limits).refusal(HourAsked(later, tally)) == (
        "MAX_DRAINS_PER_HOUR is 2 and 2 drains began within the hour; the next may begin at 2026-03-01T13:01:00Z"
    )
    assert guards.hourly_drains(limits).refusal(HourAsked(NOON + timedelta(minutes=61), tally)) is None


def test_evictions_have_a_limit_of_their_own() -> None:
    full = HourAsked(NOON, Tally({}).add(NOON, 5))
    assert guards.hourly_evictions(Limits(max_drains_per_hour=0)).refusal(full) is None
    said = guards.hourly_evictions(Limits(max_evictions_per_hour=5)).refusal(full)
    assert "MAX_EVICTIONS_PER_HOUR is 5 and 5 evictions began" in str(said)


def test_a_limit_of_none_at_all_says_when_to_look_again() -> None:
    said = guards.hourly_drains(Limits(max_drains_per_hour=0)).refusal(HourAsked(NOON, Tally({})))
    assert str(said).endswith("the next may begin at 2026-03-01T13:00:00Z")


def test_what_was_not_begun_after_all_is_given_back() -> None:
    tally = Tally({}).add(NOON, 2).without(NOON)
    assert tally.count(NOON) == 1
    assert tally.without(NOON).without(NOON).count(NOON) == 0


def test_a_clock_that_was_set_back_forgets_nothing_and_ends() -> None:
    tally = Tally({}).add(NOON + timedelta(days=1), 7)
    assert tally.count(NOON) == 7
    assert tally.add(NOON).count(NOON + timedelta(minutes=62)) == 0, "moved to now when it was seen"


@given(st.lists(st.tuples(st.integers(0, 7200), st.integers(1, 3)), max_size=60), st.integers(0, 7200))
def test_no_hour_ever_sees_less_than_was_begun_in_it(begun: list[tuple[int, int]], at: int) -> None:
    tally, exact = Tally({}), 0
    for second, count in sorted(begun):
        if second <= at:
            tally = tally.add(NOON + timedelta(seconds=second), count)
            exact += count if at - second < 3600 else 0
    assert exact <= tally.count(NOON + timedelta(seconds=at))
    assert len(tally.minutes) <= 62


def test_the_tally_survives_being_kept_and_nonsense_is_none() -> None:
    tally = Tally({}).add(NOON, 3)
    assert Tally.read(tally.record()) == tally
    things: list[object] = [None, [], {"x": 1}, "1", {"12": "x"}, {"-1": 3}]
    for nonsense in things:
        assert Tally.read(nonsense) == Tally({})
