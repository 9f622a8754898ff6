"""The bundle as its user fills it in, and as kubectl renders it."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from tests.sim.agent import ROOT
from tests.tools import require

Object = dict[str, Any]

K8S = ROOT / "k8s"
COMPONENTS = K8S / "components"


def kubectl(*arguments: str, check: bool = True, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run kubectl. What it said on stderr is in the error, when it fails and ``check`` is set."""
    return _run("kubectl", *arguments, check=check, stdin=stdin)


def helm(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run Helm likewise."""
    return _run("helm", *arguments)


def _run(
    program: str, *arguments: str, check: bool = True, stdin: str | None = None
) -> subprocess.CompletedProcess[str]:
    done = subprocess.run([require(program), *arguments], input=stdin, capture_output=True, text=True, timeout=180)
    assert not check or done.returncode == 0, f"{program} {' '.join(arguments)}: {done.stderr}"
    return done


def fill_in(
    folder: Path,
    config: Mapping[str, str] | None = None,
    api_key: str = "demo-key",
    components: Iterable[str] = (),
) -> Path:
    """A copy of k8s/ as ``folder`` with cluster/ made and filled in as docs/operations.md says."""
    shutil.copytree(K8S, folder, ignore=lambda parent, names: ["cluster"] if Path(parent) == K8S else [])
    cluster = folder / "cluster"
    shutil.copytree(folder / "cluster.example", cluster)
    values = (cluster / "config.env").read_text()
    for key, value in {"central-server-url": "https://central.test", "cluster-id": "demo", **(config or {})}.items():
        values = re.sub(rf"^#?{re.escape(key)}=.*\n", "", values, flags=re.MULTILINE) + f"{key}={value}\n"
    (cluster / "config.env").write_text(values)
    (cluster / "api-key").write_text(api_key)
    kustomization = yaml.safe_load((cluster / "kustomization.yaml").read_text())
    kustomization["components"] = [f"../components/{name}" for name in components]
    (cluster / "kustomization.yaml").write_text(yaml.safe_dump(kustomization))
    return folder


def render(folder: Path) -> list[Object]:
    """The objects of ``kubectl kustomize``."""
    return [document for document in yaml.safe_load_all(kubectl("kustomize", str(folder)).stdout) if document]


def one(objects: Iterable[Object], kind: str, name: str = "") -> Object:
    """The only object of its kind, or of its kind and name."""
    (found,) = (each for each in objects if each["kind"] == kind and name in ("", each["metadata"]["name"]))
    return found


def rbac(*components: str) -> list[Object]:
    """The agent's account, role and binding with the rules of ``components``; made without kubectl."""
    objects: list[Object] = list(yaml.safe_load_all((K8S / "base" / "rbac.yaml").read_text()))
    rules = one(objects, "ClusterRole")["rules"]
    for component in components:
        operations = yaml.safe_load((COMPONENTS / component / "rules.yaml").read_text())
        rules += [operation["value"] for operation in operations]
    return objects


def policies(component: str) -> list[tuple[str, Object]]:
    """The admission policies of a component and their bindings, each with the path it is created at."""
    paths = {
        "ValidatingAdmissionPolicy": "validatingadmissionpolicies",
        "ValidatingAdmissionPolicyBinding": "validatingadmissionpolicybindings",
    }
    files = sorted((COMPONENTS / component).glob("*.yaml"))
    documents = [document for path in files for document in yaml.safe_load_all(path.read_text())]
    return [
        (f"/apis/admissionregistration.k8s.io/v1/{paths[document['kind']]}", document)
        for document in documents
        if isinstance(document, dict) and document.get("kind") in paths
    ]
