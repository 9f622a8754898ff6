"""What the API server refuses to store, as causes of a 422."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from tests.sim.kube.resources import NODES, PODS, Object, Resource
from tests.sim.kube.status import ApiError, Cause, invalid

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
    return causes


def _taint_causes(node: Object) -> list[Cause]:
    causes: list[Cause] = []
    for index, taint in enumerate(node.get("spec", {}).get("taints") or ()):
        field = f"metadata.taints[{index}]"
        key, value, effect = taint.get("key", ""), taint.get("value", ""), taint.get("effect", "")
        causes += [_bad_value(f"{field}.key", key, problem) for problem in label_key_problems(key)]
        causes += [_bad_value(f"{field}.value", value, problem) for problem in label_value_problems(value)]
        if not effect:
            causes.append(Cause("FieldValueRequired", "Required value", f"{field}.effect"))
        elif effect not in _EFFECTS:
            supported = ", ".join(f'"{known}"' for known in _EFFECTS)
            message = f'Unsupported value: "{effect}": supported values: {supported}'
            causes.append(Cause("FieldValueNotSupported", message, f"{field}.effect"))
    return causes


def check_create(resource: Resource, obj: Object) -> None:
    name = obj["metadata"].get("name", "")
    if not name:
        cause = Cause("FieldValueRequired", "Required value: name or generateName is required", "metadata.name")
        raise invalid(resource.qualified_kind, "", [cause])
    causes = [_bad_value("metadata.name", name, problem) for problem in name_problems(name)]
    causes += _metadata_causes(obj["metadata"])
    if resource is NODES:
        causes += _taint_causes(obj)
    if causes:
        raise invalid(resource.qualified_kind, name, causes)


def check_update(resource: Resource, new: Object, old: Object, patched: bool, subresource: str) -> None:
    """Refuse a bad update. Bad metadata is reported as often as the real server's validators overlap."""
    name = old["metadata"]["name"]
    status_by_patch = patched and subresource == "status"
    causes = _metadata_causes(new["metadata"]) * (3 if status_by_patch else 4)
    if new["metadata"].get("uid") != old["metadata"].get("uid"):
        uid = new["metadata"].get("uid", "")
        causes += [_bad_value("metadata.uid", uid, "field is immutable")] * 2
    if resource is NODES and not subresource:
        causes += _taint_causes(new) * 2
        before, after = (obj.get("spec", {}).get("providerID", "") for obj in (old, new))
        if before and before != after:
            why = 'Forbidden: node updates may not change providerID except from "" to valid'
            causes.append(Cause("FieldValueForbidden", why, "spec.providerID"))
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
