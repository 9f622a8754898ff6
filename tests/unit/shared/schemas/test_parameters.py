"""Parameters of the task types: defaults, bounds, and no tolerance for typos."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from shared.schemas.parameters import PARAMETERS, DrainNode

NODE = {"node_name": "node-1"}
POD = {"namespace": "shop", "pod_name": "web-0"}
LEAST: dict[str, dict[str, Any]] = {
    "drain_node": NODE,
    "cordon_node": NODE,
    "uncordon_node": NODE,
    "label_node": {**NODE, "labels": {"team": "a"}},
    "label_pod": {**POD, "labels": {"team": None}},
    "delete_pod": POD,
    "reschedule_pod": POD,
}


def test_these_are_all_task_types() -> None:
    assert set(PARAMETERS) == set(LEAST)


@pytest.mark.parametrize("task_type", LEAST)
def test_the_target_is_enough(task_type: str) -> None:
    parameters = PARAMETERS[task_type].model_validate(LEAST[task_type])
    assert parameters.model_dump(exclude_unset=True) == LEAST[task_type]


@pytest.mark.parametrize("task_type", LEAST)
def test_the_target_is_required(task_type: str) -> None:
    for field in LEAST[task_type]:
        with pytest.raises(ValidationError, match=field):
            PARAMETERS[task_type].model_validate({k: v for k, v in LEAST[task_type].items() if k != field})


@pytest.mark.parametrize("task_type", LEAST)
def test_an_unknown_parameter_is_refused_because_it_may_be_a_typo_in_dry_run(task_type: str) -> None:
    with pytest.raises(ValidationError, match="dryrun"):
        PARAMETERS[task_type].model_validate({**LEAST[task_type], "dryrun": True})


def test_a_drain_by_default() -> None:
    assert DrainNode(node_name="node-1").model_dump() == {
        "node_name": "node-1",
        "node_uid": None,
        "provider_id": None,
        "grace_period": None,
        "allow_zero_grace": False,
        "skip_namespaces": ["kube-system", "kube-public"],
        "eviction_interval_seconds": 0.0,
        "force": False,
        "delete_emptydir_data": True,
        "dry_run": False,
        "disable_eviction": False,
        "wait_for_volume_detach": False,
        "uncordon_on_failure": False,
    }


@pytest.mark.parametrize(
    "name", ["node-1", "ip-10-0-0-1.ec2.internal", "a", "1", "x" * 253], ids=["plain", "dots", "a", "1", "longest"]
)
def test_names_are_dns_subdomains(name: str) -> None:
    assert DrainNode(node_name=name).node_name == name


@pytest.mark.parametrize("name", ["", "Node-1", "-node", "node-", "node_1", "a/b", "../x", "a b", "nöde", "x" * 254])
def test_other_names_are_refused(name: str) -> None:
    for task_type, field in (("drain_node", "node_name"), ("delete_pod", "namespace"), ("delete_pod", "pod_name")):
        with pytest.raises(ValidationError, match=field):
            PARAMETERS[task_type].model_validate({**LEAST[task_type], field: name})


@pytest.mark.parametrize("task_type", ["drain_node", "delete_pod", "reschedule_pod"])
def test_a_grace_of_zero_must_be_said_twice(task_type: str) -> None:
    model, least = PARAMETERS[task_type], LEAST[task_type]
    with pytest.raises(ValidationError, match="allow_zero_grace"):
        model.model_validate({**least, "grace_period": 0})
    assert model.model_validate({**least, "grace_period": 0, "allow_zero_grace": True})
    assert model.model_validate({**least, "grace_period": 1})
    assert model.model_validate({**least, "allow_zero_grace": True})


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("grace_period", -1),
        ("grace_period", 86_401),
        ("grace_period", 1.5),
        ("eviction_interval_seconds", -0.1),
        ("eviction_interval_seconds", 3601),
        ("eviction_interval_seconds", float("nan")),
        ("skip_namespaces", "kube-system"),
        ("skip_namespaces", ["Kube_System"]),
        ("grace_period", True),
        ("grace_period", "30"),
        ("grace_period", 30.0),
        ("eviction_interval_seconds", "1"),
        ("eviction_interval_seconds", True),
        ("skip_namespaces", ("kube-system",)),
        ("node_uid", 7),
        ("force", "perhaps"),
        ("force", "on"),
        ("force", 1),
        ("dry_run", "no"),
        ("dry_run", None),
    ],
)
def test_bounds_of_a_drain(field: str, value: Any) -> None:
    with pytest.raises(ValidationError, match=field):
        PARAMETERS["drain_node"].model_validate({**NODE, field: value})


@pytest.mark.parametrize("seconds", [2, 2.0, 0.5])
def test_any_number_will_do_for_what_may_be_a_fraction(seconds: float) -> None:
    parameters = PARAMETERS["drain_node"].model_validate({**NODE, "eviction_interval_seconds": seconds})
    assert parameters.model_dump()["eviction_interval_seconds"] == seconds


@pytest.mark.parametrize("labels", [None, [], {}, {"a": 1}, {"a": ["b"]}, "a=b"])
@pytest.mark.parametrize("task_type", ["label_node", "label_pod"])
def test_labels_are_at_least_one_text_or_null_by_key(task_type: str, labels: Any) -> None:
    with pytest.raises(ValidationError, match="labels"):
        PARAMETERS[task_type].model_validate({**LEAST[task_type], "labels": labels})


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@given(st.sampled_from(sorted(PARAMETERS)), st.dictionaries(st.text(max_size=12), JSON, max_size=5), st.data())
def test_whatever_comes_it_is_parameters_or_a_validation_error(
    task_type: str, extra: dict[str, Any], data: st.DataObject
) -> None:
    known = data.draw(st.dictionaries(st.sampled_from(sorted(PARAMETERS[task_type].model_fields)), JSON, max_size=6))
    with contextlib.suppress(ValidationError):
        PARAMETERS[task_type].model_validate({**LEAST[task_type], **extra, **known})
