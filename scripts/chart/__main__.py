"""``python -m scripts.chart`` writes what is made of the bundle; ``files()`` says what that is."""

from __future__ import annotations

import re
from itertools import combinations

import yaml

from scripts.chart import kustomize
from scripts.chart.conditional import Node, combine, none_of
from scripts.chart.kustomize import COMPONENTS, K8S, Object
from scripts.chart.slots import fill
from scripts.chart.text import Expression, conditional, render
from scripts.chart.values import CHART, camel, schema, values

PLACEHOLDERS = {
    "central-server-url": "<the URL of your Central Server>",
    "cluster-id": "<the id of this cluster at Central>",
    "api-key": "<the key of this cluster at Central>",
}
"""What install.yaml has where a value of the user's belongs. None is valid, so an agent that meets one ends with 78."""

_INSTALL = """\
# The agent without any component, for `kubectl apply -f`. Fill in the three values in <>: with one of them left the pod
# ends with status 78 and says which. Made by `make chart`; docs/operations.md has ways that keep your values apart.
"""


def files() -> dict[str, str]:
    """Every file that is made, by its path below k8s/."""
    bare = kustomize.render()
    made = {
        "chart/Chart.yaml": CHART,
        "chart/values.yaml": values(config(), {name: kustomize.describe(name) for name in COMPONENTS}, _pod(bare)),
        "chart/values.schema.json": schema(list(COMPONENTS)),
        "install.yaml": install(bare),
    }
    for name, text in templates(bare).items():
        made[f"chart/templates/{name}"] = text
    made["chart/templates/_mounted.tpl"] = mounted(_pod(bare))
    return made


def mounted(pod: Object) -> str:
    """The keys of the ConfigMap that the agent reads anew while it runs: their changes restart nothing."""
    (guards,) = (volume for volume in pod["volumes"] if volume["name"] == "guards")
    keys = " ".join(f'"{item["key"]}"' for item in guards["configMap"]["items"])
    return f'{_HEAD}{{{{- define "cloudoptim-agent.unmounted" -}}}}\n{{{{ omit . {keys} | toJson }}}}\n{{{{- end }}}}\n'


def templates(bare: list[Object]) -> dict[str, str]:
    """The templates by file name, one for each kind: the bundle bare, and with each component."""
    alone = {name: _by_identity(kustomize.render((name,))) for name in COMPONENTS}
    base = _by_identity(bare)
    added = {identity: name for name in COMPONENTS for identity in alone[name] if identity not in base}
    adders = sorted(set(added.values()))
    pairs = {(one, other): _by_identity(kustomize.render((one, other))) for one, other in combinations(adders, 2)}
    texts: dict[str, str] = {}
    for identity in sorted({*base, *added}):
        kind, _ = identity
        there = {_flag(name): objects[identity] for name, objects in alone.items() if identity in objects}
        condition = _SWITCHES.get(kind, "")
        tree: Node
        if identity in base:
            tree = combine(base[identity], there)
        else:
            (condition, tree), *others = there.items()
            if others:
                raise ValueError(f"{identity} is added by several components: {sorted(there)}")
            adder = added[identity]
            taken = [set(pair) - {adder} for pair, found in pairs.items() if adder in pair and identity not in found]
            if takers := [_flag(name) for names in taken for name in names]:
                condition = f"and {condition} ({none_of(takers)})"
        file = f"{re.sub(r'(?<!^)(?=[A-Z])', '-', kind).lower()}.yaml"
        text = conditional(condition, f"---\n{render(fill(kind, _with_files(tree)))}")
        texts[file] = texts.get(file, _HEAD) + text
    return texts


def _with_files(tree: Node) -> Node:
    """The same, with what a ConfigMap has from a long file read from that file, which the chart has a link to."""
    if not (isinstance(tree, dict) and tree.get("kind") == "ConfigMap"):
        return tree
    linked = {path.name: path.read_text() for path in (K8S / "chart" / "files").iterdir()}
    data = {
        key: Expression(f'.Files.Get "files/{key}" | toJson') if linked.get(key) == value else value
        for key, value in tree["data"].items()
    }
    return {**tree, "data": data}


_HEAD = "{{- /* Made by `make chart` from k8s/base and k8s/components: change those. */}}\n"

_SWITCHES = {"PriorityClass": ".Values.priorityClass.create"}
"""Objects of the base that can be left out."""


def install(bare: list[Object]) -> str:
    """install.yaml: the bare bundle, and ConfigMap and Secret with what the user has to fill in."""
    labels = {"app": "cloudoptim-agent"}

    def holding(kind: str, name: str, field: str, data: dict[str, str]) -> Object:
        metadata = {"name": name, "namespace": "kube-system", "labels": labels}
        return {"apiVersion": "v1", "kind": kind, "metadata": metadata, field: data}

    settings = {**config(), **{key: PLACEHOLDERS[key] for key in ("central-server-url", "cluster-id")}}
    objects = [
        holding("ConfigMap", "cloudoptim-client-config", "data", settings),
        holding("Secret", "cloudoptim-client-secret", "stringData", {"api-key": PLACEHOLDERS["api-key"]}),
        *bare,
    ]
    return _INSTALL + "".join(f"---\n{yaml.safe_dump(each, sort_keys=False, width=1000)}" for each in objects)


def _pod(bare: list[Object]) -> Object:
    """The specification of the agent's pod."""
    (found,) = (each for each in bare if each["kind"] == "Deployment")
    spec: Object = found["spec"]["template"]["spec"]
    return spec


def config() -> dict[str, str]:
    """The keys of k8s/cluster.example/config.env with their defaults."""
    lines = (K8S / "cluster.example" / "config.env").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def _by_identity(objects: list[Object]) -> dict[tuple[str, str], Object]:
    return {(each["kind"], each["metadata"]["name"]): each for each in objects}


def _flag(component: str) -> str:
    return f".Values.components.{camel(component)}"


def main() -> None:
    """Write the files, and take away templates that are no longer made."""
    made = files()
    for old in (K8S / "chart" / "templates").glob("*.yaml"):
        if old.read_text().startswith(_HEAD) and f"chart/templates/{old.name}" not in made:
            old.unlink()
    for path, text in made.items():
        target = K8S / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)


if __name__ == "__main__":
    main()
