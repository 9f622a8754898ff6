"""The simulator answers as a real API server does: as one was recorded, or as that of --kubeconfig says now."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.conformance import CASES, RECORDED
from tests.integration.conformance.asking import Server
from tests.integration.conformance.case import Case
from tests.integration.conformance.place import Place
from tests.sim.kube.cluster import Cluster


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("simulated")
    with Cluster(nodes=0, tls=folder, tokens={"admin": "kubernetes-admin"}) as cluster:
        server = Server(cluster.write_kubeconfig(folder / "kubeconfig", token="admin"))
        with Place(server).prepared() as place:
            yield place


@pytest.fixture(scope="module")
def real(request: pytest.FixtureRequest) -> Iterator[Place | None]:
    kubeconfig = request.config.getoption("--kubeconfig")
    if kubeconfig is None:
        yield None
        return
    with Place(Server(Path(kubeconfig))).prepared() as place:
        yield place


@pytest.fixture(scope="module")
def recorded() -> dict[str, Any]:
    answers: dict[str, Any] = json.loads(RECORDED.read_text())
    return answers


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_simulator_answers_as_a_real_api_server(
    simulated: Place, real: Place | None, recorded: dict[str, Any], case: Case
) -> None:
    wanted = real.answer(case) if real is not None else recorded[case.name]
    assert json.loads(json.dumps(simulated.answer(case))) == wanted


def test_every_case_was_recorded(recorded: dict[str, Any]) -> None:
    assert recorded.keys() - {"version"} == {case.name for case in CASES}
    assert len(CASES) == len({case.name for case in CASES})
