"""The objects, their history and who follows it: what etcd and the watch cache are to a real API server.

Stored objects are never changed in place. Every change stores a new one, so readers need no copies, and
objects made from one template share its sub-structures.
"""

from __future__ import annotations

import threading
from bisect import bisect_left, insort
from collections import ChainMap, deque
from collections.abc import Callable, Iterator
from heapq import merge
from queue import SimpleQueue

import msgspec

from tests.sim.kube.resources import PODS, STORED, Object, Resource

encode = msgspec.json.encode
decode = msgspec.json.decode


class Stored:
    """One version of one object. JSON is made once, when first asked for."""

    __slots__ = ("_raw", "key", "object", "resource", "revision")

    def __init__(self, resource: Resource, key: str, obj: Object, revision: int) -> None:
        self.resource, self.key, self.object, self.revision = resource, key, obj, revision
        self._raw: bytes | None = None

    @property
    def raw(self) -> bytes:
        """As an item of a list: without kind and apiVersion."""
        if self._raw is None:
            self._raw = encode(self.object)
        return self._raw

    @property
    def document(self) -> bytes:
        """As an answer of its own."""
        head = f'{{"kind":"{self.resource.kind}","apiVersion":"{self.resource.api_version}",'
        return head.encode() + self.raw[1:]

    @property
    def name(self) -> str:
        return str(self.object["metadata"]["name"])

    @property
    def namespace(self) -> str | None:
        found: str | None = self.object["metadata"].get("namespace")
        return found

    def at(self, revision: int) -> Stored:
        """The same object under another resourceVersion: how a watch tells of its end."""
        metadata = {**self.object["metadata"], "resourceVersion": str(revision)}
        return Stored(self.resource, self.key, {**self.object, "metadata": metadata}, revision)


class Change:
    """One step of history. ``object`` is None after a deletion, ``previous`` before a creation."""

    __slots__ = ("_lines", "object", "previous", "resource", "revision")

    def __init__(self, resource: Resource, revision: int, new: Stored | None, previous: Stored | None) -> None:
        self.resource, self.revision, self.object, self.previous = resource, revision, new, previous
        self._lines: dict[str, bytes] = {}

    @property
    def latest(self) -> Stored:
        """The object as it is or, when deleted, last was."""
        found = self.object or self.previous
        assert found is not None
        return found

    def shown(self, kind: str) -> Stored:
        """The object a watch event of this kind carries: at its end, the last state under the ending's version."""
        return self.previous.at(self.revision) if kind == "DELETED" and self.previous else self.latest

    def line(self, kind: str) -> bytes:
        """The watch event, encoded once however many watchers read it."""
        line = self._lines.get(kind)
        if line is None:
            document = self.shown(kind).document
            line = self._lines[kind] = b'{"type":"%s","object":%s}\n' % (kind.encode(), document)
        return line


class Subscription:
    """A follower's queue of changes; None in it means the stream is to be cut."""

    def __init__(self, resources: tuple[Resource, ...]) -> None:
        self.resources = resources
        self.queue: SimpleQueue[Change | None] = SimpleQueue()
        self.frozen = False


class Table:
    def __init__(self) -> None:
        self.objects: dict[str, Stored] = {}
        self.keys: list[str] = []

    def set(self, key: str, stored: Stored | None) -> None:
        if stored is None:
            del self.objects[key]
            del self.keys[bisect_left(self.keys, key)]
            return
        if key not in self.objects:
            if self.keys and key > self.keys[-1]:
                self.keys.append(key)
            else:
                insort(self.keys, key)
        self.objects[key] = stored


class PodIndex:
    """Pods by node and by owner, never behind the store."""

    def __init__(self) -> None:
        self._by_node: dict[str, dict[str, Stored]] = {}
        self._by_owner: dict[str, dict[str, Stored]] = {}

    def observe(self, change: Change) -> None:
        if change.resource is not PODS:
            return
        if change.previous is not None:
            for index, value in self._places(change.previous.object):
                index[value].pop(change.previous.key, None)
        if change.object is not None:
            for index, value in self._places(change.object.object):
                index.setdefault(value, {})[change.object.key] = change.object

    def _places(self, pod: Object) -> Iterator[tuple[dict[str, dict[str, Stored]], str]]:
        if node := pod["spec"].get("nodeName"):
            yield self._by_node, node
        for owner in pod["metadata"].get("ownerReferences") or ():
            yield self._by_owner, owner["uid"]

    def on_node(self, node: str) -> list[Stored]:
        return list(self._by_node.get(node, {}).values())

    def depend_on(self, uid: str) -> list[Stored]:
        """Pods with this owner, their controller or not."""
        return list(self._by_owner.get(uid, {}).values())

    def owned_by(self, uid: str) -> list[Stored]:
        """Pods with this controller."""
        return [pod for pod in self.depend_on(uid) if (controller_of(pod.object) or {}).get("uid") == uid]


def controller_of(obj: Object) -> Object | None:
    """The owner reference that controls ``obj``."""
    owners = obj["metadata"].get("ownerReferences") or ()
    return next((owner for owner in owners if owner.get("controller")), None)


