"""A node's price in shares: its CPU, memory and accelerators, and who holds how much of each. Pure, whole numbers.

As the OpenCost specification has it (https://www.opencost.io/docs/specification): a workload costs the larger of
what it requests and what it uses; what nobody holds is idle. Beside these there is what a node keeps from pods for its
system and its kubelet, capacity less allocatable. Every split is exact: nothing is lost or made by rounding.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from shared.kube.resources import GIB, NANO, Amount
from workers.metrics.billed import BilledPod
from workers.metrics.causes import Cause
from workers.metrics.nodes import NodeRecord
from workers.metrics.pods import Work

_PER_VCPU, _PER_GIB, _PER_CARD = 31_611, 4_237, 950_000
"""Millionths of a dollar an hour, by which a price is divided: OpenCost's defaults (configs/default.json).

Only their ratio matters: what a node costs in all is its price.
"""


class Measured(NamedTuple):
    """Usage of a pod: CPU in nanocores, memory in bytes; 0 where it is not known."""

    cpu: int
    memory: int


class ByResource(NamedTuple):
    """Nano-dollars an hour."""

    cpu: int = 0
    memory: int = 0
    accelerators: int = 0


class Shares(NamedTuple):
    """Who holds what of a node's price, in nano-dollars an hour. All of it together is the price."""

    resources: ByResource
    """The same price, by what it is paid for."""
    idle: int
    system: int
    held: Mapping[Cause, int]


def shares_of(price: int, node: NodeRecord, pods: Mapping[int, Work], used: Mapping[int, Measured]) -> Shares:
    """The shares of a node that costs ``price`` nano-dollars an hour.

    ``used`` is the usage of those of its pods whose usage is known, by the same key.
    """
    capacity = _at_least(node.capacity, node.allocatable)
    cards = [accelerator.cards for accelerator in node.identity.accelerators]
    for_cpu, for_memory, *for_cards = apportion(price, _weights(capacity, cards))
    needs = _needs(pods, used)
    causes = sorted(needs)
    held = dict.fromkeys(causes, 0)
    idle = system = 0
    resources = zip((for_cpu, for_memory), capacity, node.allocatable, strict=True)
    for number, (part, whole, usable) in enumerate(resources):
        reserved, rest = apportion(part, (whole - usable, usable))
        system += reserved
        idle += _hand_out(rest, usable, {cause: needs[cause].amount[number] for cause in causes}, held)
    for part, accelerator in zip(for_cards, node.identity.accelerators, strict=True):
        units = dict([(accelerator.resource, accelerator.units), *accelerator.also])
        whole = math.lcm(*units.values())  # So that a part of it is a whole number by whichever name it is requested.
        idle += _hand_out(part, whole, {cause: needs[cause].of(units, whole) for cause in causes}, held)
    return Shares(ByResource(for_cpu, for_memory, sum(for_cards)), idle, system, held)


def shares_of_pods(pods: Iterable[BilledPod]) -> Shares:
    """The shares of pods that are billed themselves: each holds all of its price."""
    held: Counter[Cause] = Counter()
    cpu = memory = 0
    for pod in pods:
        price = pod.price.nanodollars or 0
        for_cpu, for_memory = apportion(price, _weights(pod.amount, ()))
        cpu, memory = cpu + for_cpu, memory + for_memory
        held[pod.cause] += price
    return Shares(ByResource(cpu, memory), 0, 0, held)


def apportion(total: int, weights: Sequence[int]) -> list[int]:
    """``total`` in whole parts proportional to ``weights``, none negative; their sum is ``total``.

    By largest remainder: what rounding down leaves goes to those it cost most, the first of equals first. The last
    takes all where no weight is positive.
    """
    whole = sum(weights)
    if not whole:
        return [0] * (len(weights) - 1) + [total]
    parts = [total * weight // whole for weight in weights]
    left = total - sum(parts)
    if left:
        by_loss = sorted(range(len(weights)), key=lambda index: -(total * weights[index] % whole))
        for index in by_loss[:left]:
            parts[index] += 1
    return parts


class _Need:
    """What the pods of one cause hold of a node."""

    def __init__(self) -> None:
        self.amount = Amount(0, 0)
        self.pieces: dict[str, int] = {}

    def add(self, work: Work, used: Measured | None) -> None:
        cpu, memory = work.shape.requests
        if used is not None:
            cpu, memory = max(cpu, used.cpu), max(memory, used.memory)
        self.amount = Amount(self.amount.cpu + cpu, self.amount.memory + memory)
        for name, count in work.shape.accelerators:
            self.pieces[name] = self.pieces.get(name, 0) + count

    def of(self, units: Mapping[str, int], whole: int) -> int:
        """How much of ``whole`` hardware, of which there are so many ``units`` by each name."""
        return sum(self.pieces.get(name, 0) * whole // count for name, count in units.items() if count)


def _needs(pods: Mapping[int, Work], used: Mapping[int, Measured]) -> dict[Cause, _Need]:
    needs: dict[Cause, _Need] = {}
    for key, work in pods.items():
        if work.cause is not None:
            needs.setdefault(work.cause, _Need()).add(work, used.get(key))
    return needs


def _hand_out(part: int, usable: int, wanted: Mapping[Cause, int], held: dict[Cause, int]) -> int:
    """Add to ``held`` what each cause holds of ``part``; what is idle. Where more is held than there is, nothing is."""
    free = max(0, usable - sum(wanted.values()))
    *shares, idle = apportion(part, (*wanted.values(), free))
    for cause, share in zip(wanted, shares, strict=True):
        held[cause] += share
    return idle


def _weights(capacity: Amount, cards: Iterable[int]) -> list[int]:
    """What CPU, memory and each kind of accelerator are worth, in a unit of their own."""
    return [
        capacity.cpu * _PER_VCPU * GIB,
        capacity.memory * _PER_GIB * NANO,
        *(count * _PER_CARD * NANO * GIB for count in cards),
    ]


def _at_least(amount: Amount, least: Amount) -> Amount:
    return Amount(max(amount.cpu, least.cpu), max(amount.memory, least.memory))
