"""The console of the stand-in for Central, in a real Chromium, with the agent as it ships between it and a cluster."""

from __future__ import annotations

import http.client
import json

import pytest

from shared.kube.connection import Kube
from tests.browser import Browser
from tests.sim.agent import Agent
from tests.sim.central.console import may_command
from tests.sim.central.server import Central
from tests.sim.kube.cluster import Cluster
from tests.sim.picture import picture

EVIL = "<img src=x onerror=\"document.title='owned'\">"


def pods_on(browser: Browser, node: str) -> int:
    """The pods that the console draws on a node, those of DaemonSets apart."""
    script = "return document.querySelectorAll(`[data-node='${arguments[0]}'] .pod:not(.daemon):not(.gone)`).length"
    return int(browser.run(script, node))


def button(node: str, number: int) -> str:
    return f"[data-node='{node}'] .buttons button:nth-child({number})"


def test_a_drain_is_clicked_its_pods_move_and_its_account_arrives(
    agent: Agent, central: Central, cluster: Cluster, admin: Kube, browser: Browser
) -> None:
    central.console.cluster = lambda: picture(admin)
    browser.open(f"{central.url}/")
    browser.sees("live", "#link")
    browser.wait(lambda: browser.text("#node-count") == "3")
    browser.wait(lambda: pods_on(browser, "node-1") == 2)
    browser.wait(lambda: central.streams)

    browser.click(button("node-1", 2))
    browser.sees("drain_node node-1, dry run", "#tasks")
    browser.sees("success", "#tasks")
    browser.click("#tasks summary")
    browser.sees("dry run: nothing was touched", "#tasks pre")
    assert pods_on(browser, "node-1") == 2

    browser.click(button("node-1", 1))
    browser.wait(lambda: pods_on(browser, "node-1") == 0)
    browser.wait(lambda: pods_on(browser, "node-2") + pods_on(browser, "node-3") == 4)
    browser.sees("cordoned", "[data-node='node-1']")
    browser.wait(lambda: len(browser.all("#tasks details .badge.good")) == 2)
    browser.click("#tasks summary")
    browser.sees("node node-1 is drained", "#tasks pre")

    browser.click(button("node-1", 3))
    browser.wait(lambda: "cordoned" not in browser.text("[data-node='node-1'] .soft"))
    cluster.fail_scheduling("shop", "huge")
    browser.sees("pod_scheduling_failed", "#events")
    assert browser.text("#dollars").startswith("$")
    assert browser.text("#agent") == "healthy"


def test_what_arrives_is_text_and_never_markup_and_a_page_that_comes_late_sees_it(
    central: Central, browser: Browser
) -> None:
    task = central.task("cordon_node", {"node_name": EVIL}, task_id=EVIL)
    browser.open(f"{central.url}/", 360, 740, dark=True)
    browser.sees(EVIL, "#tasks")
    assert browser.all("img") == []
    assert browser.run("return document.documentElement.scrollWidth") <= 360
    assert set(browser.asked()) <= {f"{central.url}/sim/console"}
    assert task["task_id"] == EVIL


def test_without_an_agent_a_click_says_so(central: Central, browser: Browser) -> None:
    central.console.cluster = lambda: [{"name": "node-1", "ready": True, "cordoned": False, "pods": []}]
    browser.open(f"{central.url}/")
    browser.wait(lambda: browser.all(button("node-1", 1)))
    browser.click(button("node-1", 1))
    browser.sees("no agent is connected to the stream", "#tasks")


def test_it_goes_on_where_it_was_when_central_comes_back(central: Central, browser: Browser) -> None:
    central.task("cordon_node", {"node_name": "before"})
    browser.open(f"{central.url}/")
    browser.sees("before", "#tasks")
    central.stop()
    browser.sees("Central does not answer", "#link")
    central.task("cordon_node", {"node_name": "meanwhile"})
    central.start()
    browser.sees("meanwhile", "#tasks")
    browser.sees("live", "#link")
    assert len(browser.all("#tasks details")) == 2, "and nothing came twice"


@pytest.mark.parametrize(
    ("origin", "host", "may"),
    [
        (None, "127.0.0.1:9000", True),
        ("http://127.0.0.1:9000", "127.0.0.1:9000", True),
        ("http://localhost:9000", "localhost:9000", True),
        ("http://evil.example", "127.0.0.1:9000", False),
        ("http://evil.example:9000", "evil.example:9000", False),
        ("null", "127.0.0.1:9000", False),
        ("http://127.0.0.1:9000", None, False),
    ],
)
def test_a_page_of_somebody_elses_in_the_same_browser_gives_no_tasks(
    origin: str | None, host: str | None, may: bool
) -> None:
    """It would drain nodes of whatever cluster the demo runs on."""
    assert may_command(origin, host) is may


def test_such_a_request_is_refused(central: Central) -> None:
    connection = http.client.HTTPConnection(central.url.removeprefix("http://"), timeout=60)
    body = json.dumps({"task_type": "cordon_node", "parameters": {"node_name": "node-1"}})
    connection.request("POST", "/sim/tasks", body, {"Origin": "https://evil.example"})
    assert connection.getresponse().status == 403
    connection.close()
    assert central.ledger.offered() == []
