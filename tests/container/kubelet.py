"""What a kubelet makes of the bundle's pod: variables, volumes, isolation and limits.

All of it comes from the rendered bundle. What the kubelet adds is here: the account's token, the address of the API
server, the downward API and /dev/termination-log.
"""

from __future__ import annotations

import base64
import os
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tests.container.bundle import Object, one
from tests.sim.kube.quantities import parse

_RANGE = 1000680000
"""The first of the users and groups that OpenShift keeps for a namespace, for a pod that names none."""

_ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"


@dataclass(frozen=True)
class Account:
    """What a pod needs to find the API server and to be let in."""

    url: str
    token: str
    authority: Path


class Kubelet:
    """Lays the volumes of the Deployment's pod out in ``folder``."""

    def __init__(self, objects: list[Object], account: Account, folder: Path) -> None:
        self._objects = objects
        self._account = account
        self._folder = folder
        self._spec: Object = one(objects, "Deployment")["spec"]["template"]["spec"]
        self._agent: Object = self._spec["containers"][0]
        self._group: int = self._spec["securityContext"].get("fsGroup", _RANGE)
        self._fields = {
            "metadata.name": "cloudoptim-agent-7d4b9c-x2x9z",
            "metadata.namespace": "kube-system",
            "metadata.uid": str(uuid.uuid4()),
            "spec.nodeName": "node-1",
        }
        self.grace_seconds: int = self._spec["terminationGracePeriodSeconds"]
        self.memory_request = int(parse(self._agent["resources"]["requests"]["memory"]))

    def isolation(self) -> dict[str, Any]:
        """User, privileges and limits, in the words of the engine. RuntimeDefault is what it does unasked."""
        pod, own, limits = (
            self._spec["securityContext"],
            self._agent["securityContext"],
            self._agent["resources"]["limits"],
        )
        memory = int(parse(limits["memory"]))
        return {
            "user": f"{pod.get('runAsUser', _RANGE)}:{pod.get('runAsGroup', 0)}",
            "group_add": [str(self._group)],
            "read_only": own["readOnlyRootFilesystem"],
            "cap_drop": own["capabilities"]["drop"],
            "security_opt": [] if own["allowPrivilegeEscalation"] else ["no-new-privileges"],
            "mem_limit": memory,
            "memswap_limit": memory,
            "nano_cpus": int(parse(limits["cpu"]) * 10**9),
        }

    def environment(self) -> dict[str, str]:
        env: dict[str, str] = {}
        for entry in self._agent["env"]:
            value = entry["value"] if "value" in entry else self._value_from(entry["valueFrom"])
            if value is not None:
                env[entry["name"]] = value
        address = urlsplit(self._account.url)
        return {**env, "KUBERNETES_SERVICE_HOST": str(address.hostname), "KUBERNETES_SERVICE_PORT": str(address.port)}

    def _value_from(self, source: Object) -> str | None:
        if "fieldRef" in source:
            return self._fields[source["fieldRef"]["fieldPath"]]
        reference = source["configMapKeyRef"]
        data = self._config(reference["name"])
        return data.get(reference["key"]) if reference.get("optional") else data[reference["key"]]

    def mounts(self) -> Iterator[tuple[Path, str, str]]:
        """Each volume's folder or file, filled; where it is mounted; ``ro`` or ``rw``."""
        volumes = {volume["name"]: volume for volume in self._spec["volumes"]}
        for mount in self._agent["volumeMounts"]:
            folder = self._fill(mount["name"], self._content(volumes[mount["name"]]))
            yield folder, mount["mountPath"], "ro" if mount.get("readOnly") else "rw"
        account = {
            "token": self._account.token,
            "ca.crt": self._account.authority.read_text(),
            "namespace": self._fields["metadata.namespace"],
        }
        yield self._fill("serviceaccount", account), _ACCOUNT, "ro"
        self.termination_log.touch()
        self.termination_log.chmod(0o666)
        yield self.termination_log, "/dev/termination-log", "rw"

    @property
    def termination_log(self) -> Path:
        return self._folder / "termination-log"

    def write(self, volume: str, name: str, text: str) -> None:
        """Change a mounted key, whole and at once."""
        fresh = self._folder / volume / f".{name}"
        fresh.write_text(text)
        self._give(fresh, 0o440)
        fresh.rename(self._folder / volume / name)

    def _fill(self, volume: str, content: dict[str, str]) -> Path:
        folder = self._folder / volume
        folder.mkdir()
        self._give(folder, 0o2770)
        for name, text in content.items():
            self.write(volume, name, text)
        return folder

    def _give(self, path: Path, mode: int) -> None:
        """To the pod's group, as fsGroup does. Only root can; for others it is everybody's."""
        if os.geteuid() == 0:
            os.chown(path, 0, self._group)
            path.chmod(mode)
        else:
            path.chmod(mode | (mode & 0o070) >> 3)

    def _content(self, volume: Object) -> dict[str, str]:
        if "emptyDir" in volume:
            return {}
        source = volume.get("secret") or volume["configMap"]
        if "secretName" in source:
            encoded: dict[str, str] = one(self._objects, "Secret", source["secretName"])["data"]
            data = {key: base64.b64decode(value).decode() for key, value in encoded.items()}
        else:
            data = self._config(source["name"])
        items = source.get("items") or [{"key": key, "path": key} for key in data]
        return {item["path"]: data[item["key"]] for item in items if item["key"] in data}

    def _config(self, name: str) -> dict[str, str]:
        return dict(one(self._objects, "ConfigMap", name)["data"])
