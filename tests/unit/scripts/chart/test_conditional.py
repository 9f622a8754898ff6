"""What a component does is what differs between two renderings, whatever it is."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from scripts.chart.conditional import combine
from scripts.chart.text import render


def text(base: Any, **variants: Any) -> str:
    return render(combine(base, {f".Values.{name}": tree for name, tree in variants.items()}))


def test_what_no_component_touches_is_plain() -> None:
    tree = {"kind": "Role", "rules": [{"verbs": ["get"]}]}
    assert yaml.safe_load(text(tree, a=tree)) == tree


def test_a_field_that_is_added_taken_away_or_changed_is_conditional() -> None:
    base = {"kind": "Pod", "gone": 1, "changed": "old"}
    assert text(base, a={"kind": "Pod", "changed": "new", "added": True}).splitlines() == [
        "kind: Pod",
        "{{- if not .Values.a }}",
        "gone: 1",
        "changed: old",
        "{{- end }}",
        "{{- if .Values.a }}",
        "changed: new",
        "added: true",
        "{{- end }}",
    ]


def test_items_are_known_by_their_names_and_changed_in_place() -> None:
    base = [{"name": "one", "value": 1}, {"name": "two", "value": 2}]
    variant = [{"name": "two", "value": 22}, {"name": "one", "value": 1}, {"name": "three", "value": 3}]
    lines = text({"items": base}, a={"items": variant}).splitlines()
    assert lines.count("  {{- if .Values.a }}") == 1, "the item that is added"
    assert "    value: 22" in lines
    assert "    value: 2" in lines


def test_what_two_components_add_alike_is_there_with_either() -> None:
    assert "{{- if or .Values.a .Values.b }}" in text({"k": 1}, a={"k": 1, "x": 2}, b={"k": 1, "x": 2})


@pytest.mark.parametrize(
    ("base", "a", "b"),
    [
        ({"k": 1}, {"k": 2}, {"k": 3}),
        ({"k": [{"name": "n"}]}, {"k": [{"name": "n"}, {"name": "x", "v": 1}]}, {"k": [{"name": "n"}, {"name": "x"}]}),
        ({"k": 1}, {"other": 1}, {"k": 1}),
    ],
    ids=["one field to two values", "one item in two ways", "all of a mapping gone"],
)
def test_what_cannot_be_said_is_refused(base: Any, a: Any, b: Any) -> None:
    """Whoever adds such a component hears of it when the chart is made."""
    with pytest.raises(ValueError, match=r"different|every case"):
        text(base, a=a, b=b)


def test_what_looks_like_a_template_in_a_text_stays_a_text() -> None:
    assert text({"summary": "{{ $labels.worker }} restarts"}) == ('summary: "{{ "{{" }} $labels.worker }} restarts"\n')
