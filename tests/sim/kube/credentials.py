"""Kubeconfigs and certificates for clients of the simulator."""

from __future__ import annotations

import ssl
from pathlib import Path

import yaml

from tests.sim.kube.resources import Object


def serving_context(folder: Path) -> ssl.SSLContext:
    """A server side of TLS for localhost; leaves ``ca.crt`` in ``folder``."""
    import trustme  # only TLS needs it

    authority = trustme.CA()
    certificate = authority.issue_cert("localhost", "127.0.0.1", "::1")
    folder.mkdir(parents=True, exist_ok=True)
    authority.cert_pem.write_to_path(str(folder / "ca.crt"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    return context


def kubeconfig(url: str, token: str | None, authority: Path | None) -> str:
    cluster: Object = {"server": url}
    if authority is not None:
        cluster["certificate-authority"] = str(authority.resolve())
    user = {"token": token} if token else {}
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "sim",
        "clusters": [{"name": "sim", "cluster": cluster}],
        "users": [{"name": "sim", "user": user}],
        "contexts": [{"name": "sim", "context": {"cluster": "sim", "user": "sim"}}],
    }
    return str(yaml.safe_dump(document, sort_keys=False))
