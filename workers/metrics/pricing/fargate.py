"""What a pod on AWS Fargate costs an hour: by the vCPUs and GiB it was provisioned with. Pure.

EKS writes them into the pod's annotation ``CapacityProvisioned``, such as ``0.25vCPU 0.5GB``
(docs.aws.amazon.com/eks/latest/userguide/fargate-pod-configuration.html); requests may be less.
"""

from __future__ import annotations

import re

from shared.kube.resources import GIB, NANO, Amount
from workers.metrics.pricing.price import UNPRICED, Price, nano
from workers.metrics.pricing.table import PriceTable

ANNOTATION = "CapacityProvisioned"

_PROVISIONED = re.compile(r"(\d{1,4}(?:\.\d{1,6})?)\s*vCPU\s+(\d{1,5}(?:\.\d{1,6})?)\s*GB", re.IGNORECASE)


def provisioned(annotation: str) -> Amount | None:
    """What a pod with this annotation was provisioned with; None where it says nothing."""
    match = _PROVISIONED.fullmatch(annotation.strip())
    return Amount(round(float(match[1]) * NANO), round(float(match[2]) * GIB)) if match else None


def fargate(amount: Amount | None, region: str, table: PriceTable) -> Price:
    """The price of a pod that was provisioned with so much in this region; unknown where that is not known."""
    rate = table.fargate(region)
    if amount is None or rate is None:
        return UNPRICED
    (vcpu, gib), source = rate
    return Price(nano(amount.cpu / NANO * vcpu + amount.memory / GIB * gib), source)
