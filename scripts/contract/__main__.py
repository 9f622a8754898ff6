"""``python -m scripts.contract`` writes both documents."""

from __future__ import annotations

import json
from pathlib import Path

from scripts.contract import asyncapi, openapi

DOCS = Path(__file__).resolve().parents[2] / "docs"


def files() -> dict[str, str]:
    """The documents' texts by their names in docs/."""
    made = {"openapi.json": openapi.document(), "asyncapi.json": asyncapi.document()}
    return {name: json.dumps(document, indent=1, ensure_ascii=False) + "\n" for name, document in made.items()}


if __name__ == "__main__":
    for name, text in files().items():
        (DOCS / name).write_text(text, encoding="utf-8")
