"""Signed tasks: with the owner's TASK_SIGNING_KEY set, none runs that whoever holds the private key did not sign.

What is signed is the task object as Central sends it, without its ``signature``, in the canonical form of RFC 8785
(JCS), so that no proxy's reformatting breaks it; ``signature`` is the base64 of the Ed25519 signature (RFC 8032) over
that.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Any


def canonical(task: Mapping[str, Any]) -> bytes:
    """The bytes that are signed.

    Raises:
        ValueError: it holds what canonical JSON has no form for: NaN, an integer beyond 2^53, half a surrogate pair.
    """
    import rfc8785  # Only where tasks are signed.

    return rfc8785.dumps({key: value for key, value in task.items() if key != "signature"})


def refusal(task: Mapping[str, Any], keys: Sequence[str]) -> str | None:
    """Why a task is not taken as signed by one of ``keys`` (base64 of 32 bytes each); None when it is. Never raises."""
    signature = task.get("signature")
    if not isinstance(signature, str) or not signature:
        return "the task is not signed, and the cluster's owner set TASK_SIGNING_KEY"
    try:
        message, sealed = canonical(task), base64.b64decode(signature, validate=True)
    except (ValueError, RecursionError) as error:
        return f"the task's signature cannot be checked: {str(error)[:200]}"
    if any(_verifies(key, message, sealed) for key in keys):
        return None
    return "the task's signature is not by a key of the cluster owner's TASK_SIGNING_KEY"


def _verifies(key: str, message: bytes, signature: bytes) -> bool:
    from nacl.exceptions import CryptoError  # 2 MiB: only where tasks are signed.
    from nacl.signing import VerifyKey

    try:
        VerifyKey(base64.b64decode(key)).verify(message, signature)
    except (CryptoError, ValueError, TypeError):  # A signature of another length is a ValueError.
        return False
    return True
