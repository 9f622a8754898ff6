"""The browser that looks at the pages."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.browser import Browser, chromium
from tests.tools import require


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium(require("chromium"), require("chromedriver")) as browser:
        yield browser
