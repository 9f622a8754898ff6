"""Who causes what a pod costs: its namespace, the workload it belongs to, and labels the owner groups by. Pure.

Nothing is asked for: what a pod says of itself is enough.
"""

from __future__ import annotations

import re
import sys
from datetime import datetime, timedelta
from typing import NamedTuple

from shared.kube.objects import Meta, controller_of

_TEMPLATE_HASHES = {"pod-template-hash": "Deployment", "rollouts-pod-template-hash": "Rollout"}
"""Label of a pod whose ReplicaSet is made by another: its name is that one's with the label's value appended.

https://kubernetes.io/docs/concepts/workloads/controllers/deployment/#pod-template-hash-label
"""

_SCHEDULED_JOB = re.compile(r"(.+)-(\d{8,9})")
"""A CronJob's Job: the CronJob's name and the scheduled minute since 1970 (pkg/controller/cronjob getJobName)."""

_LATE = timedelta(days=7)
"""A pod made so long after the minute in its Job's name is one of a Job that just looks like a CronJob's."""


_LONGEST_KIND, _LONGEST_NAME = 63, 253
"""Characters of what has such names; the API server takes anything from whoever makes a pod."""


class Cause(NamedTuple):
    """Who a pod's cost is put down to."""

    namespace: str
    kind: str
    """``Deployment``, ``StatefulSet``, ... as the controller calls itself; ``Pod`` and ``StaticPod`` without one."""
    name: str
    labels: tuple[str, ...] = ()
    """Values of the labels asked for, in their order; empty where the pod has none."""


def cause_of(meta: Meta, node_name: str, labels: tuple[str, ...] = ()) -> Cause:
    """The cause of a pod that is bound to ``node_name``."""
    kind, name = _workload(meta, node_name)
    own = meta.labels or {}
    values = tuple([own.get(label, "") for label in labels])
    # Few namespaces and kinds stand for many workloads.
    return Cause(sys.intern(meta.namespace), sys.intern(kind[:_LONGEST_KIND]), name[:_LONGEST_NAME], values)


def _workload(meta: Meta, node_name: str) -> tuple[str, str]:
    controller = controller_of(meta)
    if controller is None:
        return "Pod", meta.name
    if controller.kind == "ReplicaSet":
        for label, kind in _TEMPLATE_HASHES.items():
            suffix = "-" + (meta.labels or {}).get(label, "")
            if suffix != "-" and controller.name.endswith(suffix):
                return kind, controller.name.removesuffix(suffix)
    if controller.kind == "Job" and (cron_job := _cron_job(controller.name, meta.creation_timestamp)):
        return "CronJob", cron_job
    if controller.kind == "Node" and controller.api_version == "v1":
        return "StaticPod", meta.name.removesuffix(f"-{node_name}")
    return controller.kind, controller.name


def _cron_job(job: str, created: datetime | None) -> str | None:
    """The CronJob that made ``job``, where its name says so and the pod's age agrees."""
    scheduled = _SCHEDULED_JOB.fullmatch(job)
    if scheduled is None or created is None:
        return None
    age = timedelta(seconds=created.timestamp()) - timedelta(minutes=int(scheduled[2]))
    return scheduled[1] if -timedelta(minutes=1) <= age <= _LATE else None
