"""What the whole suite can be told: which cluster to try tasks on. And what holds for all of it."""

from __future__ import annotations

import hypothesis
import pytest

# An example that takes long says that the machine is busy, nothing about the agent: no test fails for being slow.
hypothesis.settings.register_profile(
    "unhurried", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("unhurried")

SIMULATOR = "simulator: needs an answer that only the simulator gives to order; not for --kubeconfig"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--kubeconfig",
        metavar="PATH",
        help="try tasks on this cluster instead of the simulator, as its administrator: on nodes and in namespaces of"
        " their own, which are taken away afterwards; nothing else is touched, and no image is needed",
    )


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", SIMULATOR)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """On a real cluster the tests that need the simulator are left out, and counted as such."""
    if config.getoption("--kubeconfig") is None:
        return
    left_out = [item for item in items if item.get_closest_marker("simulator")]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if not item.get_closest_marker("simulator")]
