"""No test waits on luck: on a machine that is busy with something else it takes longer and says the same.

What must come is waited for by the minute, which costs nothing when it comes. What must not come is watched for a
moment; that moment can pass too soon, and then the test sees less, but it does not fail.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import hypothesis

from tests.sim.agent import ROOT

A_MOMENT = 0.5
"""Seconds: as long as a test watches for what must not come."""

PATIENCE = 30.0
"""Seconds: the least that a test waits for what must come."""

AN_AGE = 20.0
"""Seconds: what takes a moment and is asserted to take less than this has waited for something else instead."""

_WAITS = {"join", "wait", "eventually", "wait_for", "wait_ready", "wait_result", "wait_settled", "wait_empty"}
_CLOCKS = {"monotonic", "perf_counter", "time"}


def test_no_generated_example_has_a_deadline() -> None:
    assert hypothesis.settings().deadline is None


def test_every_wait_is_a_moment_or_patient() -> None:
    assert [found for path in sources() for found in hasty_waits(path)] == []


def test_nothing_is_asserted_to_be_fast() -> None:
    assert [found for path in sources() for found in stopwatches(path)] == []


def sources() -> Iterator[Path]:
    for area in ("unit", "integration", "sim", "container"):
        yield from sorted((ROOT / "tests" / area).rglob("*.py"))


def hasty_waits(path: Path) -> Iterator[str]:
    """Calls and defaults that give up on something after a time between a moment and patience.

    A loop that wakes up now and then (``while not stop.wait(5)``) gives up on nothing.
    """
    tree = ast.parse(path.read_text())
    pauses = {id(inner) for loop in ast.walk(tree) if isinstance(loop, ast.While) for inner in ast.walk(loop.test)}
    for node in ast.walk(tree):
        found: list[ast.expr] = []
        if isinstance(node, ast.Call) and _name(node.func) in _WAITS and id(node) not in pauses:
            found = [*node.args, *(keyword.value for keyword in node.keywords if keyword.arg == "timeout")]
        elif isinstance(node, ast.FunctionDef):
            named = zip(reversed(node.args.args), reversed(node.args.defaults), strict=False)
            found = [default for argument, default in named if argument.arg == "timeout"]
        for value in found:
            seconds = value.value if isinstance(value, ast.Constant) else None
            if isinstance(seconds, int | float) and A_MOMENT < seconds < PATIENCE:
                yield f"{path.relative_to(ROOT)}:{value.lineno} waits {seconds:g} s"


def stopwatches(path: Path) -> Iterator[str]:
    """Assertions that the machine's clock has not gone further than a number, unless that is an age."""
    for node in ast.walk(ast.parse(path.read_text())):
        if not isinstance(node, ast.Assert):
            continue
        for compared in ast.walk(node.test):
            if isinstance(compared, ast.Compare) and isinstance(compared.ops[-1], ast.Lt | ast.LtE):
                last = compared.comparators[-1]
                if _reads_the_clock(compared.left) and _number(last) < AN_AGE:
                    yield f"{path.relative_to(ROOT)}:{node.lineno} asserts a speed"


def _number(expression: ast.expr) -> float:
    """The number that it is; an age where it is worked out."""
    value = expression.value if isinstance(expression, ast.Constant) else None
    return value if isinstance(value, int | float) else AN_AGE


def _reads_the_clock(expression: ast.expr) -> bool:
    """Whether it calls the machine's own clock; a test's own clock is called ``clock``."""
    return any(
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in _CLOCKS
        and isinstance(node.func.value, ast.Name)
        and node.func.value.id == "time"
        for node in ast.walk(expression)
    )


def _name(called: ast.expr) -> str:
    return called.attr if isinstance(called, ast.Attribute) else called.id if isinstance(called, ast.Name) else ""
