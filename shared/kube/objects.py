"""The parts of Kubernetes objects that several readers need. Only named fields are decoded."""

from __future__ import annotations

from datetime import datetime
from typing import Any, TypeVar

import msgspec

from shared.kube.errors import Unclear

T = TypeVar("T")


class Struct(msgspec.Struct, frozen=True, rename="camel", gc=False):
    """Base of all decoded parts: Kubernetes' camelCase names, and nothing the garbage collector must walk."""


class Owner(Struct, frozen=True):
    """An ownerReference."""

    kind: str
    name: str
    uid: str = ""
    controller: bool | None = None
    api_version: str = ""


class Meta(Struct, frozen=True):
    """ObjectMeta."""

    name: str = ""
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    creation_timestamp: datetime | None = None
    deletion_timestamp: datetime | None = None
    deletion_grace_period_seconds: int | None = None
    labels: dict[str, str] | None = None
    annotations: dict[str, str] | None = None
    owner_references: list[Owner] | None = None
    finalizers: list[str] | None = None

    @property
    def full_name(self) -> str:
        """``namespace/name``, as people write it."""
        return f"{self.namespace}/{self.name}" if self.namespace else self.name


class ListMeta(Struct, frozen=True):
    """Metadata of a list."""

    resource_version: str = ""
    continue_: str = msgspec.field(name="continue", default="")
    remaining_item_count: int | None = None


class Condition(Struct, frozen=True):
    """A condition of a node or pod."""

    type: str
    status: str = ""
    reason: str = ""
    message: str = ""
    last_transition_time: datetime | None = None


def controller_of(meta: Meta) -> Owner | None:
    """The controlling ownerReference, of which there is at most one."""
    return controller_of_owners(meta.owner_references)


def controller_of_owners(owners: list[Owner] | None) -> Owner | None:
    """The one of ``owners`` that controls the object."""
    return next((owner for owner in owners or () if owner.controller), None)


def meant(found: T, kind: str, name: str) -> T:
    """``found``, which must be the object that was asked for: a proxy answers 200 with pages of its own.

    Raises:
        Unclear: it is something else.
    """
    said: Any = found
    meta = said.metadata
    if (said.kind, meta.name) != (kind, name) or not meta.uid or not meta.resource_version:
        raise Unclear(f"{kind} {name}: the answer is about something else: {said.kind or 'no kind'} {meta.name}")
    return found
