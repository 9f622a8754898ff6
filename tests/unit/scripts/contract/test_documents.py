"""The published contract: what linters say of it, what it says of each field, and its examples."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from datetime import datetime, timezone
from typing import Any

import jsonschema_rs
import pytest

from scripts.contract import asyncapi, openapi
from scripts.contract.examples import BODIES, CANCEL, TASKS
from shared.central.stream import PushedCancel, Unknown, parse
from shared.schemas.parameters import PARAMETERS
from tests.sim.agent import ROOT
from tests.tools import require
from workers.task_runner.receiving import intake

OPENAPI, ASYNCAPI = openapi.document(), asyncapi.document()
SCHEMAS: dict[str, Any] = OPENAPI["components"]["schemas"]
DOCUMENTS = [str(ROOT / "docs" / name) for name in ("openapi.json", "asyncapi.json")]


def lint(program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """With the node that comes with the tools, if this machine has another."""
    path = f"{os.path.dirname(require('node'))}{os.pathsep}{os.environ['PATH']}"
    env = {**os.environ, "PATH": path, "REDOCLY_TELEMETRY": "off", "REDOCLY_SUPPRESS_UPDATE_NOTICE": "true"}
    return subprocess.run(
        [require(program), *arguments], cwd=ROOT, env=env, capture_output=True, text=True, timeout=300
    )


@pytest.mark.parametrize("document", DOCUMENTS, ids=os.path.basename)
def test_redocly_finds_nothing(document: str) -> None:
    done = lint("redocly", "lint", document, "--format=json")
    report = json.loads(done.stdout)
    assert report["totals"] == {"errors": 0, "warnings": 0, "ignored": 0}, done.stdout


def test_spectral_finds_nothing() -> None:
    ruleset = ROOT / "scripts" / "contract" / "spectral.yaml"
    done = lint("spectral", "lint", "--fail-severity=hint", "--ruleset", str(ruleset), *DOCUMENTS)
    assert done.returncode == 0, done.stdout


def fields_of(name: str) -> dict[str, Any]:
    found: dict[str, Any] = SCHEMAS[name].get("properties", {})
    return found


@pytest.mark.parametrize("name", SCHEMAS)
def test_every_field_says_what_it_means(name: str) -> None:
    assert SCHEMAS[name]["description"]
    silent = [field for field, said in fields_of(name).items() if not said.get("description") and "$ref" not in said]
    assert silent == []


def test_every_moment_has_its_format() -> None:
    moments = {"timestamp", "executed_at", "first_seen", "last_seen", "deadline", "created_at"}
    found = {
        (name, field): said.get("format")
        for name in SCHEMAS
        for field, said in fields_of(name).items()
        if field in moments
    }
    assert len(found) >= len(moments)
    assert set(found.values()) == {"date-time"}


def test_a_figure_that_is_no_count_says_its_unit() -> None:
    units = ("second", "core", "GB", "dollar", "percent")
    silent = []
    for name in SCHEMAS:
        for field, said in fields_of(name).items():
            words = f"{field} {said.get('description', '')}"
            if '"number"' in json.dumps(said) and not any(unit in words for unit in units):
                silent.append(f"{name}.{field}")
    assert silent == []


def test_the_parameters_are_tied_to_the_type_of_the_task() -> None:
    mapping = SCHEMAS["Task"]["discriminator"]["mapping"]
    assert set(mapping) == set(PARAMETERS)
    for task_type, model in PARAMETERS.items():
        kind = fields_of(mapping[task_type].rpartition("/")[2])
        assert kind["task_type"]["const"] == task_type
        assert kind["parameters"]["$ref"].endswith(f"/{model.__name__}")


def validator(name: str) -> jsonschema_rs.Draft202012Validator:
    return jsonschema_rs.Draft202012Validator(
        {"$ref": f"#/components/schemas/{name}", "components": {"schemas": SCHEMAS}}, validate_formats=True
    )


@pytest.mark.parametrize("call", openapi.CALLS, ids=lambda call: call.operation)
def test_the_example_of_a_body_is_what_the_agent_would_send(call: openapi.Call) -> None:
    body = BODIES[call.operation]
    validator(call.body.__name__).validate(body)
    assert json.loads(call.body.model_validate(body).model_dump_json()) == body, "in full, and as it is written"


@pytest.mark.parametrize("task_type", PARAMETERS)
def test_the_example_of_a_task_is_one_that_the_agent_takes(task_type: str) -> None:
    task = TASKS[task_type]
    validator("Task").validate(task)
    now = datetime(2026, 11, 25, 8, 0, tzinfo=timezone.utc)
    assert isinstance(intake.judge(task, "prod-eu-1"), intake.Accepted), now


def test_a_task_with_the_parameters_of_another_type_is_against_the_contract() -> None:
    wrong = {**TASKS["drain_node"], "parameters": TASKS["delete_pod"]["parameters"]}
    assert not validator("Task").is_valid(wrong)


def frames() -> Iterator[Any]:
    for message in ASYNCAPI["components"]["messages"].values():
        for example in message.get("examples", ()):
            yield example["payload"]


def test_the_agent_understands_every_frame_of_the_examples() -> None:
    understood = [parse(json.dumps(frame).encode()) for frame in frames()]
    assert len(understood) >= 3
    assert not [each for each in understood if isinstance(each, Unknown)]
    assert parse(json.dumps(CANCEL).encode()) == PushedCancel(CANCEL["task_id"])


def test_both_documents_have_the_same_task() -> None:
    theirs = ASYNCAPI["components"]["schemas"]
    assert {name: theirs[name] for name in theirs if name != "Task"} == {
        name: SCHEMAS[name] for name in theirs if name != "Task"
    }
    assert theirs["Task"]["oneOf"] == SCHEMAS["Task"]["oneOf"]
