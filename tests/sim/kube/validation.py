"""What the API server refuses to store, as causes of a 422."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from msgspec.json import encode

from tests.sim.kube.resources import (
    BUDGETS,
    DAEMON_SETS,
    DEPLOYMENTS,
    NAMESPACES,
    NODES,
    PODS,
    REPLICA_SETS,
    STATEFUL_SETS,
    Object,
    Resource,
)
from tests.sim.kube.status import ApiError, Cause, invalid, not_supported

_NAME = r"([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"
_SUBDOMAIN = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*"
_NAME_RULE = (
    "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric "
    f"character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '{_NAME}')"
)
_SUBDOMAIN_RULE = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must "
    "start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is "
    f"'{_SUBDOMAIN}')"
)
_VALUE_RULE = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must "
    "start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for "
    f"validation is '({_NAME})?')"
)
_STANDARD_FINALIZERS = ("kubernetes", "orphan", "foregroundDeletion")
_PERCENT_RULE = (
    "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex used for "
    "validation is '[0-9]+%')"
)
_EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")


def label_key_problems(key: str) -> list[str]:
    prefix, slash, name = key.rpartition("/")
    if "/" in prefix:
        return [f"a valid label key {_NAME_RULE} with an optional DNS subdomain prefix and '/' "
                "(e.g. 'example.com/MyName')"]  # fmt: skip
    problems = []
    if slash and not prefix:
        problems.append("prefix part must be non-empty")
    elif slash:
        problems += [f"prefix part {problem}" for problem in name_problems(prefix)]
    if not name:
        problems.append("name part must be non-empty")
    elif len(name) > 63:
        problems.append("name part must be no more than 63 bytes")
    if not re.fullmatch(_NAME, name):
        problems.append(f"name part {_NAME_RULE}")
    return problems


def label_value_problems(value: str) -> list[str]:
    problems = ["must be no more than 63 bytes"] if len(value) > 63 else []
    if not re.fullmatch(f"({_NAME})?", value):
        problems.append(_VALUE_RULE)
    return problems


def name_problems(name: str) -> list[str]:
    problems = ["must be no more than 253 bytes"] if len(name) > 253 else []
    if not re.fullmatch(_SUBDOMAIN, name):
        problems.append(_SUBDOMAIN_RULE)
    return problems


def _bad_value(field: str, value: str, problem: str) -> Cause:
    return Cause("FieldValueInvalid", f'Invalid value: "{value}": {problem}', field)


def _metadata_causes(metadata: Object) -> list[Cause]:
    causes = []
    for key, value in (metadata.get("labels") or {}).items():
        causes += [_bad_value("metadata.labels", key, problem) for problem in label_key_problems(key)]
        causes += [_bad_value("metadata.labels", value, problem) for problem in label_value_problems(value)]
    for key in metadata.get("annotations") or ():
        problems = label_key_problems(key.lower())
        causes += [_bad_value("metadata.annotations", key, problem) for problem in problems]
    for owner in metadata.get("ownerReferences") or ():
        if not owner.get("uid"):
            causes.append(_bad_value("metadata.ownerReferences.uid", "", "must not be empty"))
    return causes


def _finalizer_causes(metadata: Object) -> list[Cause]:
    why = "name is neither a standard finalizer name nor is it fully qualified"
    return [
        _bad_value(f"metadata.finalizers[{index}]", name, why)
        for index, name in enumerate(metadata.get("finalizers") or ())
        if "/" not in name and name not in _STANDARD_FINALIZERS
    ]


def _taint_causes(node: Object) -> list[Cause]:
    causes: list[Cause] = []
    seen: set[tuple[str, str]] = set()
    for index, taint in enumerate(node.get("spec", {}).get("taints") or ()):
        field = f"metadata.taints[{index}]"
        key, value, effect = taint.get("key", ""), taint.get("value", ""), taint.get("effect", "")
        causes += [_bad_value(f"{field}.key", key, problem) for problem in label_key_problems(key)]
        causes += [_bad_value(f"{field}.value", value, problem) for problem in label_value_problems(value)]
        if not effect:
            causes.append(_required(f"{field}.effect"))
        elif effect not in _EFFECTS:
            causes.append(not_supported(f"{field}.effect", effect, *_EFFECTS))
        elif (key, effect) in seen:
            shown = encode({"Key": key, "Value": value, "Effect": effect, "TimeAdded": None}).decode()
            why = "taints must be unique by key and effect pair"
            causes.append(Cause("FieldValueDuplicate", f"Duplicate value: {shown}: {why}", field))
        seen.add((key, effect))
    return causes


def _pod_causes(spec: Object, field: str = "spec") -> list[Cause]:
    containers = spec.get("containers") or ()
    causes = [] if containers else [_required(f"{field}.containers")]
    for index, container in enumerate(containers):
        for name in ("name", "image"):
            if not container.get(name):
                causes.append(_required(f"{field}.containers[{index}].{name}"))
    return causes


def _workload_causes(spec: Object) -> list[Cause]:
    """Of a ReplicaSet, StatefulSet, DaemonSet or Deployment."""
    causes = []
    if spec.get("replicas", 0) < 0:
        causes.append(_not_negative("spec.replicas", spec["replicas"]))
    selector = (spec.get("selector") or {}).get("matchLabels") or {}
    if not spec.get("selector"):
        causes.append(_required("spec.selector"))
    template = spec.get("template") or {}
    labels = (template.get("metadata") or {}).get("labels")
    if not labels or not selector.items() <= labels.items():
        shown = encode(labels).decode()
        why = f"Invalid value: {shown}: `selector` does not match template `labels`"
        causes.append(Cause("FieldValueInvalid", why, "spec.template.metadata.labels"))
    return causes + _pod_causes(template.get("spec") or {}, "spec.template.spec")


def _budget_causes(spec: Object) -> list[Cause]:
    causes = []
    least, most = spec.get("minAvailable"), spec.get("maxUnavailable")
    policy = spec.get("unhealthyPodEvictionPolicy")
    if least is not None and most is not None:
        shown = {"MinAvailable": least, "Selector": spec.get("selector"), "MaxUnavailable": most}
        dump = encode({**shown, "UnhealthyPodEvictionPolicy": policy}).decode()
        why = f"Invalid value: {dump}: minAvailable and maxUnavailable cannot be both set"
        causes.append(Cause("FieldValueInvalid", why, "spec"))
    for name in ("minAvailable", "maxUnavailable"):
        value = spec.get(name)
        if isinstance(value, str) and not re.fullmatch("[0-9]+%", value):
            causes.append(_bad_value(f"spec.{name}", value, _PERCENT_RULE))
        elif isinstance(value, int) and value < 0:
            causes.append(_not_negative(f"spec.{name}", value))
    if policy not in (None, "AlwaysAllow", "IfHealthyBudget"):
        causes.append(not_supported("spec.unhealthyPodEvictionPolicy", policy, "AlwaysAllow", "IfHealthyBudget"))
    return causes


def _required(field: str) -> Cause:
    return Cause("FieldValueRequired", "Required value", field)


def _not_negative(field: str, value: int) -> Cause:
    return Cause("FieldValueInvalid", f"Invalid value: {value}: must be greater than or equal to 0", field)


_OWNERS = (REPLICA_SETS, STATEFUL_SETS, DAEMON_SETS, DEPLOYMENTS)


def check_create(resource: Resource, obj: Object) -> None:
    name = obj["metadata"].get("name", "")
    if not name:
        cause = Cause("FieldValueRequired", "Required value: name or generateName is required", "metadata.name")
        raise invalid(resource.qualified_kind, "", [cause])
    causes = [_bad_value("metadata.name", name, problem) for problem in name_problems(name)]
    if resource is NAMESPACES and "." in name:
        causes = [_bad_value("metadata.name", name, "must not contain dots")]
    causes += _metadata_causes(obj["metadata"]) + _finalizer_causes(obj["metadata"])
    if resource is NODES:
        causes += _taint_causes(obj)
    elif resource is PODS:
        causes += _pod_causes(obj.get("spec") or {})
    elif resource is BUDGETS:
        causes += _budget_causes(obj.get("spec") or {})
    elif resource in _OWNERS:
        causes += _workload_causes(obj.get("spec") or {})
    if causes:
        raise invalid(resource.qualified_kind, name, causes)


def check_update(resource: Resource, new: Object, old: Object, patched: bool, subresource: str) -> None:
    """Refuse a bad update. Bad metadata is reported as often as the real server's validators overlap."""
    name = old["metadata"]["name"]
    status_by_patch = patched and subresource == "status"
    causes = _metadata_causes(new["metadata"]) * (3 if status_by_patch else 4)
    causes += _finalizer_causes(new["metadata"]) * 2
    if new["metadata"].get("uid") != old["metadata"].get("uid"):
        uid = new["metadata"].get("uid", "")
        causes += [_bad_value("metadata.uid", uid, "field is immutable")] * 2
    if resource is NODES and not subresource:
        causes += _taint_causes(new) * 2
        before, after = (obj.get("spec", {}).get("providerID", "") for obj in (old, new))
        if before and before != after:
            why = 'Forbidden: node updates may not change providerID except from "" to valid'
            causes.append(Cause("FieldValueForbidden", why, "spec.providerID"))
    if resource in _OWNERS and not subresource:
        causes += _workload_causes(new.get("spec") or {})
    if resource is BUDGETS and not subresource:
        causes += _budget_causes(new.get("spec") or {})
    if resource is PODS and not subresource and _frozen_spec(new) != _frozen_spec(old):
        causes.append(Cause("FieldValueForbidden", _POD_SPEC_FROZEN, "spec"))
    if causes:
        raise invalid(resource.qualified_kind, name, causes)


