"""The stream by which Central pushes tasks, as an AsyncAPI document. The agent is the one who receives."""

from __future__ import annotations

from typing import Any

from scripts.contract.examples import CANCEL, TASKS, Json
from scripts.contract.openapi import INFO
from scripts.contract.schemas import components
from shared.central.stream import MAX_FRAME

_TASK: Json = {"$ref": "#/components/schemas/Task"}

_FRAMES: dict[str, tuple[str, str, Json, list[Any]]] = {
    "task": (
        "A task",
        "An urgent task, bare. Push is for speed: whatever is pushed is offered by the poll too.",
        _TASK,
        [TASKS["drain_node"]],
    ),
    "tasks": ("Tasks", "Several of them in a list.", {"type": "array", "items": _TASK}, []),
    "wrapped": (
        "A task in an object",
        "The same as a bare one.",
        {
            "type": "object",
            "properties": {"type": {"const": "task"}, "task": _TASK},
            "required": ["type", "task"],
        },
        [{"type": "task", "task": TASKS["cordon_node"]}],
    ),
    "cancel": (
        "The end of a task",
        'Stops it at its next safe point, or before it begins. It is answered `failed`, "cancelled".',
        {
            "type": "object",
            "properties": {"type": {"const": "cancel"}, "task_id": {"type": "string", "minLength": 1}},
            "required": ["type", "task_id"],
        },
        [CANCEL],
    ),
}


def document() -> Json:
    """The whole document."""
    schemas = components()
    used = {name: schema for name, schema in schemas.items() if name in _reached(schemas, "Task")}
    # Its readers do not agree on what a discriminator is; the types are told apart by their constants anyway.
    used["Task"] = {key: value for key, value in used["Task"].items() if key != "discriminator"}
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "CloudOptim Central, stream of tasks",
            "description": "Text frames of JSON that Central sends. Anything else is logged and ignored. The agent"
            " pings after 15 seconds of silence and takes the stream for dead after 30.",
            "version": INFO["version"],
            "license": {"name": "Apache-2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0"},
            "contact": {
                "name": "CloudOptim",
                "url": "https://cloudoptim.example",
                "email": "support@cloudoptim.example",
            },
            "tags": [{"name": "tasks", "description": "What Central has done."}],
        },
        "defaultContentType": "application/json",
        "servers": {
            "central": {
                "host": "central.example.com",
                "protocol": "wss",
                "pathname": "/api/v1/client",
                "description": "CENTRAL_SERVER_URL; ws where that is http.",
                "security": [{"$ref": "#/components/securitySchemes/key"}],
            }
        },
        "channels": {
            "stream": {
                "address": "/stream",
                "title": "The stream",
                "description": "Open as long as the agent lives, and opened again with growing pauses.",
                "servers": [{"$ref": "#/servers/central"}],
                "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in _FRAMES},
                "bindings": {
                    "ws": {
                        "method": "GET",
                        "query": {
                            "type": "object",
                            "properties": {"cluster_id": {"type": "string", "description": "The cluster's id."}},
                            "required": ["cluster_id"],
                        },
                        "headers": {
                            "type": "object",
                            "properties": {
                                "X-Agent-Instance": {
                                    "type": "string",
                                    "format": "uuid",
                                    "description": "A UUID per start of the pod.",
                                }
                            },
                            "required": ["X-Agent-Instance"],
                        },
                        "bindingVersion": "0.1.0",
                    }
                },
            }
        },
        "operations": {
            "receive": {
                "action": "receive",
                "title": "What is pushed",
                "summary": "The agent takes a frame.",
                "description": f"A frame of more than {MAX_FRAME} bytes ends the stream.",
                "channel": {"$ref": "#/channels/stream"},
                "messages": [{"$ref": f"#/channels/stream/messages/{name}"} for name in _FRAMES],
            }
        },
        "components": {
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer", "description": "CENTRAL_API_KEY."}},
            "messages": {name: _message(name) for name in _FRAMES},
            "schemas": used,
        },
    }


def _message(name: str) -> Json:
    title, summary, payload, examples = _FRAMES[name]
    shown = [{"name": f"{name}{number}", "payload": each} for number, each in enumerate(examples, 1)]
    message = {"name": name, "title": title, "summary": summary, "contentType": "application/json", "payload": payload}
    return {**message, "examples": shown} if shown else message


def _reached(schemas: Json, name: str) -> set[str]:
    """The schemas that ``name`` refers to, directly or not, and itself."""
    found: set[str] = set()
    waiting = [name]
    while waiting:
        current = waiting.pop()
        if current not in found:
            found.add(current)
            waiting += [ref.rpartition("/")[2] for ref in _references(schemas[current])]
    return found


def _references(node: Any) -> list[str]:
    if isinstance(node, dict):
        own = [node["$ref"]] if "$ref" in node else []
        return own + [ref for value in node.values() for ref in _references(value)]
    if isinstance(node, list):
        return [ref for value in node for ref in _references(value)]
    return []
