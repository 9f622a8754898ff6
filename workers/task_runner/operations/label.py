"""label_node and label_pod: set labels, and remove those whose value is null."""

from __future__ import annotations

from collections.abc import Mapping

from shared.kube.errors import Conflict, Forbidden, NotFound
from shared.kube.labels import problem_with, system_labels
from shared.kube.objects import Meta
from shared.schemas.parameters import LabelNode, LabelPod
from workers.task_runner.context import Context, TaskFailed, refused
from workers.task_runner.operations.cordon_node import find_node, patch_node
from workers.task_runner.operations.pod import find_pod

_COMPONENT = 'labels of pods need the pod-labels component of the bundle, which grants "patch" on "pods"'


def label_node(parameters: LabelNode, context: Context) -> None:
    """Label a node."""
    labels = _checked(parameters.labels, parameters.force)
    node = find_node(parameters, context)
    missing = _missing(node.metadata, labels)
    if not missing:
        context.account.say(f"node {parameters.node_name} has these labels already")
        return
    name, uid = node.metadata.name, node.metadata.uid
    patch_node("label node", node, context, lambda: context.nodes.set_labels(name, missing, uid))
    context.account.say(f"node {parameters.node_name} labelled: {_shown(missing)}")
    context.announce(node, "Labelled", f"Labels changed: {_shown(missing)}")


def label_pod(parameters: LabelPod, context: Context) -> None:
    """Label a pod. Its controller's selector may make it an orphan: that is what ``force`` does not guard."""
    labels = _checked(parameters.labels, parameters.force)
    pod = find_pod(parameters, context)
    missing = _missing(pod.metadata, labels)
    if not missing:
        context.account.say(f"pod {pod.name} has these labels already")
        return
    try:
        context.patiently(
            "label pod",
            lambda: context.pods.set_labels(pod.metadata.namespace, pod.metadata.name, missing, pod.uid),
        )
    except Forbidden as error:
        raise refused(error, _COMPONENT) from error
    except (NotFound, Conflict) as error:
        raise TaskFailed(f"pod {pod.name} (uid {pod.uid}) is gone") from error
    context.account.say(f"pod {pod.name} labelled: {_shown(missing)}")


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
