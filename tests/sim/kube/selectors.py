"""Label and field selectors: parsed as the real ones are, and refused with the same words."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tests.sim.kube.resources import EVENTS, JOBS, NAMESPACES, NODES, PODS, VOLUME_ATTACHMENTS, Object, Resource
from tests.sim.kube.status import bad_request
from tests.sim.kube.validation import label_key_problems, label_value_problems

_LABEL_TOKEN = re.compile(r"\s*(?:(==|!=|[=!<>(),])|([^\s=!<>(),]+))")
_FIELD_TERM = re.compile(r"(.*?)(!=|==|=)(.*)", re.DOTALL)
_OPERATORS = ("=", "==", "!=", "in", "notin", ">", "<")


@dataclass(frozen=True)
class Requirement:
    key: str
    operator: str
    values: frozenset[str] = frozenset()

    def matches(self, labels: Mapping[str, str]) -> bool:
        value = labels.get(self.key)
        if self.operator == "exists":
            return value is not None
        if self.operator == "!":
            return value is None
        if self.operator in ("!=", "notin"):
            return value not in self.values
        if self.operator in (">", "<"):
            bound = int(next(iter(self.values)))
            if value is None or not value.lstrip("-").isdigit():
                return False
            return int(value) > bound if self.operator == ">" else int(value) < bound
        return value in self.values


class _LabelParser:
    """The grammar of ``labels.Parse``: one token of look-ahead."""

    def __init__(self, text: str) -> None:
        self.tokens = [symbol or word for symbol, word in _LABEL_TOKEN.findall(text)]

    def peek(self) -> str:
        return self.tokens[0] if self.tokens else ""

    def take(self) -> str:
        return self.tokens.pop(0) if self.tokens else ""

    def parse(self) -> list[Requirement]:
        found: list[Requirement] = []
        while self.tokens:
            if _is_symbol(self.peek()) and self.peek() != "!":
                raise bad_request(f"found '{self.peek()}', expected: !, identifier, or 'end of string'")
            found.append(self.requirement())
            after = self.take()
            if after not in ("", ","):
                raise bad_request(f"found '{after}', expected: ',' or 'end of string'")
            if after == "," and (not self.tokens or (_is_symbol(self.peek()) and self.peek() != "!")):
                raise bad_request(f"found '{self.peek()}', expected: identifier after ','")
        return found

    def requirement(self) -> Requirement:
        negated = self.peek() == "!" and bool(self.take())
        key = self.take()
        if not key or _is_symbol(key):
            raise _unparsable(f"found '{key}', expected: identifier")
        if problems := label_key_problems(key):
            raise _unparsable(f'<nil>: Invalid value: "{key}": {problems[0]}')
        if negated:
            return Requirement(key, "!")
        if self.peek() in ("", ","):
            return Requirement(key, "exists")
        operator = self.take()
        if operator not in _OPERATORS:
            raise _unparsable(f"found '{operator}', expected: in, notin, =, ==, !=, gt, lt")
        values = self.values() if operator in ("in", "notin") else [self.value()]
        if operator in "<>" and not re.fullmatch(r"-?\d+", values[0]):
            why = "for 'Gt', 'Lt' operators, the value must be an integer"
            raise _unparsable(f'values[0]: Invalid value: "{values[0]}": {why}')
        for index, value in enumerate(values):
            if problems := label_value_problems(value):
                raise _unparsable(f'values[{index}][{key}]: Invalid value: "{value}": {problems[0]}')
        return Requirement(key, operator, frozenset(values))

    def value(self) -> str:
        if _is_symbol(self.peek()) and self.peek() != ",":
            raise _unparsable(f"found '{self.peek()}', expected: identifier")
        return "" if self.peek() in ("", ",") else self.take()

    def values(self) -> list[str]:
        if self.peek() != "(":
            raise _unparsable(f"found '{self.take()}' expected: '('")
        self.take()
        found = [""] if self.peek() in (")", ",") else []
        while self.peek() != ")":
            word = self.take()
            if word == ",":
                found += [""] if self.peek() in (",", ")") else []
            elif word and not _is_symbol(word):
                found.append(word)
            if self.peek() not in (",", ")") and word != ",":
                raise _unparsable(f"found '{self.peek()}', expected: ',' or ')'")
        self.take()
        return found


def _is_symbol(token: str) -> bool:
    return bool(token) and token[0] in "=!<>(),"


def _unparsable(why: str) -> Exception:
    return bad_request(f"unable to parse requirement: {why}")


def parse_labels(text: str) -> Callable[[Object], bool]:
    """A test of an object's labels."""
    requirements = _LabelParser(text).parse()
    return lambda obj: all(r.matches(obj["metadata"].get("labels") or {}) for r in requirements)


