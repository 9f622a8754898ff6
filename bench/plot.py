"""Plots as SVG that a page can show: lines over time, a legend, nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

WIDTH, HEIGHT = 760, 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 150, 34, 40
_COLOURS = ("#3366cc", "#dc3912", "#ff9900", "#109618", "#990099", "#0099c6")

Points = Sequence[tuple[float, float]]


def lines(path: Path, title: str, unit: str, series: Mapping[str, Points], x_unit: str = "minutes") -> None:
    """Write ``series`` by name as one plot, from zero up."""
    points = [point for each in series.values() for point in each]
    right = max((x for x, _ in points), default=1.0) or 1.0
    top = _round_up(max((y for _, y in points), default=1.0) or 1.0)
    wide, high = WIDTH - _LEFT - _RIGHT, HEIGHT - _TOP - _BOTTOM

    def place(x: float, y: float) -> str:
        return f"{_LEFT + x / right * wide:.1f},{_TOP + high - y / top * high:.1f}"

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}"',
        ' font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        f'<text x="{_LEFT}" y="20" font-size="14">{escape(title)}</text>',
    ]
    for step in range(5):
        level = top * step / 4
        y = _TOP + high - high * step / 4
        parts.append(f'<line x1="{_LEFT}" y1="{y:.1f}" x2="{_LEFT + wide}" y2="{y:.1f}" stroke="#dddddd"/>')
        parts.append(f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{level:g} {escape(unit)}</text>')
        x = right * step / 4
        at = place(x, 0).partition(",")[0]
        parts.append(f'<text x="{at}" y="{HEIGHT - 20}" text-anchor="middle">{x:.0f}</text>')
    parts.append(f'<text x="{_LEFT + wide / 2:.0f}" y="{HEIGHT - 5}" text-anchor="middle">{escape(x_unit)}</text>')
    for number, (name, each) in enumerate(series.items()):
        colour = _COLOURS[number % len(_COLOURS)]
        drawn = " ".join(place(x, y) for x, y in each)
        parts.append(f'<polyline fill="none" stroke="{colour}" stroke-width="1.5" points="{drawn}"/>')
        y = _TOP + 14 + 18 * number
        parts.append(f'<rect x="{WIDTH - _RIGHT + 12}" y="{y - 9}" width="10" height="10" fill="{colour}"/>')
        parts.append(f'<text x="{WIDTH - _RIGHT + 28}" y="{y}">{escape(name)}</text>')
    path.write_text("\n".join([*parts, "</svg>"]) + "\n", encoding="utf-8")


def _round_up(value: float) -> float:
    """The next of 1, 2, 4, 5, 8, 10 times a power of ten: quarters of it are short numbers."""
    power = 1.0
    while value > 10 * power:
        power *= 10
    while value < power:
        power /= 10
    return next(step * power for step in (1, 2, 4, 5, 8, 10) if step * power >= value)
