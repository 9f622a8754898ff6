"""The limits the cluster's owner sets, whatever Central asks; read anew so that they hold without a restart."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from shared.config.signing import parse_signing_keys
from shared.config.values import (
    Malformed,
    names_of,
    number,
    parse_flag,
    parse_words,
    setting,
)
from shared.config.windows import Window, parse_windows
from shared.schemas.parameters import PARAMETERS

_LARGEST = 64 * 1024
"""Bytes of a key that are looked at; a ConfigMap has 1 MiB at most."""

_SHARE = re.compile(r"(?P<amount>\d{1,6})(?P<percent>%?)(?:/(?P<label>[!-.0-~][!-~]*))?")


@dataclass(frozen=True)
class Share:
    """How many nodes: a number, or a percentage of all; of each group of nodes where a ``label`` makes groups."""

    amount: int
    percent: bool = False
    label: str | None = None

    def of(self, total: int) -> int:
        """The number it means of ``total`` nodes. A part of a node is one, as in Karpenter's budgets."""
        return math.ceil(total * self.amount / 100) if self.percent else self.amount

    def __str__(self) -> str:
        return f"{self.amount}{'%' if self.percent else ''}{f'/{self.label}' if self.label else ''}"


def _parse_shares(text: str) -> tuple[Share, ...]:
    expected = "nodes or a percentage, also of groups by a label, such as 10,20%/topology.kubernetes.io/zone"
    shares = []
    for word in parse_words(text):
        match = _SHARE.fullmatch(word)
        amount = int(match["amount"]) if match else -1
        if match is None or amount > (100 if match["percent"] else 100_000):
            raise Malformed(f"{expected}; not understood: {word[:80]!r}")
        shares.append(Share(amount, bool(match["percent"]), match["label"]))
    return tuple(shares)


@dataclass(frozen=True)
class Limits:
    """What Central may have done here."""

    folder: Path | None = setting(
        "LIMITS_DIR",
        Path,
        "Directory of mounted ConfigMap keys (`max-cordoned-nodes` and so on) that take the place of the variables"
        " below, re-read while the agent runs.",
        None,
    )
    paused: bool = setting(
        "TASKS_PAUSED", parse_flag, "Refuse every task for now; on when the variable or the mounted key says so.", False
    )
    read_only: bool = setting("READ_ONLY", parse_flag, "Take no task at all, and register without task types.", False)
    allowed_types: frozenset[str] = setting(
        "ALLOWED_TASK_TYPES",
        names_of(PARAMETERS),
        "Comma-separated task types that may run; all if unset.",
        frozenset(PARAMETERS),
    )
    windows: tuple[Window, ...] = setting(
        "MAINTENANCE_WINDOWS",
        parse_windows,
        "Days, hours and time zone outside which every task but a dry run is refused, such as"
        " `Mon-Fri 22:00-06:00 Europe/Berlin; Sat,Sun 00:00-24:00`.",
        (),
    )
    protected_namespaces: tuple[str, ...] = setting(
        "PROTECTED_NAMESPACES",
        parse_words,
        "Comma-separated namespaces whose pods no task touches, besides those labelled `cloudoptim.io/protected=true`.",
        (),
    )
    protected_labels: tuple[str, ...] = setting(
        "PROTECTED_LABELS",
        parse_words,
        "Comma-separated domains, such as `karpenter.sh`; no task changes a label under one, with `force` either.",
        (),
    )
    control_plane_allowed: bool = setting(
        "ALLOW_CONTROL_PLANE_NODES", parse_flag, "Let tasks write to nodes of the control plane.", False
    )
    max_cordoned: tuple[Share, ...] = setting(
        "MAX_CORDONED_NODES",
        _parse_shares,
        "Refuse to cordon when this many nodes already are, by anyone: a number, a percentage, or either for each"
        " group of nodes with the same label, such as `10,20%/topology.kubernetes.io/zone`.",
        (),
    )
    max_drains_per_hour: int | None = setting(
        "MAX_DRAINS_PER_HOUR", number(int, 0, 100_000), "Drains that may begin within an hour.", None
    )
    max_evictions_per_hour: int | None = setting(
        "MAX_EVICTIONS_PER_HOUR",
        number(int, 0, 1_000_000),
        "Pods that may be evicted or deleted within an hour; a drain waits for more.",
        None,
    )
    signing_keys: tuple[str, ...] = setting(
        "TASK_SIGNING_KEY",
        parse_signing_keys,
        "Public Ed25519 key, PEM or base64, of whoever may give tasks; a task without a signature by it is refused.",
        (),
    )
    paused_by: str | None = None
    """What pauses all tasks, where that is not the variable: the mounted key."""
    unreadable: str | None = None
    """What is wrong with a mounted key; while anything is, every task is refused."""

    @property
    def task_types(self) -> list[str]:
        """The types of task that are taken at all."""
        return [] if self.read_only else sorted(self.allowed_types)

    def words(self) -> dict[str, str]:
        """The limits that are set, by their variables, as the owner would write them."""
        found = {}
        for variable, entry in _KEYS.items():
            value = getattr(self, entry.name)
            if value != entry.default:
                parts = sorted(value) if isinstance(value, frozenset) else value
                separator = "; " if variable == "MAINTENANCE_WINDOWS" else ","
                listed = isinstance(parts, list | tuple)
                found[variable] = separator.join(map(str, parts)) if listed else str(value).lower()
        return found

    def current(self) -> Limits:
        """The limits as they are now: those of the mounted keys, and the variables' where there is no key.

        What cannot be read lifts nothing: it is ``unreadable``, and the variables' limits stand.
        """
        if self.folder is None:
            return self
        values: dict[str, Any] = {}
        problems: list[str] = []
        for variable, entry in _KEYS.items():
            path = self.folder / key_of(variable)
            try:
                if text := _read(path):
                    values[entry.name] = entry.metadata["parse"](text)
            except FileNotFoundError:
                continue
            except (OSError, UnicodeDecodeError, Malformed) as error:
                problems.append(f"{path}: {_said(error)}")
        if values.get("paused"):
            values["paused_by"] = f"{self.folder / 'tasks-paused'} says so"
        values["paused"] = self.paused or values.get("paused", False)  # No key lifts what the variable stops.
        return replace(self, **values, unreadable="; ".join(problems) or None)

    def are_paused(self) -> str | None:
        """The rule that pauses all tasks, as of when these limits were read; None when none does."""
        if not self.paused:
            return f"their limits cannot be read: {self.unreadable}" if self.unreadable else None
        return self.paused_by or "TASKS_PAUSED is true"


def key_of(variable: str) -> str:
    """The ConfigMap key of a limit: ``MAX_CORDONED_NODES`` is ``max-cordoned-nodes``."""
    return variable.lower().replace("_", "-")


def variable_of(key: str) -> str:
    """The variable that a ConfigMap key stands for."""
    return key.upper().replace("-", "_")


_KEYS: Mapping[str, Any] = {
    entry.metadata["variable"]: entry for entry in fields(Limits) if entry.metadata and entry.name != "folder"
}

KEYS = tuple(key_of(variable) for variable in _KEYS)
"""Every key of LIMITS_DIR; the Deployment mounts them."""


def _read(path: Path) -> str:
    with path.open(encoding="utf-8") as file:
        return file.read(_LARGEST).strip()


def _said(error: Exception) -> str:
    if isinstance(error, Malformed):
        return f"expected {error}"
    return getattr(error, "strerror", None) or type(error).__name__
