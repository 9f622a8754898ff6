"""Where Helm's values go in the objects of the bundle. Pure."""

from __future__ import annotations

from collections.abc import Callable

from scripts.chart.conditional import Choice, Fields, Items, Node
from scripts.chart.text import Block, Expression, Open

Change = Callable[[Node], Node]

NAMESPACE = Expression('include "cloudoptim-agent.namespace" .')
_POD = ("spec", "template", "spec")
_AGENT = (*_POD, "containers", "agent")


def fill(kind: str, tree: Node) -> Node:
    """The object's tree with Helm's expressions in it.

    Raises:
        KeyError: the bundle no longer has the place where a value belongs.
    """
    for path, change in (*_EVERYWHERE, *_OF.get(kind, ())):
        tree = put(tree, path, change)
    return tree


def put(tree: Node, path: tuple[str, ...], change: Change) -> Node:
    """``tree`` with the node at ``path`` changed: keys of mappings, names of list items, ``*`` for all of them.

    A key that ends in ``?`` may be missing, and then nothing is changed.
    """
    if not path:
        return change(tree)
    key, rest = path[0], path[1:]
    if isinstance(tree, Open):
        return Open(put(tree.node, path, change), tree.more)
    if isinstance(tree, list | Items):
        choices = tree.items if isinstance(tree, Items) else tuple(Choice("", item) for item in tree)
        matched = [key == "*" or _name(choice.node) == key for choice in choices]
        if not any(matched) and key != "*":
            raise KeyError(f"no item {key}")
        changed = (
            Choice(choice.condition, put(choice.node, rest, change)) if match else choice
            for choice, match in zip(choices, matched, strict=True)
        )
        return Items(tuple(changed))
    fields = _fields(tree)
    if key.endswith("?"):
        key = key.removesuffix("?")
        if key not in fields:
            return tree
    elif key not in fields:
        raise KeyError(f"no field {key} in {sorted(fields)}")
    fields[key] = tuple(Choice(choice.condition, put(choice.node, rest, change)) for choice in fields[key])
    return Fields(fields)


def _fields(tree: Node) -> dict[str, tuple[Choice, ...]]:
    if isinstance(tree, Fields):
        return dict(tree.fields)
    return {key: (Choice("", value),) for key, value in tree.items()}


def _name(item: Node) -> str | None:
    if isinstance(item, Fields):
        (choice,) = item.fields.get("name", (Choice("", None),))
        item = {"name": choice.node}
    return item.get("name") if isinstance(item, dict) else None


def _value(text: str) -> Change:
    """The expression in place of what the bundle has."""
    return lambda node: Expression(text)


def _yaml(value: str) -> Block:
    return Block((f"{{{{- toYaml {value} | nindent <indent> }}}}",))


def _also(value: str) -> Change:
    """What the bundle has, and the value's entries after it."""
    return lambda node: Open(node, Block((f"{{{{- with {value} }}}}", *_yaml(".").lines, "{{- end }}")))


def _only(value: str) -> Change:
    """The value in place of what the bundle has."""
    return lambda node: _yaml(value)


def _optional(key: str, value: str, instead: bool = False) -> Change:
    """A field that is there where the value is, ``instead`` of what the bundle has and the value begins with.

    Raises:
        KeyError: the bundle has such a field, or has not, and the other was expected.
    """

    def change(node: Node) -> Node:
        fields = _fields(node)
        if (key in fields) is not instead:
            raise KeyError(f"{key} is {'no longer' if instead else 'already'} in the bundle")
        fields[key] = (Choice(value, _yaml(value)),)
        return Fields(fields)

    return change


_EVERYWHERE: tuple[tuple[tuple[str, ...], Change], ...] = (
    (("metadata", "namespace?"), lambda node: NAMESPACE),
    (("metadata", "labels"), _also(".Values.labels")),
)

_OF: dict[str, tuple[tuple[tuple[str, ...], Change], ...]] = {
    "ServiceAccount": ((("metadata",), _optional("annotations", ".Values.serviceAccount.annotations")),),
    "ClusterRoleBinding": ((("subjects", "cloudoptim-agent", "namespace"), lambda node: NAMESPACE),),
    "PriorityClass": ((("metadata", "name"), _value(".Values.priorityClass.name")),),
    "NetworkPolicy": ((("spec", "egress"), _also(".Values.networkPolicy.egress")),),
    "PersistentVolumeClaim": (
        (("spec", "resources", "requests", "storage"), _value(".Values.persistentSpool.size")),
        (("spec",), _optional("storageClassName", ".Values.persistentSpool.storageClass")),
    ),
    "Deployment": (
        (("metadata",), _optional("annotations", ".Values.annotations")),
        (("spec", "template", "metadata", "labels"), _also(".Values.podLabels")),
        (("spec", "template", "metadata", "annotations"), _also('include "cloudoptim-agent.checksum" . | fromYaml')),
        (("spec", "template", "metadata", "annotations"), _also(".Values.podAnnotations")),
        (_POD, _optional("imagePullSecrets", ".Values.imagePullSecrets")),
        (_POD, _optional("affinity", ".Values.affinity", instead=True)),
        ((*_POD, "priorityClassName"), _value(".Values.priorityClass.name")),
        ((*_POD, "nodeSelector"), _only(".Values.nodeSelector")),
        ((*_POD, "tolerations"), _also(".Values.tolerations")),
        ((*_AGENT, "image"), _value('include "cloudoptim-agent.image" .')),
        ((*_AGENT, "imagePullPolicy"), _value(".Values.image.pullPolicy")),
        ((*_AGENT, "resources"), _only(".Values.resources")),
        ((*_AGENT, "env"), _also(".Values.env")),
        ((*_POD, "volumes", "secret", "secret", "secretName"), _value('include "cloudoptim-agent.secret" .')),
    ),
}
