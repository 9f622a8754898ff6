"""The three ways to patch an object, as pure functions that share what they do not change."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tests.sim.kube.resources import Object
from tests.sim.kube.status import ApiError, Cause, bad_request, invalid
from tests.sim.kube.store import decode, encode
from tests.sim.kube.validation import check_types

MERGE = "application/merge-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
JSON = "application/json-patch+json"

# Lists that merge by a key; all others are replaced, ``spec.taints`` of a node included.
_MERGE_KEYS = {
    "conditions": "type",
    "addresses": "type",
    "ownerReferences": "uid",
    "containers": "name",
    "initContainers": "name",
    "ephemeralContainers": "name",
    "env": "name",
    "volumes": "name",
    "volumeMounts": "mountPath",
    "imagePullSecrets": "name",
}
_MERGED_SETS = ("finalizers", "podCIDRs")


def apply(content_type: str, current: Object, body: bytes) -> Object:
    """``current`` as patched, or the refusal the server would send."""
    patch = _decoded(content_type, body)
    if content_type == JSON:
        return json_patch(current, patch)
    if content_type == MERGE:
        new: Object = merge(current, patch)
        check_types(new, lambda field, wanted, value: _untyped_merge(new, field, wanted, value))
        return new
    check_types(patch, lambda field, wanted, value: _untyped_strategic(patch, wanted, value))
    merged: Object = strategic(current, patch)
    return merged


def _decoded(content_type: str, body: bytes) -> Any:
    prefix = "" if content_type == STRATEGIC else "error decoding patch: "
    try:
        patch = decode(body)
    except ValueError:
        raise bad_request(f"{prefix}{go_json_error(body)}") from None
    wanted, go = (list, "[]handlers.jsonPatchOp") if content_type == JSON else (dict, "map[string]interface {}")
    if not isinstance(patch, wanted):
        raise bad_request(f"{prefix}json: cannot unmarshal {go_kind(patch)} into Go value of type {go}")
    return patch


def go_json_error(body: bytes) -> str:
    """Roughly what Go's decoder says; exact for the first bad character of a small body."""
    text = body.decode(errors="replace").strip()
    if not text or text in ("{", "["):
        return "unexpected end of JSON input"
    if text[0] == "{" and len(text) > 1 and text[1] not in '"}':
        return f"invalid character '{text[1]}' looking for beginning of object key string"
    return f"invalid character '{text[0]}' looking for beginning of value"


def go_kind(value: Any) -> str:
    """What Go's decoder calls a JSON value."""
    kinds = {dict: "object", list: "array", str: "string", bool: "bool", int: "number", float: "number"}
    return kinds.get(type(value), "null")


def _go_format(value: Any) -> str:
    if isinstance(value, dict):
        return f"map[{' '.join(f'{key}:{_go_format(value[key])}' for key in sorted(value))}]"
    if isinstance(value, list):
        return f"[{' '.join(_go_format(item) for item in value)}]"
    if isinstance(value, bool):
        return "true" if value else "false"
    return "<nil>" if value is None else str(value)


def _untyped_strategic(patch: Object, wanted: str, value: Any) -> ApiError:
    why = f"unrecognized type: {wanted}"
    if wanted == "string" and type(value) is int:
        why = "cannot convert int64 to string"
    elif wanted == "map[string]string":
        why = f"cannot restore map from {'slice' if isinstance(value, list) else go_kind(value)}"
    message = f'Invalid value: "{_go_format(patch)}": {why}'
    return invalid("", "", [Cause("FieldValueInvalid", message, "patch")])


def _untyped_merge(new: Object, field: str, wanted: str, value: Any) -> ApiError:
    why = f"json: cannot unmarshal {go_kind(value)} into Go struct field {field} of type {wanted}"
    message = f"Invalid value: {encode(encode(new).decode()).decode()}: {why}"
    return invalid("", "", [Cause("FieldValueInvalid", message, "patch")])


