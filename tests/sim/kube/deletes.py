"""Deleting: preconditions, grace and finalizers."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

from tests.sim.kube import kinds
from tests.sim.kube.admission import Admit, admit_all
from tests.sim.kube.patches import go_kind
from tests.sim.kube.resources import NAMESPACES, PODS, Object
from tests.sim.kube.status import ApiError, Cause, bad_request, invalid, not_supported, precondition_failed
from tests.sim.kube.store import Store, Stored
from tests.sim.kube.writes import Target, deletion_due, dry_run_asked, existing


@dataclass(frozen=True)
class DeleteOptions:
    grace: int | None = None
    uid: str | None = None
    version: str | None = None
    dry_run: bool = False
    propagation: str | None = None
    """What becomes of its dependents: Background (None for most kinds), Foreground or Orphan."""


ORPHAN, FOREGROUND = "orphan", "foregroundDeletion"
"""Finalizers that leave the rest to the garbage collector."""
_POLICIES = {"Foreground": FOREGROUND, "Orphan": ORPHAN, "Background": None}


def delete_options(body: Object, query: dict[str, str], inside: str = "") -> DeleteOptions:
    """The options in a body, or in the query. ``inside`` is the kind of object whose deleteOptions they are.

    Raises:
        ApiError: 400 or 422, in the words of the real server.
    """
    preconditions = body.get("preconditions") or {}
    propagation = body.get("propagationPolicy", query.get("propagationPolicy"))
    if propagation not in (None, *_POLICIES):
        raise _refused(not_supported("propagationPolicy", str(propagation), *_POLICIES_SAID))
    if body.get("orphanDependents") is not None and propagation is not None:
        why = f'Invalid value: "{propagation}": orphanDependents and deletionPropagation cannot be both set'
        raise _refused(Cause("FieldValueInvalid", why, "propagationPolicy"))
    if body.get("orphanDependents"):
        propagation = "Orphan"
    return DeleteOptions(
        grace=_grace_asked(body, query, inside),
        uid=preconditions.get("uid"),
        version=preconditions.get("resourceVersion"),
        dry_run=dry_run_asked("DeleteOptions", [*(body.get("dryRun") or ()), *_listed(query.get("dryRun"))]),
        propagation=propagation,
    )


_POLICIES_SAID = ("Foreground", "Background", "Orphan", "nil")


def _refused(cause: Cause) -> ApiError:
    return invalid("DeleteOptions.meta.k8s.io", "", [cause])


def _grace_asked(body: Object, query: dict[str, str], inside: str) -> int | None:
    if (said := body.get("gracePeriodSeconds")) is not None:
        if not isinstance(said, int):
            field = f"DeleteOptions.{'deleteOptions.' if inside else ''}gracePeriodSeconds"
            why = f"json: cannot unmarshal {go_kind(said)} into Go struct field {field} of type int64"
            raise bad_request(f'{inside} in version "v1" cannot be handled as a {inside}: {why}' if inside else why)
        return said
    text = query.get("gracePeriodSeconds")
    if text is None:
        return None
    try:
        return int(text)
    except ValueError:
        raise bad_request(f'strconv.ParseInt: parsing "{text}": invalid syntax') from None


def _listed(value: str | None) -> list[str]:
    return [value] if value else []


def check_preconditions(stored: Stored, options: DeleteOptions) -> ApiError | None:
    metadata = stored.object["metadata"]
    if options.uid and options.uid != metadata["uid"]:
        why = (
            f"the UID in the precondition ({options.uid}) does not match the UID in record ({metadata['uid']}). "
            "The object might have been deleted and then recreated"
        )
    elif options.version and options.version != metadata["resourceVersion"]:
        why = (
            f"the ResourceVersion in the precondition ({options.version}) does not match the ResourceVersion in "
            f"record ({metadata['resourceVersion']}). The object might have been modified"
        )
    else:
        return None
    return precondition_failed(stored.resource, stored.name, why)


def delete(store: Store, target: Target, options: DeleteOptions, admit: Admit = admit_all) -> Stored:
    """Begin or finish a deletion; returns the object as it then is."""
    with store.lock:
        old = existing(store, target)
        if refusal := check_preconditions(old, options):
            raise refusal
        admit("DELETE", None, old.object)
        obj = _deleted(old, options)
        final = deletion_due(obj["metadata"]) and not obj["metadata"].get("finalizers")
        if target.resource is NAMESPACES:
            obj, final = {**obj, "status": {**obj["status"], "phase": "Terminating"}}, False
        if options.dry_run:
            return Stored(target.resource, old.key, obj, old.revision)
        graceful = target.resource is PODS or not final
        if obj != old.object and graceful:
            old = store.put(target.resource, obj)
        if final:
            store.remove(old)
        return old


def _deleted(stored: Stored, options: DeleteOptions) -> Object:
    """The object marked for deletion. A second delete can only shorten a pod's grace."""
    obj = _with_finalizer(stored.object, options.propagation)
    metadata = obj["metadata"]
    if stored.resource is not PODS:
        if "deletionTimestamp" in metadata:
            return obj
        marked = {**metadata, "deletionTimestamp": timestamp_in(0)}
        if metadata.get("finalizers"):
            marked["deletionGracePeriodSeconds"] = 0
        return {**obj, "metadata": marked}
    grace = _grace(obj, options.grace)
    current = metadata.get("deletionGracePeriodSeconds")
    if current is not None and grace >= current:
        return obj
    since = metadata.get("deletionTimestamp")
    began = datetime.strptime(since, "%Y-%m-%dT%H:%M:%SZ") - timedelta(seconds=current or 0) if since else None
    due = timestamp_in(grace) if began is None else kinds.timestamp(began + timedelta(seconds=grace))
    marked = {**metadata, "deletionTimestamp": due, "deletionGracePeriodSeconds": grace}
    if since is None and "generation" in metadata:
        marked["generation"] = metadata["generation"] + 1
    return {**obj, "metadata": marked}


def _with_finalizer(obj: Object, propagation: str | None) -> Object:
    """``obj`` with the finalizer that a propagation policy stands for, and not the other's."""
    if propagation is None:
        return obj
    had = obj["metadata"].get("finalizers") or []
    wanted = _POLICIES[propagation]
    kept = [name for name in had if name not in (ORPHAN, FOREGROUND)]
    metadata = {**obj["metadata"], "finalizers": [*kept, *([wanted] if wanted else [])]}
    if not metadata["finalizers"]:
        del metadata["finalizers"]
    return {**obj, "metadata": metadata}


def _grace(pod: Object, asked: int | None) -> int:
    """Pods without a node or already terminal have nothing to wait for; negative means one second."""
    if not pod["spec"].get("nodeName") or pod["status"].get("phase") in ("Succeeded", "Failed"):
        return 0
    grace = int(pod["spec"].get("terminationGracePeriodSeconds", 30)) if asked is None else asked
    return grace if grace >= 0 else 1


def timestamp_in(seconds: float) -> str:
    return kinds.timestamp(datetime.now(timezone.utc) + timedelta(seconds=seconds))
