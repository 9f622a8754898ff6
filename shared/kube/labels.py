"""Syntax of label keys and values, checked before the API server is asked.

https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#syntax-and-character-set
"""

from __future__ import annotations

import re
from collections.abc import Mapping

_NAME = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_SYSTEM = ("kubernetes.io", "k8s.io")

_SHOWN = 80
"""Characters of a wrong key or value that are quoted."""


def problem_with(labels: Mapping[str, str | None]) -> str | None:
    """Why these labels cannot be set, in words for the person who sent them; None when they can."""
    for key, value in labels.items():
        reason = _key_problem(key) or (_value_problem(value) if value is not None else None)
        if reason:
            return f"label {key[:_SHOWN]!r}: {reason}"
    return None


def system_labels(labels: Mapping[str, str | None]) -> list[str]:
    """Those keys whose prefix belongs to Kubernetes: schedulers and cloud controllers act on them."""
    return [key for key in labels if _is_system(key.partition("/")[0] if "/" in key else "")]


def _is_system(prefix: str) -> bool:
    return any(prefix == domain or prefix.endswith(f".{domain}") for domain in _SYSTEM)


def _key_problem(key: str) -> str | None:
    prefix, slash, name = key.rpartition("/")
    if slash and (len(prefix) > 253 or not _SUBDOMAIN.fullmatch(prefix)):
        return f"the prefix {prefix[:_SHOWN]!r} must be a DNS subdomain of at most 253 characters"
    if not _NAME.fullmatch(name):
        return "the name must be 1 to 63 letters, digits, '-', '_', '.', with a letter or digit at both ends"
    return None


def _value_problem(value: str) -> str | None:
    if value and not _NAME.fullmatch(value):
        return (
            f"the value {value[:_SHOWN]!r} must be at most 63 letters, digits, '-', '_' or '.',"
            " with a letter or digit at both ends"
        )
    return None
