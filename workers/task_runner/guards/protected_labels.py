"""Keys of labels that no task may change, ``force`` or not."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from workers.task_runner.guards.law import PROTECTED, LabelsAsked


@dataclass(frozen=True)
class ProtectedLabels:
    """``domains``: PROTECTED_LABELS, such as ``karpenter.sh``: keys under it and its subdomains. Ours is always one.

    Whoever could take cloudoptim.io/protected off an object could do anything to it afterwards.
    """

    domains: Collection[str]

    def refusal(self, subject: LabelsAsked) -> str | None:
        for key in subject.keys:
            if key == PROTECTED:
                return f"label {PROTECTED} is the cluster's owner's: no task changes it"
            prefix = key.rpartition("/")[0]
            if prefix and any(prefix == domain or prefix.endswith(f".{domain}") for domain in self.domains):
                return f"the cluster's owner protects label {key[:317]}: its domain is in PROTECTED_LABELS"
        return None
