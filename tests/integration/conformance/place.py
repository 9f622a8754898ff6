"""Where the comparisons are made: a namespace, and a node whose kubelet does nothing, of a server."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.integration.conformance.asking import MERGE, Ask, Server, comparable
from tests.integration.conformance.case import CORE, PODS, Case, gone

_NOBODY = [{"key": "conformance", "effect": "NoSchedule"}]


class Place:
    """Answers cases. Each makes objects of its own, so their order does not matter."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._words = {"ns": f"conformance-{uuid.uuid4().hex[:6]}"}
        self._words["node"] = f"{self._words['ns']}-node"

    def answer(self, case: Case) -> dict[str, Any]:
        words = {"me": f"{self._words['ns']}-{case.name}", **self._words}
        for ask in case.before:
            answer = self._server.send(ask, words)
            assert answer.code < 300 or ask.until, f"{case.name}: {ask.method} {ask.path}: {answer}"
            for word, path in ask.keep.items():
                words[word] = str(answer.find(*path))
        return comparable(self._server.send(case.ask, words), case.show, words)

    def _do(self, *asks: Ask) -> None:
        for ask in asks:
            answer = self._server.send(ask, self._words)
            assert answer.code < 300 or answer.code == 404 or ask.until, f"{ask.method} {ask.path}: {answer}"

    @contextmanager
    def prepared(self) -> Iterator[Place]:
        ready = {"type": "Ready", "status": "True", "reason": "Conformance"}
        try:
            self._do(
                Ask("POST", "/api/v1/namespaces", {"metadata": {"name": "{ns}"}}),
                Ask("POST", "/api/v1/nodes", {"metadata": {"name": "{node}"}, "spec": {"taints": _NOBODY}}),
                Ask("PATCH", "/api/v1/nodes/{node}/status", {"status": {"conditions": [ready]}}, MERGE),
                Ask("GET", f"{CORE}/serviceaccounts/default", until=lambda answer: answer.code == 200),
            )
            yield self
        finally:
            self._clean()
            self._server.close()

    def _clean(self) -> None:
        """Nodes and namespaces by their names, which are ours alone; what holds pods is taken off them."""
        prefix = self._words["ns"]
        for node in self._names("/api/v1/nodes"):
            if node.startswith(prefix):
                self._do(Ask("DELETE", f"/api/v1/nodes/{node}"))
        spaces = [name for name in self._names("/api/v1/namespaces") if name.startswith(prefix)]
        for space in spaces:
            path = PODS.replace("{ns}", space)
            self._do(Ask("DELETE", f"/api/v1/namespaces/{space}"))
            for pod in self._names(path):
                self._do(
                    Ask("PATCH", f"{path}/{pod}", {"metadata": {"finalizers": None}}, MERGE),
                    Ask("DELETE", f"{path}/{pod}", {"gracePeriodSeconds": 0}),
                )
        for space in spaces:
            self._do(Ask("GET", f"/api/v1/namespaces/{space}", until=gone))

    def _names(self, path: str) -> list[str]:
        listed = self._server.send(Ask("GET", path), self._words)
        return [item["metadata"]["name"] for item in listed.find("items") or ()]
