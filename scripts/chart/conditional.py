"""One tree for the bundle with and without each of its components. Pure.

The bundle is rendered once bare and once with each component alone. What differs between a rendering and the bare one
is what the component does, and becomes conditional; so whatever a component adds, changes or removes is followed here
without knowing what it is about.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

Node = Any
"""A scalar, a ``dict`` or ``list`` of nodes, or a ``Fields`` or ``Items`` where something is conditional."""


@dataclass(frozen=True)
class Choice:
    """A node that is there when ``condition``, an expression of Go's templates, is true; always when it is empty."""

    condition: str
    node: Node


@dataclass(frozen=True)
class Fields:
    """A mapping whose keys each have their choices, of which at most one is taken."""

    fields: Mapping[str, tuple[Choice, ...]]


@dataclass(frozen=True)
class Items:
    """A list of choices."""

    items: tuple[Choice, ...]


Variants = Mapping[str, Node]
"""Condition to the tree as it is when that condition alone is true."""

_ABSENT = object()


def combine(base: Node, variants: Variants) -> Node:
    """The tree that is ``base`` without any condition, and the variant with one.

    Raises:
        ValueError: two components set the same scalar to different values, or one takes all that a mapping holds.
    """
    changed = {condition: node for condition, node in variants.items() if node != base}
    if not changed:
        return base
    if all(isinstance(node, dict) for node in (base, *changed.values())):
        return _fields(base, variants)
    if all(isinstance(node, list) for node in (base, *changed.values())):
        return _items(base, variants)
    raise ValueError(f"{base!r} becomes of another kind: {changed}")


def _fields(base: Mapping[str, Node], variants: Variants) -> Fields:
    keys = dict.fromkeys([*base, *(key for node in variants.values() for key in node)])
    fields = {key: _choices(base.get(key, _ABSENT), _each(key, variants)) for key in keys}
    # What is always there comes first: a mapping in a list begins beside the list's dash.
    ordered = sorted(fields, key=lambda key: all(choice.condition for choice in fields[key]))
    if base and all(choice.condition for choice in fields[ordered[0]]):
        raise ValueError(f"nothing of {sorted(base)} is there in every case")
    return Fields({key: fields[key] for key in ordered})


def _each(key: str, variants: Variants) -> Variants:
    return {condition: node.get(key, _ABSENT) for condition, node in variants.items()}


def _choices(base: Node, variants: Variants) -> tuple[Choice, ...]:
    """The choices of one field; ``_ABSENT`` where it is not there."""
    there = {condition: node for condition, node in variants.items() if node is not _ABSENT}
    if base is _ABSENT:
        (first, *others) = there.values()
        if all(node == first for node in others):
            return (Choice(any_of(there), first),)
        empty: Node = {} if isinstance(first, dict) else []
        return (Choice(any_of(there), combine(empty, there)),)
    gone = [condition for condition in variants if condition not in there]
    if all(node == base for node in there.values()):
        return (Choice(none_of(gone), base),)
    if isinstance(base, dict | list):
        return (Choice(none_of(gone), combine(base, there)),)
    values = {condition: node for condition, node in there.items() if node != base}
    if len({json.dumps(node) for node in values.values()}) > 1:
        raise ValueError(f"components set {base!r} to different values: {values}")
    (value, *_) = values.values()
    return (Choice(none_of([*values, *gone]), base), Choice(any_of(values), value))


def _items(base: list[Node], variants: Variants) -> Items:
    """Items are known by their names where they have any, else by what they are."""
    listed = {condition: {_identity(item): item for item in node} for condition, node in variants.items()}
    items = []
    for item in base:
        name = _identity(item)
        there = {condition: found[name] for condition, found in listed.items() if name in found}
        gone = [condition for condition in listed if condition not in there]
        items.append(Choice(none_of(gone), combine(item, there)))
    known = {_identity(item) for item in base}
    added = dict.fromkeys(name for found in listed.values() for name in found if name not in known)
    for name in added:
        there = {condition: found[name] for condition, found in listed.items() if name in found}
        (first, *others) = there.values()
        if any(node != first for node in others):
            raise ValueError(f"components add {name} in different ways")
        items.append(Choice(any_of(there), first))
    return Items(tuple(items))


def _identity(item: Node) -> str:
    if isinstance(item, dict) and "name" in item:
        return f"{item['name']} {item.get('mountPath', '')}"
    return json.dumps(item, sort_keys=True)


def any_of(conditions: Iterable[str]) -> str:
    """True when one of them is."""
    each = list(conditions)
    return each[0] if len(each) == 1 else f"or {' '.join(_operand(one) for one in each)}"


def none_of(conditions: Iterable[str]) -> str:
    """True when none of them is; empty, which is always, without any."""
    each = list(conditions)
    return f"not {_operand(any_of(each))}" if each else ""


def _operand(condition: str) -> str:
    return f"({condition})" if " " in condition else condition
