"""Waiting until the volumes of a drained node are detached (rule 22). Needs opt-in RBAC."""

from __future__ import annotations

from urllib.parse import quote

import msgspec

from shared.errors import PermanentError
from shared.kube.objects import Meta, Struct
from shared.kube.pods import Pod
from shared.kube.reads import Resource
from workers.task_runner.context import Context, TaskFailed

WAIT_SECONDS = 60.0
"""A volume that is not detached by then is a warning: the cloud may take its time."""

_POLL_SECONDS = 2.0
_PATH = "/apis/storage.k8s.io/v1/volumeattachments"
_COMPONENT = "wait_for_volume_detach needs the volume-wait component of the bundle"


class _Source(Struct, frozen=True):
    persistent_volume_name: str = ""


class _AttachmentSpec(Struct, frozen=True):
    node_name: str = ""
    source: _Source = _Source()


class _Attachment(Struct, frozen=True):
    metadata: Meta
    spec: _AttachmentSpec = _AttachmentSpec()


class _ClaimSpec(Struct, frozen=True):
    volume_name: str = ""


class _Claim(Struct, frozen=True):
    spec: _ClaimSpec = _ClaimSpec()


_claim_decoder = msgspec.json.Decoder(_Claim)


def await_detach(context: Context, node: str, staying: list[Pod]) -> None:
    """Wait until no volume is attached to ``node`` but those of pods that stay. Raises TaskFailed, Stopped."""
    attachments = Resource(context.kube, _PATH, _Attachment)
    deadline = context.deadline.within(WAIT_SECONDS)
    try:
        kept = {context.patiently("get claim", lambda c=c: _volume_of(context, *c)) for c in _claims(staying)}  # type: ignore[misc]
        while True:
            left = [
                attachment.metadata.name
                for attachment in context.patiently("list volume attachments", attachments.latest)
                if attachment.spec.node_name == node and attachment.spec.source.persistent_volume_name not in kept
            ]
            if not left:
                context.account.say("all volumes are detached")
                return
            if deadline.expired:
                context.account.say(f"warning: {len(left)} volumes are still attached: {', '.join(left[:10])}")
                return
            context.wait(_POLL_SECONDS)
    except PermanentError as error:
        raise TaskFailed(f"{error}; {_COMPONENT}") from error


def _claims(pods: list[Pod]) -> list[tuple[str, str]]:
    """Namespace and name of the claims these pods mount."""
    return [
        (pod.metadata.namespace, volume.persistent_volume_claim["claimName"])
        for pod in pods
        for volume in pod.spec.volumes or ()
        if volume.persistent_volume_claim is not None
    ]


def _volume_of(context: Context, namespace: str, claim: str) -> str:
    path = f"/api/v1/namespaces/{quote(namespace)}/persistentvolumeclaims/{quote(claim)}"
    return _claim_decoder.decode(context.kube.get(path)).spec.volume_name
