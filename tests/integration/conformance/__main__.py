"""``python -m tests.integration.conformance KUBECONFIG``: record what a real API server answers."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from tests.integration.conformance import CASES, RECORDED
from tests.integration.conformance.asking import Ask, Server
from tests.integration.conformance.place import Place


def main() -> None:
    server = Server(Path(sys.argv[1]))
    version = server.send(Ask("GET", "/version"), {}).find("gitVersion")
    with Place(server).prepared() as place:
        answers = {case.name: place.answer(case) for case in CASES}
    lines = [f"{json.dumps(name)}: {json.dumps(answer)}" for name, answer in answers.items()]
    head = f"{json.dumps('version')}: {json.dumps(version)}"
    RECORDED.write_text("{\n" + ",\n".join([head, *lines]) + "\n}\n")
    print(f"{len(answers)} answers of {version} in {RECORDED}")


if __name__ == "__main__":
    main()