def matches_selector(selector: Object | None, labels: Mapping[str, str]) -> bool:
    """Whether a ``LabelSelector`` of a spec selects ``labels``; an empty one selects all, none nothing."""
    if selector is None:
        return False
    if any(labels.get(key) != value for key, value in (selector.get("matchLabels") or {}).items()):
        return False
    names = {"In": "in", "NotIn": "notin", "Exists": "exists", "DoesNotExist": "!"}
    return all(
        Requirement(e["key"], names[e["operator"]], frozenset(e.get("values") or ())).matches(labels)
        for e in selector.get("matchExpressions") or ()
    )


def _field(*path: str, default: str = "") -> Callable[[Object], str]:
    def read(obj: Object) -> str:
        value: Any = obj
        for step in path:
            value = value.get(step) if isinstance(value, dict) else None
        if isinstance(value, bool):
            return "true" if value else "false"
        return default if value is None else str(value)

    return read


_INVOLVED = ("kind", "namespace", "name", "uid", "apiVersion", "resourceVersion", "fieldPath")
_FIELDS: dict[Resource, dict[str, Callable[[Object], str]]] = {
    NODES: {"spec.unschedulable": _field("spec", "unschedulable", default="false")},
    PODS: {
        "spec.nodeName": _field("spec", "nodeName"),
        "spec.restartPolicy": _field("spec", "restartPolicy"),
        "spec.schedulerName": _field("spec", "schedulerName"),
        "spec.serviceAccountName": _field("spec", "serviceAccountName"),
        "spec.hostNetwork": _field("spec", "hostNetwork", default="false"),
        "status.phase": _field("status", "phase"),
        "status.podIP": _field("status", "podIP"),
        "status.podIPs": _field("status", "podIP"),
        "status.nominatedNodeName": _field("status", "nominatedNodeName"),
    },
    EVENTS: {
        **{f"involvedObject.{name}": _field("involvedObject", name) for name in _INVOLVED},
        "reason": _field("reason"),
        "reportingComponent": _field("reportingComponent"),
        "source": lambda obj: (obj.get("source") or {}).get("component") or obj.get("reportingComponent", ""),
        "type": _field("type"),
    },
    NAMESPACES: {"status.phase": _field("status", "phase"), "name": _field("metadata", "name")},
    JOBS: {"status.successful": _field("status", "succeeded", default="0")},
}


@dataclass(frozen=True)
class Fields:
    """A parsed field selector."""

    terms: tuple[tuple[str, str, str, Callable[[Object], str]], ...]

    def __call__(self, obj: Object) -> bool:
        return all((read(obj) == value) != (operator == "!=") for _, operator, value, read in self.terms)

    def exactly(self, field: str) -> str | None:
        """The one value ``field`` must have, if there is such a term."""
        found = (value for name, operator, value, _ in self.terms if name == field and operator != "!=")
        return next(found, None)


def parse_fields(resource: Resource, text: str) -> Fields:
    readers = {"metadata.name": _field("metadata", "name"), **_FIELDS.get(resource, {})}
    if resource.namespaced or resource is VOLUME_ATTACHMENTS:
        readers["metadata.namespace"] = _field("metadata", "namespace")
    terms = []
    for term in re.split(r"(?<!\\),", text):
        if term in ("", "="):
            continue
        match = _FIELD_TERM.fullmatch(term)
        if match is None:
            raise bad_request(f"invalid selector: '{text}'; can't understand '{term}'")
        name, operator, value = match.groups()
        if re.search(r"(?<!\\)=", value):
            raise bad_request("invalid field selector: unescaped character in value: 61")
        if name not in readers:
            raise bad_request(_unsupported(resource, name))
        terms.append((name, operator, re.sub(r"\\(.)", r"\1", value), readers[name]))
    return Fields(tuple(terms))


def _unsupported(resource: Resource, name: str) -> str:
    if resource is JOBS:
        return f'field label "{name}" not supported for Job'
    if resource.group:
        return f'"{name}" is not a known field selector: only "metadata.name", "metadata.namespace"'
    return f"field label not supported: {name}"
