"""Central's API key: rotates in its file, and shows in nothing that is said about it."""

from __future__ import annotations

import html
import json
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import pytest

from shared.basics.api_key import REMEMBERED, ApiKey

KEY = 's3cr3t/Key+with"odd\\characters&<more>=='


@pytest.mark.parametrize("content", [None, b"", b" \n", b"two words", b"\xff\xfe"], ids=repr)
def test_a_file_without_a_usable_key_leaves_the_last_good_one(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "api-key"
    path.write_text("good")
    key = ApiKey(path=path)
    assert key.current() == "good"
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    assert key.current() == "good"


def json_text(text: str) -> str:
    return json.dumps(text)[1:-1]


FORMS: dict[str, Callable[[str], str]] = {
    "as it is": str,
    "in JSON": json_text,
    "in JSON in JSON": lambda key: json_text(json_text(key)),
    "in JSON as PHP writes it": lambda key: key.replace("/", "\\/"),
    "in a URL": lambda key: quote(key, safe=""),
    "in HTML": html.escape,
    "in HTML in JSON": lambda key: json_text(html.escape(key)),
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_it_is_taken_out_of_a_text_in_whatever_form_it_is_quoted(form: Callable[[str], str]) -> None:
    quoted = form(KEY)
    assert ApiKey(KEY).redacted(f"Bearer {quoted}, {quoted}!") == "Bearer ***, ***!"
    assert len(quoted) <= ApiKey(KEY).longest


def test_so_are_the_keys_before_it(tmp_path: Path) -> None:
    """Central may quote the key that was revoked a moment ago."""
    path = tmp_path / "key"
    path.write_text("key-number-0")
    key = ApiKey(key_text := path.read_text(), path)
    for number in range(1, REMEMBERED):
        path.write_text(f"key-number-{number}")
        key.current()
    assert key.redacted(f"{key_text} key-number-2 key-number-3") == "*** *** ***"


def test_a_text_without_it_stays_as_it_is() -> None:
    assert ApiKey(KEY).redacted("nothing to hide") == "nothing to hide"
    assert ApiKey().redacted("nothing to hide") == "nothing to hide"


def test_a_key_that_is_part_of_any_word_is_left_alone() -> None:
    assert ApiKey("demo").redacted("cluster demo, pod demo-1") == "cluster demo, pod demo-1"
