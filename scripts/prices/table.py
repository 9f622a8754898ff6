"""The price table as a text: equal prices give equal bytes, whatever their order. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from workers.metrics.pricing.table import ANY, FORMAT

Prices = Mapping[str, Mapping[str, float]]
"""Region to instance type to dollars an hour, spelt as the labels of Kubernetes nodes spell them."""

Factors = Mapping[str, Mapping[str, float]]
"""Region to family to a factor; ``*`` for all others of either."""

PLAUSIBLE = (0.001, 1_000.0)
"""Dollars an hour: from below the smallest shared-core machine to above the largest there is."""

DIGITS = 6
"""Significant digits of a price; more than any provider's list has."""


@dataclass(frozen=True)
class Provider:
    """All that is known of one provider. ``as_of`` is the day (ISO) on which its home region's list was collected."""

    name: str
    as_of: str
    home: str
    prices: Prices
    ratios: Factors = field(default_factory=dict)
    spot: Factors = field(default_factory=dict)
    gpus: Mapping[str, Mapping[str, tuple[float, float]]] = field(default_factory=dict)
    """Region to model to what one card costs on demand and as spot."""
    fargate: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    """Region to what a vCPU and a GiB cost in AWS Fargate."""
    rates: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    """Class of machines to dollars for a vCPU and for a GiB."""


def render(providers: Iterable[Provider], cards: Mapping[str, float]) -> str:
    """The text that workers/metrics/pricing/table.py reads; implausible prices are left out."""
    known = sorted(providers, key=lambda provider: provider.name)
    lines = [FORMAT]
    lines += [f"source\t{one.name}\t{one.as_of}\t{one.home}" for one in known]
    for one in known:
        lines += _provider(one)
    lines.append(f"cards\t{ANY}\t{_pairs({name: _number(dollars, 4) for name, dollars in cards.items()})}")
    return "\n".join(lines) + "\n"


def _provider(one: Provider) -> Iterable[str]:
    low, high = PLAUSIBLE
    prices = {
        region: {name: dollars for name, dollars in listed.items() if low <= dollars <= high}
        for region, listed in one.prices.items()
    }
    types = sorted({name for listed in prices.values() for name in listed}, key=_naturally)
    yield f"types\t{one.name}\t{' '.join(types)}"
    for region, listed in sorted(prices.items()):
        if listed:
            cells = (_number(listed[name], DIGITS) if name in listed else "" for name in types)
            yield f"prices\t{one.name}\t{region}\t{' '.join(cells).rstrip()}"
    for kind, factors in (("ratios", one.ratios), ("spot", one.spot)):
        for region, by_family in sorted(factors.items()):
            yield f"{kind}\t{one.name}\t{region}\t{_pairs({k: _number(v, 5) for k, v in by_family.items()})}"
    for region, models in sorted(one.gpus.items()):
        yield f"gpus\t{one.name}\t{region}\t{_pairs({k: _both(v) for k, v in models.items()})}"
    for region, both in sorted(one.fargate.items()):
        yield f"fargate\t{one.name}\t{region}\tx86={_both(both)}"
    if one.rates:
        yield f"rates\t{one.name}\t{_pairs({k: _both(v) for k, v in one.rates.items()})}"


def _both(two: tuple[float, float]) -> str:
    return "/".join(_number(dollars, 5) for dollars in two)


def _pairs(values: Mapping[str, str]) -> str:
    return " ".join(f"{name}={value}" for name, value in sorted(values.items()))


def _number(value: float, digits: int) -> str:
    """Without the zero before the point: it would be a tenth of the file."""
    text = f"{value:.{digits}g}"
    return text[1:] if text.startswith("0.") else text


def _naturally(name: str) -> list[tuple[int, str]]:
    """2xlarge before 10xlarge, so that a family's sizes stand together by size."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)]
