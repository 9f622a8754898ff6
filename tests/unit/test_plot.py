"""Plots for the docs: what was measured, as SVG that any page shows."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

from bench.endurance import quarters
from bench.plot import HEIGHT, WIDTH, lines

SVG = "{http://www.w3.org/2000/svg}"


def test_each_series_is_a_line_within_the_plot_with_its_name_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "plot.svg"
    lines(path, "Memory & more", "MiB", {"a": [(0.0, 1.0), (5.0, 37.0)], "<b>": [(0.0, 0.0), (4.0, 12.5)], "none": []})
    picture = ElementTree.parse(path).getroot()
    drawn = [line.attrib["points"].split() for line in picture.iter(f"{SVG}polyline")]
    assert [len(points) for points in drawn] == [2, 2, 0]
    for point in (point for points in drawn for point in points):
        x, y = map(float, point.split(","))
        assert 0 < x < WIDTH
        assert 0 < y < HEIGHT
    assert {"Memory & more", "a", "<b>", "40 MiB"} <= {text.text for text in picture.iter(f"{SVG}text")}


def test_growth_is_seen_beside_the_second_quarter_and_not_beside_the_start() -> None:
    assert quarters([(float(minute), 10.0 if minute < 10 else 20.0) for minute in range(101)]) == (20.0, 20.0)
    assert quarters([(float(minute), float(minute)) for minute in range(101)]) == (31.5, 87.5)
    assert quarters([]) == (0.0, 0.0)
