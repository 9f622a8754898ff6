"""A sight: an occurrence as one object shows it.

Every occurrence has an id that depends on what happened and not on who saw it, so that the same one seen in an
event and in a status, or again after a restart, is recognised by us and by Central.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from shared.kube.objects import Meta, Owner
from shared.schemas.events import ClusterEvent

MESSAGE = 1024
"""Characters of a message that are told."""


@dataclass(frozen=True)
class Sight:
    """An occurrence, and what only this process needs to know of it."""

    event: ClusterEvent
    source: str = ""
    """The object that counts how often it happened. Several may do so, each for itself."""
    controller: Owner | None = None
    """The pod's, where the object says it."""
    undated: bool = False
    """Nothing says when it happened: another sight of it is the same one again, whenever it is."""
    late: bool = False
    """It is told long after it happened, by a node that was cut off, and is news all the same."""


def name_of(*parts: str) -> str:
    """A short, stable name for what ``parts`` identify."""
    return hashlib.sha256("/".join(parts).encode()).hexdigest()[:32]


def object_key(uid: str, namespace: str, name: str) -> str:
    """What an object is known by: its uid, or what it is called where nobody says one."""
    return uid or f"{namespace}/{name}"


def moment(value: datetime | None) -> datetime | None:
    """``value`` if it can be when something happened: kubelets write null or 1970 where they do not know."""
    return value if value is not None and value.year > 1970 else None


def latest(values: Iterable[datetime | None]) -> datetime | None:
    """The last of those that are known."""
    return max((value for value in map(moment, values) if value is not None), default=None)


def owner_name(owner: Owner | None) -> str | None:
    """A controller as ``Kind/name``."""
    return f"{owner.kind}/{owner.name}" if owner else None


def key_of(meta: Meta) -> str:
    """What the object with this metadata is known by."""
    return object_key(meta.uid, meta.namespace, meta.name)
