"""JSON schemas of everything on the wire, made from the agent's own models and what their source says of each field."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Mapping
from functools import cache
from itertools import pairwise
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from shared.process.programs import PROGRAMS
from shared.queue.messages import TOPICS
from shared.schemas import costs
from shared.schemas.agent import Deregistration, Heartbeat, Registration
from shared.schemas.events import ClusterEvent, EventBatch
from shared.schemas.metrics import ClusterMetrics
from shared.schemas.parameters import PARAMETERS
from shared.schemas.prices import Prices, QuotedPrice
from shared.schemas.tasks import Task, TaskResult

Schema = dict[str, Any]

SENT: tuple[type[BaseModel], ...] = (TaskResult, ClusterMetrics, EventBatch, Heartbeat, Registration, Deregistration)
"""What the agent sends."""

_PARTS: list[type[BaseModel]] = [
    each for each in vars(costs).values() if inspect.isclass(each) and issubclass(each, BaseModel)
]
_ALL: tuple[type[BaseModel], ...] = (*SENT, ClusterEvent, Task, *PARAMETERS.values(), *_PARTS, Prices, QuotedPrice)
_MODELS = {model.__name__: model for model in _ALL}

_BY_TOPIC: Schema = {"propertyNames": {"enum": sorted(TOPICS)}}

_REFINED: dict[tuple[str, str], Schema] = {
    ("Registration", "instance_id"): {"format": "uuid"},
    ("Registration", "task_types"): {"items": {"type": "string", "enum": sorted(PARAMETERS)}},
    ("Heartbeat", "instance_id"): {"format": "uuid"},
    ("Heartbeat", "workers"): {"propertyNames": {"enum": sorted(PROGRAMS)}},
    ("Heartbeat", "queue_depth"): _BY_TOPIC,
    ("Heartbeat", "dropped"): _BY_TOPIC,
    ("Heartbeat", "dead_letters"): _BY_TOPIC,
    ("Deregistration", "instance_id"): {"format": "uuid"},
    ("ClusterEvent", "kind"): {"enum": ["Node", "Pod"]},
    ("CostAllocation", "basis"): {"enum": [costs.REQUESTS, costs.LARGER_OF_BOTH]},
    ("ClusterMetrics", "prices_as_of"): {"format": "date"},
}
"""What is true of a field beyond its type in Python, which checks no more than the agent needs checked."""


def components() -> dict[str, Schema]:
    """The schemas by name. A task is one of as many kinds as there are task types, each with its own parameters."""
    models = [(model, "serialization") for model in SENT]
    models += [(Task, "validation"), (Prices, "validation"), *((model, "validation") for model in PARAMETERS.values())]
    _, schemas = models_json_schema(models, ref_template="#/components/schemas/{model}")  # type: ignore[arg-type]
    found: dict[str, Schema] = {name: _described(name, schema) for name, schema in schemas["$defs"].items()}
    task = found.pop("Task")
    kinds = {task_type: f"{model.__name__}Task" for task_type, model in PARAMETERS.items()}
    for task_type, model in PARAMETERS.items():
        found[kinds[task_type]] = _task_of(task, task_type, model)
    references = {name: f"#/components/schemas/{kind}" for name, kind in kinds.items()}
    found["Task"] = {
        "description": task["description"],
        "oneOf": [{"$ref": reference} for reference in references.values()],
        "discriminator": {"propertyName": "task_type", "mapping": references},
    }
    return dict(sorted(found.items()))


def _task_of(task: Schema, task_type: str, model: type[BaseModel]) -> Schema:
    properties = {
        **task["properties"],
        "task_type": {"const": task_type, "type": "string", "description": "What to do."},
        "parameters": {"$ref": f"#/components/schemas/{model.__name__}"},
    }
    description = f"{inspect.getdoc(model)} Fields that are not listed are ignored."
    return {**task, "title": f"{model.__name__}Task", "description": description, "properties": properties}


def _described(name: str, schema: Schema) -> Schema:
    """With each field's words and what is true of it; without titles, which only repeat names."""
    texts = descriptions(_MODELS[name])
    properties: dict[str, Schema] = {}
    for field, said in schema.get("properties", {}).items():
        bare = {key: value for key, value in said.items() if key != "title"}
        refined = _REFINED.get((name, field), {})
        if "anyOf" in bare and refined:
            first, *others = bare["anyOf"]
            bare = {**bare, "anyOf": [{**first, **refined}, *others]}
        else:
            bare = {**bare, **refined}
        properties[field] = {**bare, "description": texts[field]}
    return {**schema, "description": inspect.getdoc(_MODELS[name]), "properties": properties}


@cache
def descriptions(model: type[BaseModel]) -> Mapping[str, str]:
    """What stands below each field in the model's source, or in that of the class it has it from.

    Raises:
        KeyError: a field has nothing below it.
    """
    found: dict[str, str] = {}
    for each in reversed(model.__mro__):
        if not issubclass(each, BaseModel) or each is BaseModel:
            continue
        (body,) = (node.body for node in ast.parse(inspect.getsource(each)).body if isinstance(node, ast.ClassDef))
        for statement, below in pairwise(body):
            if isinstance(statement, ast.AnnAssign) and isinstance(below, ast.Expr):
                assert isinstance(statement.target, ast.Name)
                found[statement.target.id] = _plain(ast.literal_eval(below.value))
    if missing := model.model_fields.keys() - found.keys():
        raise KeyError(f"{model.__name__}: no words below {sorted(missing)}")
    return found


def _plain(text: str) -> str:
    """In Markdown, on one line."""
    return inspect.cleandoc(text).replace("``", "`").replace("\n", " ")
