"""The public keys by which tasks are signed, as their owner writes them."""

from __future__ import annotations

import base64
import re

from shared.config.values import Malformed

_LENGTH = 32
"""Bytes of an Ed25519 public key (RFC 8032)."""

_DER_HEAD = bytes.fromhex("302a300506032b6570032100")
"""What stands before them in a SubjectPublicKeyInfo (RFC 8410), which is what `openssl pkey -pubout` writes."""

_EXPECTED = "a public Ed25519 key, PEM or base64; several, for a rotation, with commas between them"


def parse_signing_keys(text: str) -> tuple[str, ...]:
    """The keys, each as base64 of its 32 bytes."""
    keys = tuple(_normal(part) for part in text.split(",") if part.strip())
    if not keys:
        raise Malformed(_EXPECTED)
    return keys


def _normal(text: str) -> str:
    body = re.sub(r"-----(BEGIN|END) PUBLIC KEY-----|\s", "", text)
    try:
        key = base64.b64decode(body, validate=True)
    except ValueError:
        raise Malformed(_EXPECTED) from None
    if key.startswith(_DER_HEAD):
        key = key[len(_DER_HEAD) :]
    if len(key) != _LENGTH:
        raise Malformed(_EXPECTED)
    return base64.b64encode(key).decode()
