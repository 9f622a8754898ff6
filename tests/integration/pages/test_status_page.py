"""The status page of the health port, in a real Chromium."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from shared.process.programs import PROGRAMS
from shared.process.state import AT_WORK, HEALTH, WORKER
from shared.queue.client import QueueUnavailable
from shared.queue.memory import MemoryQueue
from tests.browser import Browser
from tests.unit.conftest import process_of
from workers.health.worker import HealthWorker

EVIL = "<img src=x onerror=\"document.title='owned'\">"
"""What Central, or a pod's name in an error, must not do to whoever looks."""

HELD: dict[str, Any] = {
    "task_id": f"drain-{EVIL}",
    "task_type": "drain_node",
    "target": "ip-10-0-1-77.ec2.internal",
    "priority": 5,
    "phase": "evicting, tier 1 of 2",
    "started": "2026-03-01T11:59:00.000Z",
    "deadline": "2126-03-01T12:10:00.000Z",
    "pods_left": 7,
    "held": [{"by": "budget shop/web", "pods": 2}],
    "held_since": "2026-03-01T11:59:30.000Z",
    "stuck": "shop/web-0 (finalizers: example.com/hold)",
}
FAILED: dict[str, Any] = {
    "task_id": "task-9",
    "task_type": "cordon_node",
    "target": "no-such-node",
    "status": "failed",
    "error": f"node {EVIL} does not exist",
    "ended": "2026-03-01T11:58:00.000Z",
    "duration_seconds": 0.21,
}
CONNECTIONS = {"central": {"ok": False, "detail": "connection refused"}, "kubernetes": {"ok": True, "detail": ""}}


class Shown:
    """An agent as its queue knows it, and the server that shows it."""

    def __init__(self, run_dir: Path) -> None:
        self.queue = MemoryQueue()
        self.worker = HealthWorker(process_of(run_dir, self.queue, "health"))
        threading.Thread(target=self.worker.server.serve_forever, args=(0.02,), daemon=True).start()
        self.url = f"http://127.0.0.1:{self.worker.server.server_port}/"
        self.say(ready=False, reasons=["central: connection refused (heartbeat)"])
        for name in PROGRAMS:
            self.queue.set_state({WORKER + name: {"uptime": 60.0, "connections": CONNECTIONS}})
        self.work(tasks=[HELD], running=160, results=[FAILED], guard_rails={"MAX_CORDONED_NODES": "3"})

    def say(self, **health: Any) -> None:
        workers = {**dict.fromkeys(PROGRAMS, "running"), "metrics": "stale"}
        self.queue.set_state({HEALTH: {"uptime_seconds": 61.0, "workers": workers, "reasons": [], **health}})

    def work(self, **work: Any) -> None:
        nothing = {"tasks": [], "running": 0, "waiting": 0, "results": [], "guard_rails": {}, "paused": None}
        self.queue.set_state({AT_WORK: {**nothing, **work}})

    def close(self) -> None:
        self.worker.server.shutdown()
        self.worker.server.server_close()


@pytest.fixture
def shown() -> Iterator[Shown]:
    with tempfile.TemporaryDirectory(prefix="co-") as run_dir:
        shown = Shown(Path(run_dir))
        yield shown
        shown.close()


def test_it_shows_what_is_wrong_what_is_at_work_and_what_held_it_up(shown: Shown, browser: Browser) -> None:
    browser.open(shown.url)
    browser.sees("not ready", "#ready")
    assert "central: connection refused (heartbeat)" in browser.text("#reasons")
    assert "budget shop/web holds 2, the longest for " in browser.text("#tasks")
    assert "7 pods left" in browser.text("#tasks")
    assert "finalizers: example.com/hold" in browser.text("#tasks")
    assert "and 159 more" in browser.text("#tasks")
    assert "connection refused" in browser.text("#connections")
    assert "stale" in browser.text("#workers")
    assert "results" in browser.text("#queue")
    assert "MAX_CORDONED_NODES" in browser.text("#rails")
    assert browser.driver.title == "demo · CloudOptim agent"


def test_what_comes_from_outside_is_text_and_never_markup(shown: Shown, browser: Browser) -> None:
    browser.open(shown.url)
    browser.sees(EVIL, "#tasks")
    browser.sees(EVIL, "#results")
    assert browser.all("img") == []
    assert browser.driver.title == "demo · CloudOptim agent"


def test_it_refreshes_itself_and_says_when_it_cannot(
    shown: Shown, browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    browser.open(shown.url)
    browser.sees("not ready", "#ready")
    shown.say(ready=True)
    shown.work(paused="TASKS_PAUSED is true")
    browser.sees("paused", "#ready")
    browser.sees("TASKS_PAUSED is true", "#reasons")
    browser.sees("None.", "#tasks")
    shown.work()
    browser.wait(lambda: browser.text("#ready") == "ready")

    def away(*_: object, **__: object) -> None:
        raise QueueUnavailable("the queue does not answer")

    with monkeypatch.context() as patched:
        patched.setattr(shown.queue, "call", away)
        browser.sees("What is below is old: the queue does not answer", "#away")
        assert browser.text("#ready") == "unknown"
    browser.wait(lambda: browser.text("#ready") == "ready" and not browser.all("#away:not([hidden])"))
    shown.close()
    browser.sees("the agent does not answer", "#away")


def test_it_asks_nobody_else_and_for_nothing_but_the_status(shown: Shown, browser: Browser) -> None:
    browser.complaints()
    browser.open(shown.url)
    browser.sees("not ready", "#ready")
    assert set(browser.asked()) == {f"{shown.url}status"}
    assert browser.complaints() == []


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize(("width", "height"), [(360, 740), (1280, 900)])
def test_it_can_be_read_on_a_phone_by_day_and_by_night(
    shown: Shown, browser: Browser, width: int, height: int, dark: bool
) -> None:
    browser.open(shown.url, width, height, dark)
    browser.sees("budget shop/web", "#tasks")
    assert browser.run("return document.documentElement.scrollWidth") <= width, "nothing is out of sight to the side"
    assert browser.run(_LEAST_CONTRAST) >= 4.5, "as WCAG 2 asks of text (1.4.3, AA)"
    light = browser.run("return getComputedStyle(document.body).backgroundColor") == "rgb(245, 246, 248)"
    assert light is not dark


_LEAST_CONTRAST = """
const rgb = (text) => text.match(/[\\d.]+/g).map(Number);
const light = (color) => {
  const linear = (part) => part <= .04045 ? part / 12.92 : ((part + .055) / 1.055) ** 2.4;
  const [r, g, b] = rgb(color).map((part) => linear(part / 255));
  return .2126 * r + .7152 * g + .0722 * b;
};
const ground = (element) => {
  for (let e = element; e; e = e.parentElement) {
    const color = getComputedStyle(e).backgroundColor;
    if (rgb(color)[3] !== 0) return color;
  }
  return "rgb(255, 255, 255)";
};
let least = 21;
for (const element of document.querySelectorAll("main *")) {
  if (![...element.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim())) continue;
  const [a, b] = [light(getComputedStyle(element).color), light(ground(element))];
  least = Math.min(least, (Math.max(a, b) + .05) / (Math.min(a, b) + .05));
}
return least;
"""
"""The least contrast of any text on the page with what is behind it."""
