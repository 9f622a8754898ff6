"""Waiting until the volumes of a drained node are detached (rule 22). Needs opt-in RBAC."""

from __future__ import annotations

import contextlib
from urllib.parse import quote

import msgspec

from shared.kube.errors import Forbidden, NotFound
from shared.kube.objects import Meta, Struct
from shared.kube.pods import Pod
from shared.kube.reads import Resource
from workers.task_runner.leaving.removal import few
from workers.task_runner.work.context import Context, OutOfTime, refused

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


async def check_access(context: Context) -> None:
    """Find out before anything is touched whether the right is granted. Raises TaskFailed, Stopped."""
    await _attachments_of("", context)


async def await_detach(context: Context, node: str, staying: list[Pod]) -> None:
    """Wait until no volume is attached to ``node`` but those of pods that stay, or the task's time is up.

    The node is empty by now, so that the end of the task's time is a warning here, too.

    Raises:
        TaskFailed: RBAC does not let us look.
        Stopped: the task was interrupted.
    """
    deadline = context.deadline.within(WAIT_SECONDS)
    left: list[str] = []
    with contextlib.suppress(OutOfTime):  # What was seen last stands.
        kept = {await _volume_of(context, *claim) for claim in claims_of(staying)}
        while True:
            left = [
                attachment.metadata.name
                for attachment in await _attachments_of(node, context)
                if attachment.spec.source.persistent_volume_name not in kept
            ]
            if not left:
                context.account.say("all volumes are detached")
                return
            if deadline.expired:
                break
            await context.wait(min(_POLL_SECONDS, deadline.remaining))
    context.account.say(f"warning: {len(left)} volumes are still attached: {few(left, 10)}")


async def _attachments_of(node: str, context: Context) -> list[_Attachment]:
    attachments = Resource(context.kube, _PATH, _Attachment)
    try:
        found = await context.patiently("list volume attachments", attachments.latest)
    except Forbidden as error:
        raise refused(error, _COMPONENT) from error
    return [attachment for attachment in found if attachment.spec.node_name == node]


def claims_of(pods: list[Pod]) -> list[tuple[str, str]]:
    """Namespace and name of the claims these pods mount; a generic ephemeral volume's is named after both."""
    found = []
    for pod in pods:
        for volume in pod.spec.volumes or ():
            if volume.persistent_volume_claim is not None:
                found.append((pod.metadata.namespace, volume.persistent_volume_claim["claimName"]))
            elif volume.ephemeral is not None:
                found.append((pod.metadata.namespace, f"{pod.metadata.name}-{volume.name}"))
    return found


async def _volume_of(context: Context, namespace: str, claim: str) -> str | None:
    """The volume bound to a claim; None where there is no such claim (any more)."""
    path = f"/api/v1/namespaces/{quote(namespace)}/persistentvolumeclaims/{quote(claim)}"
    try:
        body = await context.patiently("get claim", lambda: context.kube.get(path))
    except NotFound:
        return None
    except Forbidden as error:
        raise refused(error, _COMPONENT) from error
    return _claim_decoder.decode(body).spec.volume_name
