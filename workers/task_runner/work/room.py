"""The pods that one task has its eye on, as lists and the shared watch show them. Pure but for its lock."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable

from shared.basics.errors import PermanentError
from shared.kube.pods import Pod


class Room:
    """A set of pods by UID, put together from lists and from changes that may come in either order.

    A UID never comes back, so that what was once seen to go stays gone, whatever an older list says.
    """

    def __init__(self, wake: Callable[[], None]) -> None:
        self.pods: dict[str, Pod] = {}
        self.since: str | None = None
        """The version from which on all changes come in here; None until the watch has one. Older lists miss some."""
        self.stale = True
        """Whether a list is due: at the beginning, and when the watch began anew."""
        self.broken: PermanentError | None = None
        """Why the pods cannot be followed, if they cannot."""
        self.trouble = ""
        """What keeps the watch from beginning, for as long as it may pass."""
        self._wake = wake
        self._removed: set[str] = set()
        self._lock = threading.Lock()

    def takes(self, version: str) -> bool:
        """Whether a list of ``version`` and the changes together leave nothing out."""
        return _number(version) >= _number(self.since or "")

    def listed(self, pods: Iterable[Pod], version: str) -> None:
        """All the pods there are as of the list's ``version``.

        A list from another API server's cache may be older than what is known: a pod that is missing from it
        is gone only if the list is newer than the pod as it was seen.
        """
        with self._lock:
            present = {pod.uid: pod for pod in pods if pod.uid not in self._removed}
            for uid, known in self.pods.items():
                listed = present.get(uid)
                if listed is None:
                    if _is_newer(version, known):
                        self._removed.add(uid)
                    else:
                        present[uid] = known
                elif not _is_newer(listed.metadata.resource_version, known):
                    present[uid] = known
            self.pods = present
            self.stale = not self.takes(version)

    def changed(self, pod: Pod, gone: bool) -> None:
        """A pod as the watch shows it."""
        with self._lock:
            known = self.pods.get(pod.uid)
            if gone:
                self._removed.add(pod.uid)
                self.pods.pop(pod.uid, None)
            elif pod.uid not in self._removed and (known is None or _is_newer(pod.metadata.resource_version, known)):
                self.pods[pod.uid] = pod

    def begins(self, version: str) -> None:
        """Changes after ``version`` come in; what was before has to be listed."""
        with self._lock:
            self.since, self.stale, self.broken, self.trouble = version, True, None, ""
        self._wake()

    def troubled(self, why: str) -> None:
        """The watch cannot begin, or go on, now."""
        self.trouble = why
        self._wake()

    def breaks(self, error: PermanentError) -> None:
        """The pods cannot be followed."""
        self.broken = error
        self._wake()

    def wake(self) -> None:
        """Tell the task that something changed."""
        self._wake()


def _is_newer(version: str, than: Pod) -> bool:
    return _number(version) >= _number(than.metadata.resource_version)


def _number(version: str) -> float:
    """A resourceVersion; they compare as numbers (KEP-5504). One that is none compares as the newest."""
    try:
        return int(version or 0)
    except ValueError:
        return float("inf")
