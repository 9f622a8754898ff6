"""The chart's values, what they may be, and its head. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

import yaml

from shared import __version__

OLDEST_KUBERNETES = "1.30"
"""The oldest version that the agent is held to; docs/operations.md names it, and tests ask the simulator as it."""

CHART = f"""# Made by `make chart`.
apiVersion: v2
name: cloudoptim-agent
description: "The CloudOptim client agent: executes delegated node and pod tasks, reports metrics, cost and events."
type: application
version: {__version__}
appVersion: "{__version__}"
kubeVersion: ">={OLDEST_KUBERNETES}.0-0"
keywords: [cost, drain, spot, nodes]
"""

_VALUES = """\
# Made by `make chart` from k8s/base, k8s/components and scripts/chart/values.py; docs/operations.md explains it.

# The keys of k8s/cluster.example/config.env. The first two have no default.
config:
<config>

# Central's key: `--set-file apiKey=FILE` makes a Secret of it, which Helm keeps with the release. Better is a Secret of
# your own with the key `api-key`, by its name.
apiKey: ""
existingSecret: ""

image:
  repository: <repository>
  tag: "" # the chart's own version
  digest: "" # sha256:..., and then the tag does not count
  pullPolicy: <policy>
imagePullSecrets: [] # such as [{ name: registry }]

namespace: "" # the release's own

# What the agent may do beyond its least privileges, and what goes with it.
components:
<components>

# With components.privateCa: the authority's certificate (PEM), or make the ConfigMap cloudoptim-client-ca yourself.
privateCa:
  certificate: ""
# With components.prices: prices.json as text, or make the ConfigMap cloudoptim-client-prices yourself.
prices:
  json: ""
# With components.persistentSpool: the claim's size, and its class, if not the cluster's default.
persistentSpool:
  size: 1Gi
  storageClass: ""
# With components.networkPolicy: more rules for what goes out.
networkPolicy:
  egress: []

# For Central, and for the API server too unless noProxy names it: write the Service's address there.
proxy:
  https: ""
  http: ""
  noProxy: ""

resources:
<resources>
priorityClass:
  create: true
  name: cloudoptim-agent
nodeSelector:
<selector>
tolerations: [] # beside the bundle's
# Nodes that are not marked as spot are preferred. What you give is merged with this; `affinity: null` leaves it out.
affinity:
<affinity>
env: [] # beside the bundle's: variables of docs/configuration.md
labels: {} # on every object
annotations: {} # on the Deployment
podLabels: {}
podAnnotations: {}
serviceAccount:
  annotations: {}
"""


def values(config: Mapping[str, str], components: Mapping[str, str], pod: Mapping[str, Any]) -> str:
    """values.yaml: ``config`` by key, descriptions of components by their directories, the bundle's pod."""
    (container,) = pod["containers"]
    repository, _, _ = container["image"].partition(":")
    named = [f"{camel(name)}: false # {what}" for name, what in components.items()]
    filled = {
        "config": _block({key: str(value) for key, value in config.items()}),
        "components": "\n".join(f"  {line}" for line in named),
        "resources": _block(container["resources"]),
        "selector": _block(pod["nodeSelector"]),
        "affinity": _block(pod["affinity"]),
        "repository": repository,
        "policy": container["imagePullPolicy"],
    }
    return re.sub(r"<(\w+)>", lambda match: filled[match[1]], _VALUES)


def camel(name: str) -> str:
    """``podLabels`` of ``pod-labels``: what --set takes without quotes."""
    first, *others = name.split("-")
    return first + "".join(word.capitalize() for word in others)


def _block(mapping: Mapping[str, Any]) -> str:
    return "\n".join(f"  {line}" for line in yaml.safe_dump(dict(mapping), sort_keys=False).splitlines())


_TEXT = {"type": "string"}
_FLAG = {"type": "boolean"}
_STRINGS = {"type": "object", "additionalProperties": _TEXT}
_OBJECTS = {"type": "array", "items": {"type": "object"}}


def schema(components: list[str]) -> str:
    """values.schema.json. A value that does not exist is refused: a typo must not leave a guard rail out."""
    scalar = {"type": ["string", "number", "boolean"]}
    document = {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "Values of the CloudOptim client agent",
        **_object(
            {
                "config": {"type": "object", "additionalProperties": scalar},
                "apiKey": _TEXT,
                "existingSecret": _TEXT,
                "image": _object(
                    {
                        "repository": {**_TEXT, "minLength": 1},
                        "tag": _TEXT,
                        "digest": {**_TEXT, "pattern": "^(sha256:[0-9a-f]{64})?$"},
                        "pullPolicy": {"enum": ["Always", "IfNotPresent", "Never"]},
                    }
                ),
                "imagePullSecrets": {"type": "array", "items": {**_object({"name": _TEXT}), "required": ["name"]}},
                "namespace": {**_TEXT, "pattern": "^([a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)?$"},
                "components": _object({camel(name): _FLAG for name in components}),
                "privateCa": _object({"certificate": _TEXT}),
                "prices": _object({"json": _TEXT}),
                "persistentSpool": _object({"size": {**_TEXT, "minLength": 1}, "storageClass": _TEXT}),
                "networkPolicy": _object({"egress": _OBJECTS}),
                "proxy": _object({"https": _TEXT, "http": _TEXT, "noProxy": _TEXT}),
                "resources": {"type": "object"},
                "priorityClass": _object({"create": _FLAG, "name": {**_TEXT, "minLength": 1}}),
                "nodeSelector": _STRINGS,
                "tolerations": _OBJECTS,
                "affinity": {"type": ["object", "null"]},
                "env": {"type": "array", "items": {"type": "object", "required": ["name"]}},
                "labels": _STRINGS,
                "annotations": _STRINGS,
                "podLabels": _STRINGS,
                "podAnnotations": _STRINGS,
                "serviceAccount": _object({"annotations": _STRINGS}),
            }
        ),
    }
    # What a chart that has this one as a dependency may pass to all of them.
    document["properties"]["global"] = {"type": "object"}
    return json.dumps(document, indent=2) + "\n"


def _object(properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "additionalProperties": False, "properties": properties}