_POD_SPEC_FROZEN = (
    "Forbidden: pod updates may not change fields other than `spec.containers[*].image`,"
    "`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing "
    "tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)"
)


def _frozen_spec(pod: Object) -> Object:
    spec = {k: v for k, v in pod["spec"].items() if k not in ("activeDeadlineSeconds", "tolerations")}
    for group in ("containers", "initContainers"):
        if group in spec:
            spec[group] = [{k: v for k, v in c.items() if k != "image"} for c in spec[group]]
    return spec


def check_types(obj: Object, problem: Callable[[str, str, Any], ApiError]) -> None:
    """Refuse the wrong JSON types a caller may well send: ``problem`` words them for its patch type."""
    metadata = obj.get("metadata") or {}
    for field in ("labels", "annotations"):
        pairs = metadata.get(field) or {}
        if not isinstance(pairs, dict):
            raise problem(f"ObjectMeta.metadata.{field}", "map[string]string", pairs)
        for value in pairs.values():
            if not isinstance(value, str | None):
                raise problem(f"ObjectMeta.metadata.{field}", "string", value)
    unschedulable = (obj.get("spec") or {}).get("unschedulable")
    if not isinstance(unschedulable, bool | None):
        raise problem("NodeSpec.spec.unschedulable", "bool", unschedulable)
