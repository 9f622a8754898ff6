"""Trees as the text of Helm templates. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby

import yaml

from scripts.chart.conditional import Fields, Items, Node


@dataclass(frozen=True)
class Expression:
    """A scalar that Helm fills in."""

    text: str


@dataclass(frozen=True)
class Block:
    """Lines that Helm fills in, in place of a node; ``<indent>`` in them stands for the node's column."""

    lines: tuple[str, ...]


@dataclass(frozen=True)
class Open:
    """A mapping or list, and lines that may add to it."""

    node: Node
    more: Block


def render(node: Node) -> str:
    """The text of one template."""
    return "".join(f"{line}\n" for line in _lines(node, 0))


def conditional(condition: str, text: str) -> str:
    """``text`` where the condition holds."""
    return f"{{{{- if {condition} }}}}\n{text}{{{{- end }}}}\n" if condition else text


def _lines(node: Node, column: int) -> Iterator[str]:
    """The lines of a mapping, list or block."""
    if isinstance(node, Open):
        yield from _lines(node.node, column)
        yield from _lines(node.more, column)
    elif isinstance(node, Block):
        for line in node.lines:
            yield " " * column + line.replace("<indent>", str(column))
    elif isinstance(node, dict):
        for key, value in node.items():
            yield from _field(key, value, column)
    elif isinstance(node, Fields):
        flat = [(choice.condition, key, choice.node) for key, choices in node.fields.items() for choice in choices]
        yield from _guarded(((condition, list(_field(key, value, column))) for condition, key, value in flat), column)
    elif isinstance(node, list):
        for item in node:
            yield from _item(item, column)
    elif isinstance(node, Items):
        yield from _guarded(((choice.condition, list(_item(choice.node, column))) for choice in node.items), column)
    else:
        raise TypeError(f"no mapping and no list: {node!r}")


def _guarded(parts: Iterable[tuple[str, list[str]]], column: int) -> Iterator[str]:
    """Lines by their conditions, those of one condition that follow each other together."""
    for condition, group in groupby(parts, key=lambda part: part[0]):
        lines = [line for _, part in group for line in part]
        yield from (
            lines
            if not condition
            else (
                f"{' ' * column}{{{{- if {condition} }}}}",
                *lines,
                f"{' ' * column}{{{{- end }}}}",
            )
        )


def _field(key: str, value: Node, column: int) -> Iterator[str]:
    head = f"{' ' * column}{_scalar(key)}:"
    if _is_scalar(value):
        yield f"{head} {_scalar(value)}"
    else:
        yield head
        yield from _lines(value, column + 2)


def _item(value: Node, column: int) -> Iterator[str]:
    dash = f"{' ' * column}- "
    if _is_scalar(value):
        yield f"{dash}{_scalar(value)}"
    else:
        first, *others = _lines(value, column + 2)
        yield dash + first[column + 2 :]
        yield from others


def _is_scalar(node: Node) -> bool:
    return isinstance(node, str | int | float | bool | Expression) or node is None or node in ({}, [])


def _scalar(node: Node) -> str:
    """As YAML; what looks like a template in a text stays a text."""
    if isinstance(node, Expression):
        return f"{{{{ {node.text} }}}}"
    if isinstance(node, str):
        plain: str = yaml.safe_dump(node, width=10_000, default_flow_style=True).removesuffix("\n...\n").strip()
        quoted = json.dumps(node, ensure_ascii=False) if "\n" in node or "{{" in node else plain
        return quoted.replace("{{", '{{ "{{" }}')
    return json.dumps(node)
