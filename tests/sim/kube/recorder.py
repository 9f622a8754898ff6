"""Events as components record them: the old way with a count, the scheduler's way with a series."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import datetime, timezone

from tests.sim.kube.clockwork import Clockwork
from tests.sim.kube.kinds import timestamp
from tests.sim.kube.objects import identity
from tests.sim.kube.resources import EVENTS, Object
from tests.sim.kube.store import Store, Stored
from tests.sim.kube.writes import change

TTL_SECONDS = 3600.0


class Recorder:
    """Writes core/v1 Events. A repeat updates the event it repeats."""

    def __init__(self, store: Store, clockwork: Clockwork) -> None:
        self._store, self._clockwork = store, clockwork
        self._seen: dict[tuple[str, ...], Stored] = {}

    def emit(
        self,
        about: Stored,
        kind: str,
        reason: str,
        message: str,
        component: str,
        host: str = "",
        annotations: Mapping[str, str] | None = None,
        field_path: str = "",
    ) -> Stored:
        """One more occurrence, with count, firstTimestamp and lastTimestamp."""
        now = timestamp()

        def again(event: Object) -> Object:
            return {**event, "count": event["count"] + 1, "lastTimestamp": now}

        source = {"component": component, **({"host": host} if host else {})}
        times = {"firstTimestamp": now, "lastTimestamp": now, "count": 1, "eventTime": None}
        reporter = {"source": source, "reportingComponent": component, "reportingInstance": host}
        body = {"reason": reason, "message": message, "type": kind, **times, **reporter}
        return self._record(about, body, again, annotations, field_path)

    def emit_series(self, about: Stored, reason: str, message: str, action: str, controller: str) -> Stored:
        """One more occurrence the way events.k8s.io clients write it: eventTime, and a series on repeats."""
        now = datetime.now(timezone.utc).isoformat(timespec="microseconds").replace("+00:00", "Z")

        def again(event: Object) -> Object:
            count = (event.get("series") or {"count": 1})["count"] + 1
            return {**event, "series": {"count": count, "lastObservedTime": now}}

        times = {"firstTimestamp": None, "lastTimestamp": None, "eventTime": now}
        reporter = {"source": {}, "reportingComponent": controller, "reportingInstance": f"{controller}-ip-10-0-0-1"}
        body = {"reason": reason, "message": message, "type": "Warning", "action": action, **times, **reporter}
        return self._record(about, body, again, None, "")

    def _record(
        self,
        about: Stored,
        body: Object,
        again: object,
        annotations: Mapping[str, str] | None,
        field_path: str,
    ) -> Stored:
        metadata = about.object["metadata"]
        key = (metadata["uid"], body["reason"], body["message"], body["reportingComponent"])
        if (old := self._seen.get(key)) and callable(again) and (repeated := change(self._store, old, again)):
            return repeated
        involved: Object = {"kind": about.resource.kind, "name": about.name, "uid": metadata["uid"]}
        involved.update(apiVersion=about.resource.api_version, resourceVersion=metadata["resourceVersion"])
        if about.namespace:
            involved["namespace"] = about.namespace
        if field_path:
            involved["fieldPath"] = field_path
        name = f"{about.name}.{time.time_ns():x}"
        event_metadata = identity(name, about.namespace or "default", annotations=dict(annotations or {}))
        stored = self._store.put(EVENTS, {"metadata": event_metadata, "involvedObject": involved, **body})
        self._seen[key] = stored
        self._clockwork.after(TTL_SECONDS, lambda: self._expire(key, stored))
        return stored

    def _expire(self, key: tuple[str, ...], stored: Stored) -> None:
        self._seen.pop(key, None)
        with self._store.lock:
            if found := self._store.get(EVENTS, stored.namespace, stored.name):
                self._store.remove(found)
