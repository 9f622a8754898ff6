"""label_node and label_pod: set labels, and remove those whose value is null."""

from __future__ import annotations

from collections.abc import Mapping

from shared.kube.labels import problem_with, system_labels
from shared.kube.objects import Meta
from shared.schemas.parameters import LabelNode, LabelPod
from workers.task_runner.operations.node import find_node, find_permitted
from workers.task_runner.operations.operation import Operation, write
from workers.task_runner.operations.pod import find_permitted_pod, find_pod
from workers.task_runner.work.context import TaskFailed

_RBAC = 'RBAC must allow verb "patch" on resource "nodes"'
_COMPONENT = 'labels of pods need the pod-labels component of the bundle, which grants "patch" on "pods"'


class LabelsNode(Operation[LabelNode]):
    """Labels a node."""

    async def run(self) -> None:
        parameters, context = self._parameters, self._context
        labels = _checked(parameters.labels, parameters.force)
        context.obey(context.shared.owner.on_labels(labels))
        node = await find_permitted(parameters, context)
        missing = _missing(node.metadata, labels)
        if not missing:
            context.account.say(f"node {parameters.node_name} has these labels already")
            return
        name, uid = node.metadata.name, node.metadata.uid
        await write(
            context,
            "label",
            node,
            lambda: context.nodes.set_labels(name, missing, uid),
            lambda: context.nodes.find(name),
            lambda seen: not _missing(seen.metadata, labels),
            _RBAC,
        )
        context.account.say(f"node {parameters.node_name} labelled: {_shown(missing)}")
        await context.announce(node, "Labelled", f"Labels changed: {_shown(missing)}")

    async def last_look(self, when: str = "") -> str | None:
        node = await find_node(self._parameters, self._context)
        missing = _missing(node.metadata, self._parameters.labels)
        return f"not labelled: {_shown(missing)}" if missing else None


class LabelsPod(Operation[LabelPod]):
    """Labels a pod. Its controller's selector may make it an orphan: that is what ``force`` does not guard."""

    async def run(self) -> None:
        parameters, context = self._parameters, self._context
        labels = _checked(parameters.labels, parameters.force)
        context.obey(context.shared.owner.on_labels(labels))
        pod = await find_permitted_pod(parameters, context)
        missing = _missing(pod.metadata, labels)
        if not missing:
            context.account.say(f"pod {pod.name} has these labels already")
            return
        namespace, name = pod.metadata.namespace, pod.metadata.name
        await write(
            context,
            "label",
            pod,
            lambda: context.pods.set_labels(namespace, name, missing, pod.uid),
            lambda: context.pods.find(namespace, name),
            lambda seen: not _missing(seen.metadata, labels),
            _COMPONENT,
        )
        context.account.say(f"pod {pod.name} labelled: {_shown(missing)}")

    async def last_look(self, when: str = "") -> str | None:
        pod = await find_pod(self._parameters, self._context)
        missing = _missing(pod.metadata, self._parameters.labels)
        return f"not labelled: {_shown(missing)}" if missing else None


def _checked(labels: dict[str, str | None], force: bool) -> dict[str, str | None]:
    if problem := problem_with(labels):
        raise TaskFailed(problem)
    if not force and (keys := system_labels(labels)):
        raise TaskFailed(
            f"{', '.join(keys)}: labels under kubernetes.io/ and k8s.io/ steer Kubernetes itself; force sets them"
        )
    return labels


def _missing(meta: Meta, labels: Mapping[str, str | None]) -> dict[str, str | None]:
    """The part of ``labels`` that is not as wanted yet."""
    present = meta.labels or {}
    return {key: wanted for key, wanted in labels.items() if present.get(key) != wanted}


def _shown(labels: Mapping[str, str | None]) -> str:
    return ", ".join(f"{key}-" if value is None else f"{key}={value}" for key, value in labels.items())
