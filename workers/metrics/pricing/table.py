"""The prices that ship with the agent: US dollars an hour for Linux, looked up one type at a time.

``make prices`` writes ``data/prices.txt``; ``data/NOTICE`` names its sources and licences. Fields are separated by
tabs, what is in the last of them by spaces; ``*`` is what holds where nothing closer is known::

    cloudoptim prices 2
    source  aws  2026-07-20  us-east-1
    types   aws  c5.large c5.xlarge m5.large
    prices  aws  us-east-1  0.085 0.17 0.096
    prices  aws  eu-west-1  0.096  0.107
    ratios  aws  eu-west-1  m8i=1.1148 *=1.115
    spot    gcp  europe-west1  e2=0.3 *=0.35
    gpus    gcp  us-central1  nvidia-tesla-t4=0.35/0.175
    rates   aws  general=0.04/0.003 compute=0.038/0.003
    fargate aws  us-east-1  x86=0.04048/0.004445
    cards   *    l4=0.56

``source`` ends with the provider's home, the region whose list is the longest. ``prices`` stand in the order of the
provider's ``types``, empty where the region's list has none. ``ratios`` say by family how many times its home price a
type costs in the region.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from functools import cached_property, lru_cache
from pathlib import Path
from typing import NamedTuple

from workers.metrics.pricing.families import Custom, class_of, custom_of, family_of, predecessors, whole_size
from workers.metrics.pricing.price import DERIVED, FALLBACK, TABLE

FORMAT = "cloudoptim prices 2"
SHIPPED = Path(__file__).with_name("data") / "prices.txt"
ANY = "*"

_KEPT = 2048
"""Answers that are remembered: a cluster has a few dozen types. More would be looked up again at every sample."""

_logger = logging.getLogger(__name__)


class Listed(NamedTuple):
    """Dollars an hour, and whether the list has them or they were made of others."""

    dollars: float
    source: str


class Rate(NamedTuple):
    """Dollars an hour for one vCPU and for one GiB."""

    vcpu: float
    gib: float


NO_RATE = Rate(0.031611, 0.004237)
"""Those of Google's E2 in us-central1, for providers of which the table knows nothing."""


class _Source(NamedTuple):
    as_of: str
    home: str


