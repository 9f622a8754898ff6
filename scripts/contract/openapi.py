"""Central's client API as an OpenAPI document."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from pydantic import BaseModel

from scripts.contract.examples import BODIES, PRICES, TASKS, Json
from scripts.contract.schemas import components
from shared import __version__
from shared.schemas.agent import Deregistration, Heartbeat, Registration
from shared.schemas.events import EventBatch
from shared.schemas.metrics import ClusterMetrics
from shared.schemas.prices import MAX_TYPES
from shared.schemas.tasks import TaskResult

INFO: Json = {
    "version": __version__,
    "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
    "contact": {"name": "CloudOptim"},
}


class Call(NamedTuple):
    """A POST of the agent's."""

    path: str
    operation: str
    body: type[BaseModel]
    tag: str
    summary: str
    description: str


_OPTIONAL = "A Central without it answers 404, 405 or 501, and the agent goes on."

CALLS = (
    Call(
        "/tasks/{task_id}/result", "result", TaskResult, "tasks", "How a task ended.",
        "Sent until it is answered 2xx, or refused for good. The same `task_id` may arrive twice.",
    ),
    Call(
        "/metrics", "metrics", ClusterMetrics, "observations", "One sample of the cluster's totals.",
        "Every METRICS_POLL_INTERVAL_SECONDS, after a drain, and once more when the agent stops.",
    ),
    Call(
        "/events", "events", EventBatch, "observations", "Cluster events, as they come.",
        "An `event_id` that was seen before updates that event.",
    ),
    Call(
        "/heartbeat", "heartbeat", Heartbeat, "agent", "The agent lives.", "Every HEARTBEAT_INTERVAL_SECONDS.",
    ),
    Call(
        "/register", "register", Registration, "agent", "A start of the agent.",
        f"Tried until it is taken; heartbeats, events and samples may arrive before. {_OPTIONAL}",
    ),
    Call(
        "/deregister", "deregister", Deregistration, "agent", "The end of an orderly shutdown.",
        f"The last call of the agent. {_OPTIONAL}",
    ),
)  # fmt: skip

_WITH_KEY = ("result", "metrics", "events")
_TASK_ID = {
    "name": "task_id",
    "in": "path",
    "required": True,
    "description": "The task's, percent-encoded.",
    "schema": {"type": "string", "minLength": 1},
}
_CLUSTER_ID = {
    "name": "cluster_id",
    "in": "query",
    "required": True,
    "description": "The cluster that is asked for.",
    "schema": {"type": "string"},
}
_TYPES = {
    "name": "types",
    "in": "query",
    "required": True,
    "description": f"Instance types of the cluster's machines, comma-separated; {MAX_TYPES} at most.",
    "schema": {"type": "string", "minLength": 1},
}
_KNOWN = {
    "name": "If-None-Match",
    "in": "header",
    "required": False,
    "description": "The ETag of the last answer for the same types.",
    "schema": {"type": "string"},
}
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
_RESPONSES: Mapping[str, Json] = {
    "taken": {"description": "Taken. The body is not read."},
    "refused": {"description": "Refused for good (400, 409, 410, 422; JSON or no body): it becomes a dead letter."},
    "unauthorized": {"description": "The key is not accepted. Confirmed for 30 s (a file: 180 s), the agent stops."},
    "large": {"description": "Too large: the agent halves a batch of events, and cuts the logs of a result."},
    "later": {
        "description": "Not now (404, 429, 5xx and any other): tried again, not before what Retry-After asks for."
    },
}


def document() -> Json:
    """The whole document."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "CloudOptim Central, client API",
            "description": "What the client agent calls. docs/central-api.md is the text to it, docs/asyncapi.json the"
            " stream by which Central pushes tasks.",
            **INFO,
        },
        "servers": [{"url": "/api/v1/client", "description": "Below CENTRAL_SERVER_URL."}],
        "security": [{"key": []}],
        "tags": [
            {"name": "tasks", "description": "What Central has done, and how it ended."},
            {"name": "observations", "description": "What the agent sees of the cluster."},
            {"name": "prices", "description": "What Central knows of them."},
            {"name": "agent", "description": "What the agent says of itself."},
        ],
        "paths": {
            "/tasks": {"get": _poll()},
            "/prices": {"get": _prices()},
            **{call.path: {"post": _post(call)} for call in CALLS},
        },
        "components": {
            "securitySchemes": {
                "key": {"type": "http", "scheme": "bearer", "description": "CENTRAL_API_KEY, for one cluster."}
            },
            "schemas": components(),
            "responses": dict(_RESPONSES),
        },
    }


def _poll() -> Json:
    listed = {"type": "array", "items": {"$ref": "#/components/schemas/Task"}}
    wrapped = {"type": "object", "properties": {"tasks": listed}, "required": ["tasks"]}
    content = {
        "schema": {"oneOf": [listed, wrapped]},
        "examples": {
            "list": {"summary": "A task of each type.", "value": [*TASKS.values()]},
            "object": {"summary": "The same in an object.", "value": {"tasks": [TASKS["cordon_node"]]}},
        },
    }
    return {
        "operationId": "tasks",
        "tags": ["tasks"],
        "summary": "Pending tasks.",
        "description": "One that was handed out is offered again until its result arrives.",
        "parameters": [_CLUSTER_ID, _LIMIT, _INSTANCE],
        "responses": {
            "200": {"description": "The tasks.", "content": {"application/json": content}},
            **_failures(),
        },
    }


def _prices() -> Json:
    content = {"schema": {"$ref": "#/components/schemas/Prices"}, "examples": {"typical": {"value": PRICES}}}
    etag = {"ETag": {"description": "Comes back as If-None-Match.", "schema": {"type": "string"}}}
    return {
        "operationId": "prices",
        "tags": ["prices"],
        "summary": "What the cluster's machines cost its owner.",
        "description": f"Asked once a day, and when a type is new. {_OPTIONAL}",
        "parameters": [_CLUSTER_ID, _TYPES, _KNOWN, _INSTANCE],
        "responses": {
            "200": {
                "description": "What is known of these types.",
                "headers": etag,
                "content": {"application/json": content},
            },
            "304": {"description": "What was answered last still holds."},
            **_failures(),
        },
    }


def _post(call: Call) -> Json:
    parameters: list[dict[str, Any]] = [_INSTANCE]
    if call.operation in _WITH_KEY:
        parameters.append(_IDEMPOTENCY)
    if call.operation == "result":
        parameters.insert(0, _TASK_ID)
    content = {
        "schema": {"$ref": f"#/components/schemas/{call.body.__name__}"},
        "examples": {"typical": {"value": BODIES[call.operation]}},
    }
    return {
        "operationId": call.operation,
        "tags": [call.tag],
        "summary": call.summary,
        "description": call.description,
        "parameters": parameters,
        "requestBody": {"required": True, "content": {"application/json": content}},
        "responses": {"2XX": {"$ref": "#/components/responses/taken"}, **_failures()},
    }


def _failures() -> Json:
    refused = dict.fromkeys(("400", "409", "410", "422"), "refused")
    names = {**refused, "401": "unauthorized", "413": "large", "4XX": "later", "5XX": "later"}
    return {code: {"$ref": f"#/components/responses/{name}"} for code, name in names.items()}
