"""What may come back instead of the API server's answer: from a webhook, a proxy, a load balancer, or itself.

Nothing here lies in the API server's own words about the very object: nobody does.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable

from shared.kube.connection import Answer

Odd = Callable[[random.Random, str, str], Answer]
"""Makes an answer to a method and a path."""

_CODES = (400, 401, 403, 404, 405, 408, 409, 410, 413, 422, 429, 500, 502, 503, 504)
_PAGES = (b"", b"default backend - 404", b"<html><body>404 Not Found</body></html>", b"null", b"[]", b'"gone"', b"{}")


def _status(code: int, message: str, reason: str = "", **details: object) -> Answer:
    body = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": message, "code": code}
    body |= {"reason": reason} if reason else {}
    body |= {"details": details} if details else {}
    return Answer(code, {}, json.dumps(body).encode())


def _name(path: str) -> str:
    parts = path.rstrip("/").split("/")
    return parts[-2] if parts[-1] == "eviction" else parts[-1]


def proxy(rng: random.Random, method: str, path: str) -> Answer:
    """A page of somebody else's, with any code, 200 among them."""
    code = rng.choice((200, 200, 204, 301, *_CODES))
    headers = {"Retry-After": rng.choice(["1", "86400", "soon"])} if rng.random() < 0.2 else {}
    return Answer(code, headers, rng.choice(_PAGES))


def stranger(rng: random.Random, method: str, path: str) -> Answer:
    """The API server's own words, about something else."""
    kind, name = rng.choice(
        [
            ("poddisruptionbudgets", "guard"),
            ("pods", "another"),
            ("nodes", "another"),
            ("namespaces", "another"),
            ("configmaps", _name(path)),
            ("", ""),
        ]
    )
    details = {"kind": kind, "name": name} if kind else {}
    return _status(404, f'{kind or "the"} "{name}" not found', "NotFound", **details)


def denial(rng: random.Random, method: str, path: str) -> Answer:
    """A webhook or a policy: any code, and reason and details of its choice."""
    code = rng.choice([code for code in _CODES if code < 500])
    words = [
        'admission webhook "guard.example.com" denied the request: no such thing',
        f"{_name(path)} is forbidden: ValidatingAdmissionPolicy 'guard' with binding 'guard' denied request: no",
    ]
    details: dict[str, object] = {}
    if rng.random() < 0.5:
        details = {"kind": "nodes" if "/nodes/" in path else "pods", "name": _name(path)}
    return _status(code, rng.choice(words), rng.choice(["NotFound", "Conflict", "Forbidden", "Invalid", ""]), **details)


def conflict(rng: random.Random, method: str, path: str) -> Answer:
    """Somebody else wrote."""
    what = rng.choice([f'nodes "{_name(path)}"', 'poddisruptionbudgets.policy "guard"', f'pods "{_name(path)}"'])
    said = f"Operation cannot be fulfilled on {what}: the object has been modified; please apply your changes"
    return _status(409, said, "Conflict", name=_name(path), kind="nodes")


def busy(rng: random.Random, method: str, path: str) -> Answer:
    """Throttling, budgets, failures."""
    budget = {"reason": "DisruptionBudget", "message": "The disruption budget guard needs 2 healthy pods and has 1"}
    return rng.choice(
        [
            Answer(429, {"Retry-After": "1"}, b"Too many requests, please try again later.\n"),
            _status(429, "Cannot evict pod", "TooManyRequests", causes=[budget]),
            _status(500, "etcdserver: request timed out"),
            _status(503, "apiserver is shutting down", "ServiceUnavailable"),
            _status(504, "Timeout: request did not complete within requested timeout", "Timeout"),
            _status(410, "too old resource version", "Expired"),
        ]
    )


def forbidden(rng: random.Random, method: str, path: str) -> Answer:
    """RBAC of an API server that has just begun, or a namespace that is going."""
    cause = {"reason": "NamespaceTerminating", "message": "namespace shop is being terminated"}
    return rng.choice(
        [
            _status(403, f'pods "{_name(path)}" is forbidden: User "agent" cannot get resource "pods"', "Forbidden"),
            _status(403, "unable to create new content in namespace shop", "Forbidden", causes=[cause]),
            _status(401, "Unauthorized", "Unauthorized"),
        ]
    )


READS: tuple[Odd, ...] = (proxy, stranger, busy, forbidden)
WRITES: tuple[Odd, ...] = (proxy, stranger, denial, conflict, busy, forbidden)