class PriceTable:
    """List prices by provider, region and instance type; empty when its file cannot be used."""

    def __init__(self, path: Path = SHIPPED) -> None:
        self._path = path
        self._complained = False
        self.find = lru_cache(maxsize=_KEPT)(self._find)
        self.spot_ratio = lru_cache(maxsize=_KEPT)(self._spot_ratio)
        self.gpu = lru_cache(maxsize=_KEPT)(self._gpu)
        self.rate = lru_cache(maxsize=_KEPT)(self._rate)
        self.card = lru_cache(maxsize=_KEPT)(self._card)
        self.fargate = lru_cache(maxsize=_KEPT)(self._fargate)

    def as_of(self, provider: str) -> str | None:
        """The day (ISO) on which the provider's prices were collected; None for a provider without prices."""
        source = self._sources.get(provider)
        return source.as_of if source else None

    def _find(self, provider: str, region: str, instance_type: str) -> Listed | None:
        """The on-demand price: listed, derived from the home region's, or (FALLBACK) roughly that of its like."""
        source, name, region = self._sources.get(provider), instance_type.lower(), region.lower()
        if source is None or not region or not name:
            return None
        if provider == "azure":
            name = self._listed_name(provider, name)
        if provider == "gcp" and (custom := custom_of(name)) is not None:
            return self._custom(region, custom)
        listed = self._listed(provider, region, name)
        if listed is not None:
            return Listed(listed, TABLE)
        return self._derived(provider, region, name, source.home) or self._as_before(provider, region, name)

    def _derived(self, provider: str, region: str, name: str, home: str) -> Listed | None:
        at_home = self._listed(provider, home, name)
        if at_home is None:
            return None
        ratio, exact = self._ratio(provider, region, family_of(provider, name))
        return Listed(at_home * ratio, DERIVED if exact else FALLBACK)

    def _as_before(self, provider: str, region: str, name: str) -> Listed | None:
        """A type that is newer than the table, at the price of the generation before it."""
        for older in predecessors(provider, name):
            if self._column(provider, older) is not None and (found := self._find(provider, region, older)) is not None:
                return Listed(found.dollars, FALLBACK)
        return None

    def _custom(self, region: str, custom: Custom) -> Listed | None:
        """A machine of Google's whose vCPUs and memory somebody chose: by what they cost in the family's own sizes."""
        found = [self.find("gcp", region, f"{custom.family}-{shape}-8") for shape in ("standard", "highmem")]
        if found[0] is None or found[1] is None:
            return None
        standard, highmem = custom.gib_of_eight
        gib = (found[1].dollars - found[0].dollars) / (highmem - standard)
        vcpu = (found[0].dollars - gib * standard) / 8
        source = FALLBACK if FALLBACK in (found[0].source, found[1].source) else DERIVED
        return Listed(custom.premium * (custom.vcpus * vcpu + custom.gib * gib), source)

    def _spot_ratio(self, provider: str, region: str, instance_type: str) -> float | None:
        """What part of the on-demand price spot costs; None for a provider whose spot prices nobody lists."""
        ratios = self._line("spot", provider, region.lower())
        found = ratios.get(family_of(provider, instance_type)) or ratios.get(ANY)
        return float(found) if found else None

    def _gpu(self, provider: str, region: str, model: str, spot: bool) -> float | None:
        """A card that is paid apart from the machine it is attached to."""
        found = self._line("gpus", provider, region.lower()).get(model)
        return float(found.split("/")[spot]) if found else None

    def _rate(self, provider: str, region: str, instance_type: str) -> Rate:
        """What a vCPU and a GiB cost in machines of this kind."""
        rates = self._line("rates", provider)
        found = rates.get(class_of(provider, instance_type)) or rates.get("general")
        if found is None:
            return NO_RATE
        factor, _ = self._ratio(provider, region.lower(), ANY)
        vcpu, gib = found.split("/")
        return Rate(float(vcpu) * factor, float(gib) * factor)

    def _card(self, model: str) -> float | None:
        """About what a card costs anywhere whose model's words hold a known one, as ``nvidia-a100-sxm4-40gb`` does."""
        cards = self._line("cards", ANY)
        known = max((name for name in cards if f"-{name}-" in f"-{model}-"), key=len, default="")
        return float(cards[known]) if known else None

    def _fargate(self, region: str) -> tuple[Rate, str] | None:
        """What a vCPU and a GiB of AWS Fargate cost; roughly (FALLBACK), where the region has no prices of its own."""
        source = self._sources.get("aws")
        if source is None or not region:
            return None
        there = self._line("fargate", "aws", region.lower())
        found = there or self._line("fargate", "aws", source.home)
        if not found:
            return None
        factor = 1.0 if there else self._ratio("aws", region.lower(), ANY)[0]
        vcpu, gib = found["x86"].split("/")
        return Rate(float(vcpu) * factor, float(gib) * factor), TABLE if there else FALLBACK

    @cached_property
    def _sources(self) -> dict[str, _Source]:
        return {fields[1]: _Source(fields[2], fields[3]) for fields in self._lines("source\t")}

    def _listed_name(self, provider: str, name: str) -> str:
        whole = whole_size(name)
        return whole if whole != name and self._column(provider, name) is None else name

    def _column(self, provider: str, name: str) -> int | None:
        for *_, types in self._lines(f"types\t{provider}\t"):
            # Not split: fifteen hundred strings for the sake of one.
            before, found, _ = f" {types.lower()} ".partition(f" {name} ")
            return before.count(" ") if found else None
        return None

    def _listed(self, provider: str, region: str, name: str) -> float | None:
        column = self._column(provider, name)
        if column is None:
            return None
        for *_, prices in self._lines(f"prices\t{provider}\t{region}\t"):
            cells = prices.split(" ", column + 1)
            return float(cells[column]) if len(cells) > column and cells[column] else None
        return None

    def _ratio(self, provider: str, region: str, family: str) -> tuple[float, bool]:
        """How many times its home price a type costs in a region, and whether that is the family's own ratio."""
        if region == self._sources[provider].home:
            return 1.0, True
        ratios = self._line("ratios", provider, region) or self._line("ratios", provider, ANY)
        exact = family in ratios
        return float(ratios.get(family) or ratios.get(ANY) or 1.0), exact

    def _line(self, *keys: str) -> dict[str, str]:
        """The ``name=value`` pairs of the line with these first fields."""
        for *_, pairs in self._lines("\t".join(keys) + "\t"):
            return dict(pair.split("=") for pair in pairs.split(" "))
        return {}

    def _lines(self, prefix: str) -> Iterator[list[str]]:
        """The fields of the lines that start with ``prefix``; only these are taken apart."""
        try:
            with self._path.open(encoding="ascii") as lines:
                if next(lines, "").rstrip("\n") != FORMAT:
                    raise ValueError(f"its first line is not {FORMAT!r}")
                for line in lines:
                    if line.startswith(prefix):
                        yield line.rstrip("\n").split("\t")
        except (OSError, ValueError) as error:
            if not self._complained:
                _logger.error("no list prices, nodes are priced by rates: %s: %s", self._path, error)
            self._complained = True