def merge(current: Any, patch: Any) -> Any:
    """RFC 7386: null removes, objects merge, all else replaces."""
    if not isinstance(patch, dict):
        return patch
    result = dict(current) if isinstance(current, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merge(result.get(key), value)
    return result


def strategic(current: Any, patch: Any, field: str = "") -> Any:
    """Kubernetes' strategic merge with ``$patch``, ``$retainKeys`` ignored and the merge keys known here."""
    if isinstance(patch, list):
        return _strategic_list(current or [], patch, field)
    if not isinstance(patch, dict):
        return patch
    directive = patch.get("$patch")
    patch = {key: value for key, value in patch.items() if key not in ("$patch", "$retainKeys")}
    if directive == "delete":
        return {}
    result = dict(current) if isinstance(current, dict) and directive != "replace" else {}
    for key, value in patch.items():
        if key.startswith("$setElementOrder/"):
            continue
        if key.startswith("$deleteFromPrimitiveList/"):
            target = key.partition("/")[2]
            result[target] = [item for item in result.get(target, ()) if item not in value]
        elif value is None:
            result.pop(key, None)
        else:
            result[key] = strategic(result.get(key), value, key)
    for key, order in patch.items():
        if key.startswith("$setElementOrder/") and (target := key.partition("/")[2]) in result:
            result[target] = _ordered(result[target], order, _MERGE_KEYS.get(target))
    return result


def _strategic_list(current: list[Any], patch: list[Any], field: str) -> list[Any]:
    if field in _MERGED_SETS:
        return current + [item for item in patch if item not in current]
    directives = [item for item in patch if isinstance(item, dict) and item.get("$patch") == "replace"]
    key = _MERGE_KEYS.get(field)
    if directives or key is None:
        return [item for item in patch if item not in directives]
    result = list(current)
    for item in patch:
        place = next((i for i, old in enumerate(result) if old.get(key) == item.get(key)), None)
        if item.get("$patch") == "delete":
            if place is not None:
                del result[place]
        elif place is None:
            result.append(strategic({}, item))
        else:
            result[place] = strategic(result[place], item)
    return result


def _ordered(items: list[Any], order: list[Any], key: str | None) -> list[Any]:
    def identity(item: Any) -> Any:
        return item.get(key) if key else item

    places = {identity(item): place for place, item in enumerate(order)}
    return sorted(items, key=lambda item: places.get(identity(item), len(places)))


def json_patch(document: Object, operations: Iterable[Any]) -> Object:
    """RFC 6902 as evanphx/json-patch does it: replacing what is not there adds it."""
    try:
        root: Any = {"": document}
        for operation in operations:
            root = _operate(root, operation)
        result: Object = root[""]
        return result
    except (LookupError, TypeError, ValueError):
        message = "the server rejected our request due to an error in our request"
        raise ApiError(422, "Invalid", message, {}) from None


def _operate(root: Any, operation: Object) -> Any:
    name, path = operation["op"], _pointer(operation["path"])
    if name in ("add", "replace"):
        return _edit(root, path, name, operation["value"])
    if name == "remove":
        return _edit(root, path, name, None)
    if name in ("move", "copy"):
        value = _lookup(root, source := _pointer(operation["from"]))
        root = _edit(root, source, "remove", None) if name == "move" else root
        return _edit(root, path, "add", value)
    if name == "test" and _lookup(root, path) == operation.get("value"):
        return root
    raise ValueError(name)


def _pointer(text: str) -> list[str]:
    return [step.replace("~1", "/").replace("~0", "~") for step in text.split("/")]


def _lookup(node: Any, path: list[str]) -> Any:
    for step in path:
        node = node[int(step)] if isinstance(node, list) else node[step]
    return node


def _edit(node: Any, path: list[str], name: str, value: Any) -> Any:
    step, rest = path[0], path[1:]
    copy: Any = list(node) if isinstance(node, list) else dict(node)
    if isinstance(copy, list):
        place = len(copy) if step == "-" else int(step)
        if rest:
            copy[place] = _edit(copy[place], rest, name, value)
        elif name == "add":
            copy.insert(place, value)
        elif name == "remove":
            del copy[place]
        else:
            copy[place] = value
    elif rest:
        copy[step] = _edit(copy[step], rest, name, value)
    elif name == "remove":
        del copy[step]
    else:
        copy[step] = value
    return copy
