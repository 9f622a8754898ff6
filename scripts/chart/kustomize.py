"""What ``kubectl kustomize`` makes of the bundle."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

Object = dict[str, Any]

ROOT = Path(__file__).resolve().parents[2]
K8S = ROOT / "k8s"
COMPONENTS = tuple(sorted(path.parent.name for path in (K8S / "components").glob("*/kustomization.yaml")))

_TOOLS = ROOT / ".venv" / "tools" / "bin"


def render(components: tuple[str, ...] = (), more: Mapping[str, Any] | None = None) -> list[Object]:
    """The objects of k8s/base with these components, and with ``more`` in the kustomization.

    Raises:
        RuntimeError: kubectl is missing, or refuses.
    """
    kubectl = shutil.which("kubectl", path=f"{_TOOLS}{os.pathsep}{os.environ.get('PATH', os.defpath)}")
    if kubectl is None:
        raise RuntimeError("kubectl is not installed: make tools")
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(K8S, Path(folder, "k8s"), ignore=shutil.ignore_patterns("cluster", "chart"))
        kustomization = {
            "resources": ["k8s/base"],
            "components": [f"k8s/components/{name}" for name in components],
            **(more or {}),
        }
        Path(folder, "kustomization.yaml").write_text(yaml.safe_dump(kustomization))
        done = subprocess.run([kubectl, "kustomize", folder], capture_output=True, text=True, timeout=60)
    if done.returncode:
        raise RuntimeError(f"kubectl kustomize: {done.stderr.strip()}")
    return [document for document in yaml.safe_load_all(done.stdout) if document]


def describe(component: str) -> str:
    """The first sentence of the comment that a component's kustomization.yaml begins with."""
    lines = (K8S / "components" / component / "kustomization.yaml").read_text().splitlines()
    comment = []
    for line in lines:
        if not line.startswith("#"):
            break
        comment.append(line.lstrip("# "))
    return " ".join(comment).split(". ")[0].split(": ")[0].rstrip(".:")
