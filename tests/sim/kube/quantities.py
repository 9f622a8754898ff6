"""Kubernetes quantities and what a pod asks for, independent of the agent's own code that tests check."""

from __future__ import annotations

from decimal import Decimal

from tests.sim.kube.resources import Object

_SUFFIXES = {
    "n": Decimal("1e-9"), "u": Decimal("1e-6"), "m": Decimal("1e-3"), "": Decimal(1), "k": Decimal(10**3),
    "M": Decimal(10**6), "G": Decimal(10**9), "T": Decimal(10**12), "Ki": Decimal(2**10), "Mi": Decimal(2**20),
    "Gi": Decimal(2**30), "Ti": Decimal(2**40),
}  # fmt: skip


def parse(quantity: str | int | float) -> Decimal:
    text = str(quantity)
    number = text.rstrip("numkMGTi")
    return Decimal(number) * _SUFFIXES[text[len(number) :]]


def pod_requests(pod: Object) -> tuple[int, int]:
    """Millicores and bytes the scheduler reserves for a pod (sidecars included, overhead left out)."""
    spec = pod["spec"]
    inits = spec.get("initContainers") or ()
    sidecars = [container for container in inits if container.get("restartPolicy") == "Always"]
    steps = [container for container in inits if container.get("restartPolicy") != "Always"]
    running = [*spec["containers"], *sidecars]
    return _need(running, steps, "cpu", 1000), _need(running, steps, "memory", 1)


def _need(running: list[Object], steps: list[Object], resource: str, unit: int) -> int:
    def asked(container: Object) -> Decimal:
        return parse(((container.get("resources") or {}).get("requests") or {}).get(resource, 0)) * unit

    return int(max([sum(map(asked, running), Decimal(0)), *map(asked, steps)]))
