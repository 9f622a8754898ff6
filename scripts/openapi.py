"""Central's client API as an OpenAPI document, made from the schemas: ``make docs`` writes docs/openapi.json."""

from __future__ import annotations

import json
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from shared import __version__
from shared.schemas.agent import Deregistration, Heartbeat, Registration
from shared.schemas.events import EventBatch
from shared.schemas.metrics import ClusterMetrics
from shared.schemas.parameters import PARAMETERS
from shared.schemas.tasks import Task, TaskResult

_BODIES: tuple[tuple[str, str, type[BaseModel], str], ...] = (
    ("/tasks/{task_id}/result", "result", TaskResult, "How a task ended. Sent until it is answered 2xx, or refused."),
    ("/metrics", "metrics", ClusterMetrics, "One sample of the cluster's totals."),
    ("/events", "events", EventBatch, "Cluster events. An event_id seen before updates that event."),
    ("/heartbeat", "heartbeat", Heartbeat, "The agent lives."),
    ("/register", "register", Registration, "A start of the agent. Optional: 404, 405 or 501 is taken as that."),
    ("/deregister", "deregister", Deregistration, "The last call of an orderly shutdown. Optional likewise."),
)
_WITH_KEY = ("result", "metrics", "events")
_TASK_ID = {"name": "task_id", "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
_CLUSTER_ID = {"name": "cluster_id", "in": "query", "required": True, "schema": {"type": "string"}}
_LIMIT = {
    "name": "limit",
    "in": "query",
    "required": False,
    "description": "How many tasks the agent takes in at a time. May be ignored; the rest is asked for again.",
    "schema": {"type": "integer", "minimum": 1},
}
_INSTANCE = {
    "name": "X-Agent-Instance",
    "in": "header",
    "required": True,
    "description": "A UUID per start of the pod. Two at a time for one cluster: fence the older.",
    "schema": {"type": "string", "format": "uuid"},
}
_IDEMPOTENCY = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": True,
    "description": "The same for every attempt at one delivery: a key seen before needs no second look.",
    "schema": {"type": "string", "minLength": 1, "pattern": "^[!-~]+$"},
}


def document() -> dict[str, Any]:
    """The whole document."""
    models = [(model, "serialization") for _, _, model, _ in _BODIES]
    models += [(Task, "validation"), *((model, "validation") for model in PARAMETERS.values())]
    _, schemas = models_json_schema(models, ref_template="#/components/schemas/{model}")  # type: ignore[arg-type]
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "CloudOptim Central, client API",
            "version": __version__,
            "description": "What the client agent calls. See docs/central-api.md.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/api/v1/client"}],
        "security": [{"key": []}],
        "paths": {
            "/tasks": {"get": _poll()},
            **{path: {"post": _post(operation, model, summary)} for path, operation, model, summary in _BODIES},
        },
        "components": {
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
            "schemas": schemas["$defs"],
            "responses": _RESPONSES,
        },
    }


_RESPONSES = {
    "taken": {"description": "Taken. The body is not read."},
    "refused": {"description": "Refused for good (400, 409, 410, 422; JSON or no body): it becomes a dead letter."},
    "unauthorized": {"description": "The key is not accepted. Confirmed for 30 s (a file: 180 s), the agent stops."},
    "large": {"description": "Too large: the agent halves a batch of events, and cuts the logs of a result."},
    "later": {
        "description": "Not now (404, 429, 5xx and any other): tried again, not before what Retry-After asks for."
    },
}


def _poll() -> dict[str, Any]:
    task = {"$ref": "#/components/schemas/Task"}
    listed = {"type": "array", "items": task}
    wrapped = {"type": "object", "properties": {"tasks": listed}, "required": ["tasks"]}
    content = {"application/json": {"schema": {"oneOf": [listed, wrapped]}}}
    return {
        "operationId": "tasks",
        "summary": "Pending tasks. One that was handed out is offered again until its result arrives.",
        "parameters": [_CLUSTER_ID, _LIMIT, _INSTANCE],
        "responses": {"200": {"description": "The tasks.", "content": content}, **_failures()},
    }


def _post(operation: str, model: type[BaseModel], summary: str) -> dict[str, Any]:
    parameters: list[dict[str, Any]] = [_INSTANCE]
    if operation in _WITH_KEY:
        parameters.append(_IDEMPOTENCY)
    if operation == "result":
        parameters.insert(0, _TASK_ID)
    schema = {"$ref": f"#/components/schemas/{model.__name__}"}
    return {
        "operationId": operation,
        "summary": summary,
        "parameters": parameters,
        "requestBody": {"required": True, "content": {"application/json": {"schema": schema}}},
        "responses": {"2XX": {"$ref": "#/components/responses/taken"}, **_failures()},
    }


def _failures() -> dict[str, Any]:
    refused = dict.fromkeys(("400", "409", "410", "422"), "refused")
    names = {**refused, "401": "unauthorized", "413": "large", "4XX": "later", "5XX": "later"}
    return {code: {"$ref": f"#/components/responses/{name}"} for code, name in names.items()}


def render() -> str:
    """The document as it is committed."""
    return json.dumps(document(), indent=1) + "\n"


if __name__ == "__main__":
    print(render(), end="")
