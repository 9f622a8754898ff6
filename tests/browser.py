"""A real Chromium without a window, for the pages and their pictures."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait

_ARGUMENTS = (
    "--headless",
    "--no-sandbox",  # Chromium's own needs what a container does not grant, and all it opens is ours.
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)

_PATIENCE = 60.0
"""Seconds a page has to show something: it asks every other second, and the machine may be busy."""


class Browser:
    """One tab, in a profile that was never used before."""

    def __init__(self, driver: webdriver.Chrome) -> None:
        self.driver = driver

    def open(self, url: str, width: int = 1280, height: int = 900, dark: bool = False) -> None:
        """Show ``url`` in a window of so many CSS pixels, as a phone's or a desk's would be."""
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": scheme})
        self.driver.get(url)

    def text(self, selector: str = "body") -> str:
        """The text that can be seen of the first element that ``selector`` finds."""
        return self.driver.find_element(By.CSS_SELECTOR, selector).text

    def all(self, selector: str) -> list[WebElement]:
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def click(self, selector: str) -> None:
        self.driver.find_element(By.CSS_SELECTOR, selector).click()

    def run(self, script: str, *arguments: Any) -> Any:
        """What ``script`` returns in the page."""
        return self.driver.execute_script(script, *arguments)

    def wait(self, condition: Callable[[], object]) -> None:
        """Until ``condition()`` is true; elements that are redrawn meanwhile are asked for again."""
        WebDriverWait(self.driver, _PATIENCE, 0.1).until(lambda _: condition())

    def sees(self, words: str, selector: str = "body") -> None:
        """Wait until ``words`` can be seen."""
        try:
            self.wait(lambda: words in self.text(selector))
        except Exception as error:
            raise AssertionError(f"{words!r} does not show; there is: {self.text()}") from error

    def complaints(self) -> list[str]:
        """What the page's console said since it was asked last: errors, what the policy refused, what did not load."""
        return [entry["message"] for entry in self.driver.get_log("browser")]  # type: ignore[no-untyped-call]

    def asked(self) -> list[str]:
        """Everything the page fetched."""
        return list(self.run("return performance.getEntriesByType('resource').map((entry) => entry.name)"))

    def picture(self, path: Path) -> None:
        """Save what can be seen as PNG."""
        self.driver.save_screenshot(str(path))


@contextmanager
def chromium(binary: str, chromedriver: str) -> Iterator[Browser]:
    """A browser of its own, and nothing left of it afterwards."""
    with tempfile.TemporaryDirectory(prefix="co-browser-", ignore_cleanup_errors=True) as profile:
        options = webdriver.ChromeOptions()
        options.binary_location = binary
        for argument in (*_ARGUMENTS, f"--user-data-dir={profile}"):
            options.add_argument(argument)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        driver = webdriver.Chrome(options=options, service=Service(chromedriver))
        try:
            yield Browser(driver)
        finally:
            driver.quit()
