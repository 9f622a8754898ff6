"""Imports point one way: workers → adapters (queue, central, kube) → the rest of shared → libraries.

What is not in these tables is not allowed. An area is a package, or a module of a room.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[2]

ROOMS = {"shared.basics", "shared.process", "workers.commands"}
"""Packages whose modules are areas of their own."""

ADAPTERS = {"shared.queue", "shared.central", "shared.clouds", "shared.kube"}
BASICS = {"shared", "shared.basics.errors", "shared.process.state", "shared.basics.timing"}
"""What may be imported everywhere: words, keys and clocks."""

MAY_IMPORT: dict[str, set[str]] = {
    # Basics import nothing but each other.
    "shared": set(),
    "shared.basics": set(),
    "shared.basics.errors": set(),
    "shared.basics.timing": set(),
    "shared.process": set(),
    "shared.process.state": set(),
    # The contract, settings and what every process needs; no I/O but files.
    "shared.schemas": set(),
    "shared.basics.api_key": set(),
    "shared.config": {"shared.basics.api_key", "shared.schemas"},
    "shared.basics.throttle": {"shared.basics.telemetry"},
    "shared.basics.logs": {"shared.basics.throttle"},
    "shared.basics.telemetry": set(),
    "shared.process.age": set(),
    "shared.process.confinement": set(),
    "shared.process.beats": set(),
    "shared.process.identity": {"shared.process.age"},
    "shared.basics.transfer": set(),
    # Adapters. None knows another.
    "shared.queue": {"shared.basics.telemetry"},
    "shared.central": {"shared.basics.api_key", "shared.basics.telemetry", "shared.basics.transfer"},
    "shared.clouds": {"shared.basics.transfer"},
    "shared.kube": {"shared.basics.telemetry", "shared.basics.transfer"},
    "shared.process.programs": {"shared.process.age"},
    # What is built on them for all workers.
    "shared.process.refusals": {"shared.basics.api_key", "shared.queue"},
    "shared.process.counters": {
        "shared.basics.telemetry",
        "shared.process.programs",
        "shared.queue",
        "shared.schemas",
    },
    "shared.process.lifecycle": {
        "shared.config",
        "shared.process.beats",
        "shared.process.confinement",
        "shared.process.counters",
        "shared.process.identity",
        "shared.basics.logs",
        "shared.process.programs",
        "shared.queue",
        "shared.basics.telemetry",
    },
    "shared.process.overview": {"shared.process.programs", "shared.queue"},
    "shared.process.supervise": {"shared.basics.logs", "shared.process.confinement"},
    # The workers: what each may know of the world is what it imports here.
    "workers.health": {
        "shared.process.overview",
        "shared.basics.logs",
        "shared.process.lifecycle",
        "shared.process.programs",
        "shared.queue",
        "shared.basics.telemetry",
    },
    "workers.heartbeat": {
        "shared.central",
        "shared.clouds",
        "shared.process.lifecycle",
        "shared.basics.logs",
        "shared.queue",
        "shared.process.refusals",
        "shared.schemas",
        "shared.basics.telemetry",
    },
    "workers.event_watcher": {
        "shared.kube",
        "shared.process.lifecycle",
        "shared.queue",
        "shared.schemas",
        "shared.basics.telemetry",
    },
    "workers.metrics": {
        "shared.kube",
        "shared.process.lifecycle",
        "shared.queue",
        "shared.schemas",
        "shared.basics.telemetry",
    },
    "workers.task_runner": {
        "shared.basics.throttle",
        "shared.central",
        "shared.config",
        "shared.kube",
        "shared.process.lifecycle",
        "shared.basics.logs",
        "shared.queue",
        "shared.process.refusals",
        "shared.schemas",
        "shared.basics.telemetry",
    },
    # Commands, not workers: they look at everything from outside.
    "workers.commands": set(),
    "workers.commands.doctor": {
        "shared.queue",
        "shared.central",
        "shared.kube",
        "shared.config",
        "shared.process.identity",
        "shared.process.programs",
    },
    "workers.commands.dead_letters": {"shared.basics.logs", "shared.queue"},
    "workers.commands.status": {
        "shared.basics.logs",
        "shared.process.overview",
        "shared.process.programs",
        "shared.queue",
    },
    "workers.commands.tasks": {"shared.basics.logs", "shared.queue"},
    "workers.commands.__main__": {
        "shared.config",
        "shared.process.confinement",
        "shared.process.programs",
        "shared.process.supervise",
        "shared.queue",
        "workers.commands.dead_letters",
        "workers.commands.doctor",
        "workers.commands.status",
        "workers.commands.tasks",
    },
    "workers": set(),
}

TASK_RUNNER: dict[str, set[str]] = {
    # The ground floor: the owner's law, what Central may say, and what an operation is given.
    "guards": set(),
    "receiving": set(),
    "work": {"guards"},
    "records": {"receiving", "work"},
    "leaving": {"guards", "work"},
    "operations": {"guards", "leaving", "records", "work"},
    # The floor above, on which all is put together.
    "": {"guards", "operations", "receiving", "records", "work"},
}
"""The rooms of the task-runner, and what each may know of the others."""

LIBRARIES: dict[str, set[str]] = {
    "kubernetes": {"shared.kube"},
    "requests": {"shared.central", "shared.clouds", "workers.commands.doctor"},
    "websocket": {"shared.central"},
    "urllib3": {"shared.central", "shared.clouds", "shared.kube", "shared.basics.transfer", "workers.commands.doctor"},
    "sqlite3": {"shared.queue"},
    "supervisor": {"shared.process.supervise"},
    "xmlrpc": {"shared.process.programs"},
    "http": {
        "shared.basics.transfer",
        "shared.central",
        "shared.process.programs",
        "workers.commands.doctor",
        "workers.health",
    },
    "prometheus_client": {"shared.basics.telemetry", "workers.health"},
    "pythonjsonlogger": {"shared.basics.logs"},
    "nacl": {"workers.task_runner"},
    "rfc8785": {"workers.task_runner"},
    "pydantic": {"shared.schemas", "workers.task_runner"},
    "msgspec": {"shared.central", "shared.queue", "shared.kube", "workers.event_watcher", "workers.task_runner"},
}
"""Who may know a library: what it raises is translated there, and nowhere else is it heard of."""

BUILDERS: dict[str, set[str]] = {
    "Kube": {"workers/commands/doctor/examine.py"},
    "CentralClient": set(),
    "AzureRetail": set(),
    "TaskStream": set(),
    "Caller": {"workers/commands/doctor/central.py"},
    "Broker": set(),
    # The twin in memory is a store without a broker.
    "Store": {"shared/queue/memory.py"},
    # Every worker's __main__ begins with lifecycle.start(), which builds these for all five.
    "QueueClient": {"shared/process/lifecycle.py", "workers/commands/doctor/agent.py"},
    "Programs": {"shared/process/lifecycle.py", "workers/commands/doctor/agent.py"},
    "config.load": {
        "shared/process/lifecycle.py",
        "workers/commands/doctor/examine.py",
        "workers/commands/doctor/laptop.py",
    },
}
"""Who, beside the ``__main__`` modules, may build adapters and settings. The doctor is a command of its own."""

ENVIRONMENT: dict[str, str] = {
    "shared/process/lifecycle.py": "hands it to config.load; a log that says what is wrong needs CLUSTER_ID first",
    "shared/process/supervise.py": "gives a child that runs in place the environment that exec would have given it",
    "workers/commands/__main__.py": "hands it to config.load, and sets what supervisord and its children expect",
}
"""Who touches os.environ, and why shared/config does not do it for them."""


class Import(NamedTuple):
    path: str
    area: str
    line: int
    module: str


def area_of(module: str) -> str:
    """The package, module at the top of ``shared``, or module of a room that a dotted name belongs to."""
    parts = module.split(".")
    if parts[0] not in ("shared", "workers"):
        return parts[0]
    return ".".join(parts[: 3 if ".".join(parts[:2]) in ROOMS else 2])


def sources() -> Iterator[tuple[str, str, ast.Module]]:
    """Relative path, area and syntax tree of every module we ship."""
    for folder in ("shared", "workers"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            relative = path.relative_to(ROOT)
            parts = relative.with_suffix("").parts
            dotted = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
            yield str(relative), area_of(dotted), ast.parse(path.read_text(encoding="utf-8"))


SOURCES = list(sources())


def imports() -> Iterator[Import]:
    """Every import of every module, those inside functions included."""
    for path, area, tree in SOURCES:
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{path}:{node.lineno}: a relative import"
                # "from shared.basics import telemetry" may name a module or a name in the package.
                names = [_module(node.module or "", alias.name) for alias in node.names]
            else:
                continue
            for name in names:
                yield Import(path, area, node.lineno, name)


def _module(package: str, name: str) -> str:
    inside = ROOT.joinpath(*package.split("."), name)
    return f"{package}.{name}" if inside.is_dir() or inside.with_suffix(".py").exists() else package


IMPORTS = list(imports())


def test_every_area_is_in_the_table() -> None:
    assert {area for _, area, _ in SOURCES} == set(MAY_IMPORT)


@pytest.mark.parametrize("area", MAY_IMPORT)
def test_imports_point_the_way_of_the_table(area: str) -> None:
    allowed = {area, *MAY_IMPORT[area], *BASICS}
    wrong = [
        f"{found.path}:{found.line} imports {found.module}"
        for found in IMPORTS
        if found.area == area and found.module.split(".")[0] in ("shared", "workers")
        if area_of(found.module) not in allowed
    ]
    assert wrong == []


@pytest.mark.parametrize("area", MAY_IMPORT)
def test_the_table_allows_no_more_than_is_used(area: str) -> None:
    used = {area_of(found.module) for found in IMPORTS if found.area == area}
    assert MAY_IMPORT[area] - used == set()


def test_the_ground_stands_on_nothing() -> None:
    for area in (area for area in MAY_IMPORT if area.startswith("shared.basics")):
        assert {other for other in MAY_IMPORT[area] if not other.startswith("shared.basics")} == set()


def test_no_worker_may_import_another_and_no_adapter_another() -> None:
    workers = {area for area in MAY_IMPORT if area.startswith("workers.") and area != "workers.commands.__main__"}
    for area in workers:
        assert MAY_IMPORT[area].isdisjoint(workers - {area})
    for adapter in ADAPTERS:
        assert MAY_IMPORT[adapter].isdisjoint(ADAPTERS)


def test_nothing_in_shared_knows_a_worker_and_the_table_has_no_circles() -> None:
    order: list[str] = []

    def visit(area: str, on_the_way: tuple[str, ...]) -> None:
        assert area not in on_the_way, f"a circle: {' → '.join((*on_the_way, area))}"
        if area not in order:
            for other in sorted(MAY_IMPORT[area]):
                visit(other, (*on_the_way, area))
            order.append(area)

    for area in MAY_IMPORT:
        visit(area, ())
        if not area.startswith("workers"):
            assert not any(other.startswith("workers") for other in MAY_IMPORT[area])


def test_a_worker_that_only_reads_kubernetes_never_learns_what_central_is() -> None:
    for area in ("workers.metrics", "workers.event_watcher", "workers.health"):
        assert "shared.central" not in MAY_IMPORT[area]
    for area in ("workers.heartbeat", "workers.health"):
        assert "shared.kube" not in MAY_IMPORT[area]


def test_the_rooms_of_the_task_runner_point_one_way() -> None:
    known: dict[str, set[str]] = {}
    for found in IMPORTS:
        if found.area == "workers.task_runner" and found.module.startswith("workers.task_runner."):
            known.setdefault(_room(found.path.split("/")[2:]), set()).add(_room(found.module.split(".")[2:]))
    assert {room: sorted(others - {room}) for room, others in known.items()} == {
        room: sorted(others) for room, others in TASK_RUNNER.items() if room in known
    }
    order: list[str] = []
    while len(order) < len(TASK_RUNNER):
        free = [room for room, others in TASK_RUNNER.items() if room not in order and others <= set(order)]
        assert free, f"a circle among {set(TASK_RUNNER) - set(order)}"
        order += free


def _room(parts: list[str]) -> str:
    return parts[0] if parts and parts[0] in TASK_RUNNER else ""


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_library_is_known_where_it_is_translated(library: str) -> None:
    wrong = [
        f"{found.path}:{found.line}"
        for found in IMPORTS
        if found.module.split(".")[0] == library and found.area not in LIBRARIES[library]
    ]
    assert wrong == []


def test_every_library_is_in_the_table() -> None:
    known = {"shared", "workers", *sys.stdlib_module_names, *LIBRARIES}
    assert {found.module.split(".")[0] for found in IMPORTS} - known == set()


@pytest.mark.parametrize("name", BUILDERS)
def test_only_a_main_builds_adapters_and_settings(name: str) -> None:
    builders = {path for path, _, tree in SOURCES if any(_called(node) == name for node in ast.walk(tree))}
    mains = {path for path in builders if path.endswith("__main__.py")}
    assert builders - mains == BUILDERS[name]


def _called(node: ast.AST) -> str | None:
    """The name that a call calls; of a module's function with the module."""
    if not isinstance(node, ast.Call):
        return None
    if isinstance(node.func, ast.Name):
        return node.func.id
    if isinstance(node.func, ast.Attribute) and isinstance(node.func.value, ast.Name):
        return f"{node.func.value.id}.{node.func.attr}"
    return None


def test_only_these_touch_the_environment() -> None:
    touching = {
        path
        for path, _, tree in SOURCES
        for node in ast.walk(tree)
        if (isinstance(node, ast.Attribute) and node.attr in ("environ", "getenv", "putenv", "environb"))
        or (
            isinstance(node, ast.ImportFrom)
            and node.module == "os"
            and {a.name for a in node.names} & {"environ", "getenv"}
        )
    }
    assert touching == set(ENVIRONMENT)


def test_the_preloaded_mains_do_nothing_at_import() -> None:
    for path, _, tree in SOURCES:
        if not path.endswith("__main__.py"):
            continue
        for statement in tree.body:
            assert isinstance(statement, (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.Assign, ast.If, ast.Expr)), (
                f"{path}:{statement.lineno}"
            )
            if isinstance(statement, ast.Expr):
                assert isinstance(statement.value, ast.Constant), f"{path}:{statement.lineno} is a call"
            if isinstance(statement, ast.If):
                assert ast.unparse(statement.test) == "__name__ == '__main__'"