class TooOld(Exception):
    """The history asked for has been forgotten."""


_FIRST = 100
"""The resourceVersion a store begins with: what came before is history that nobody remembers."""


class Store:
    """Every object by resource. Hold ``lock`` around a read that decides a write."""

    def __init__(self, history: int = 10_000) -> None:
        self.lock = threading.RLock()
        self.revision = _FIRST
        self.pods = PodIndex()
        self.observers: list[Callable[[Change], None]] = [self.pods.observe]
        """Called under the lock with every change: indexes that must never lag."""
        self._tables = {resource: Table() for resource in STORED}
        self._history: deque[Change] = deque(maxlen=history)
        self._forgotten = _FIRST
        self._subscriptions: dict[Resource, list[Subscription]] = {resource: [] for resource in STORED}

    def get(self, resource: Resource, namespace: str | None, name: str) -> Stored | None:
        return self._tables[resource].objects.get(resource.key(namespace, name))

    def all(self, resource: Resource, namespace: str | None = None) -> list[Stored]:
        """The current objects in key order."""
        with self.lock:
            table = self._tables[resource]
            first, last = self._span(table.keys, namespace)
            return [table.objects[key] for key in table.keys[first:last]]

    def count(self, resource: Resource, namespace: str | None = None) -> int:
        first, last = self._span(self._tables[resource].keys, namespace)
        return last - first

    def put(self, resource: Resource, obj: Object) -> Stored:
        """Create or replace; the object gets the next resourceVersion."""
        with self.lock:
            metadata = obj["metadata"]
            key = resource.key(metadata.get("namespace"), metadata["name"])
            self.revision += 1
            numbered = {**obj, "metadata": {**metadata, "resourceVersion": str(self.revision)}}
            new = Stored(resource, key, numbered, self.revision)
            self._commit(resource, key, new)
            return new

    def remove(self, stored: Stored) -> Stored:
        """Delete; returns the last state under the deletion's resourceVersion."""
        with self.lock:
            self.revision += 1
            self._commit(stored.resource, stored.key, None)
            return stored.at(self.revision)

    def _commit(self, resource: Resource, key: str, new: Stored | None) -> None:
        table = self._tables[resource]
        change = Change(resource, self.revision, new, table.objects.get(key))
        table.set(key, new)
        if len(self._history) == self._history.maxlen:
            self._forgotten = self._history[0].revision
        self._history.append(change)
        for observe in self.observers:
            observe(change)
        for subscription in self._subscriptions[resource]:
            subscription.queue.put(change)

    @property
    def oldest(self) -> int:
        """The oldest resourceVersion a watch can start from."""
        return self._forgotten

    def compact(self) -> None:
        """Forget all history: older watches, continue tokens and exact lists become 410."""
        with self.lock:
            self._history.clear()
            self._forgotten = self.revision

    def page(
        self, resource: Resource, namespace: str | None, revision: int, start: str = ""
    ) -> tuple[Iterator[Stored], int]:
        """Objects as of ``revision`` from key ``start`` on, and how many they are. Read them under the lock.

        The past is the present with the changes since undone, so paging keeps no snapshots.
        """
        if revision < self._forgotten:
            raise TooOld
        table = self._tables[resource]
        first, last = self._span(table.keys, namespace)
        first = max(first, bisect_left(table.keys, start))
        past: dict[str, Stored | None] = {}
        for change in reversed(self._history):
            if change.revision <= revision:
                break
            if change.resource is resource and change.latest.key >= start:
                past[change.latest.key] = change.previous
        prefix = f"{namespace}/" if namespace else ""
        undone = {key: found for key, found in past.items() if found is not None and key.startswith(prefix)}
        unchanged = (key for key in map(table.keys.__getitem__, range(first, last)) if key not in past)
        gone = sum(1 for key in past if key in table.objects and key.startswith(prefix))
        state = ChainMap(undone, table.objects)
        return (state[key] for key in merge(unchanged, sorted(undone))), max(0, last - first) - gone + len(undone)

    def follow(self, resources: tuple[Resource, ...], since: int | None = None) -> tuple[Subscription, list[Change]]:
        """A subscription, and the changes since a resourceVersion that it has missed."""
        with self.lock:
            missed: list[Change] = []
            if since is not None:
                if since < self._forgotten:
                    raise TooOld
                for change in reversed(self._history):
                    if change.revision <= since:
                        break
                    if change.resource in resources:
                        missed.append(change)
            subscription = Subscription(resources)
            for resource in resources:
                self._subscriptions[resource].append(subscription)
            return subscription, missed[::-1]

    def unfollow(self, subscription: Subscription) -> None:
        with self.lock:
            for resource in subscription.resources:
                self._subscriptions[resource].remove(subscription)

    def subscriptions(self) -> list[Subscription]:
        with self.lock:
            return list({id(s): s for group in self._subscriptions.values() for s in group}.values())

    @staticmethod
    def _span(keys: list[str], namespace: str | None) -> tuple[int, int]:
        if not namespace:
            return 0, len(keys)
        return bisect_left(keys, f"{namespace}/"), bisect_left(keys, f"{namespace}0")  # "0" follows "/"
