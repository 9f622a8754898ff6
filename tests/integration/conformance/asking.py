"""Requests as any client would send them, and their answers without what differs from one server to the next."""

from __future__ import annotations

import copy
import json
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kubernetes import config
from kubernetes.client import ApiClient, Configuration

JSON = "application/json"
MERGE = "application/merge-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
JSON_PATCH = "application/json-patch+json"
PROTOBUF = "application/vnd.kubernetes.protobuf"

HEADERS = ("Content-Type", "Retry-After", "X-Content-Type-Options", "Warning", "Www-Authenticate", "Allow")
"""What a client may act on."""

_UID = re.compile(r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b")
_TIME = re.compile(r"\b20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")
_DUMPS = (
    re.compile(r"(?<=if it was previously negative\))\n@@.*", re.DOTALL),
    re.compile(r'(?<=Invalid value: )"\{.*\}"(?=: json)'),
)
"""What the server shows of its own insides: the Go form of an object, or of a difference."""
_VERSIONS = (
    re.compile(r'(?<="resourceVersion":")[1-9]\d*'),
    re.compile(r"(?<=in record \()\d+"),
    re.compile(r"(?<=current: )\d+"),
    re.compile(r"(?<=too old resource version: 1 \()\d+"),
)


@dataclass(frozen=True)
class Ask:
    """One request. ``{ns}``, ``{node}``, ``{me}`` and what was kept before are filled in everywhere."""

    method: str
    path: str
    body: Any = None
    """Sent as JSON; text and bytes as they are."""
    kind: str = JSON
    headers: Mapping[str, str] = field(default_factory=dict)
    anonymous: bool = False
    keep: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Names for later, and where in the answer they are."""
    until: Callable[[Answer], bool] | None = None
    """Repeated until this is true of the answer: controllers take their time."""
    lines: bool = False
    """It is a watch: the first line only is the answer."""


@dataclass(frozen=True)
class Answer:
    code: int
    headers: Mapping[str, str]
    text: str

    @property
    def body(self) -> Any:
        """The JSON that it is, else the text."""
        return json.loads(self.text) if self.headers.get("Content-Type") == JSON and self.text else self.text

    def find(self, *path: str) -> Any:
        """A field of the body; None where there is none."""
        found = self.body
        for step in path:
            if isinstance(found, list):
                found = found[int(step)] if int(step) < len(found) else None
            else:
                found = found.get(step) if isinstance(found, dict) else None
        return found


class Server:
    """An API server by its kubeconfig. Needs nothing of the agent's: what is compared must not pass through it."""

    def __init__(self, kubeconfig: Path) -> None:
        self._admin = config.new_client_from_config(str(kubeconfig))  # type: ignore[no-untyped-call]  # no types here
        bare = copy.copy(self._admin.configuration)
        bare.cert_file = bare.key_file = None
        bare.api_key = {}
        self._anonymous = ApiClient(bare)

    def close(self) -> None:
        for client in (self._admin, self._anonymous):
            client.rest_client.pool_manager.clear()

    def send(self, ask: Ask, words: Mapping[str, str]) -> Answer:
        """The answer, once it is as ``ask.until`` wants it."""
        deadline = time.monotonic() + 60
        while True:
            answer = self._exchange(ask, words)
            if ask.until is None or ask.until(answer):
                return answer
            assert time.monotonic() < deadline, f"{ask.method} {ask.path}: not within a minute; last {answer}"
            time.sleep(0.05)

    def _exchange(self, ask: Ask, words: Mapping[str, str]) -> Answer:
        client = self._anonymous if ask.anonymous else self._admin
        settings: Configuration = client.configuration
        headers = {"Accept": JSON, "User-Agent": "conformance", **ask.headers}
        if ask.body is not None:
            headers["Content-Type"] = ask.kind
        if not ask.anonymous:
            client.update_params_for_auth(headers, [], ["BearerToken"], ask.path, ask.method, None)
        response = client.rest_client.pool_manager.request(
            ask.method,
            settings.host + fill(ask.path, words),
            body=_encoded(ask.body, words),
            headers=headers,
            preload_content=False,
            retries=False,
            timeout=30,
        )
        text = (response.readline() if ask.lines else response.read()).decode(errors="replace")
        response.close()
        return Answer(response.status, dict(response.headers.items()), text)


def fill(text: str, words: Mapping[str, str]) -> str:
    for word, value in words.items():
        text = text.replace(f"{{{word}}}", value)
    return text


def _encoded(body: Any, words: Mapping[str, str]) -> bytes | None:
    if body is None or isinstance(body, bytes):
        return body
    return fill(body if isinstance(body, str) else json.dumps(body), words).encode()


def comparable(answer: Answer, show: tuple[str, ...], words: Mapping[str, str]) -> dict[str, Any]:
    """What must be alike: code, headers, a Status whole, of other objects the fields in ``show``."""
    same = Answer(answer.code, answer.headers, _anonymised(answer.text, words))
    body: Any = same.body
    if isinstance(body, dict) and body.get("kind") != "Status" and body.get("type") != "ERROR":
        body = {path: same.find(*path.split(".")) for path in ("kind", "apiVersion", *show)}
    headers = {name: answer.headers[name] for name in HEADERS if name in answer.headers}
    return {"code": answer.code, "headers": headers, "body": _without_dumps(body)}


def _anonymised(text: str, words: Mapping[str, str]) -> str:
    for word, value in words.items():
        text = text.replace(value, f"<{word}>")
    text = _TIME.sub("<time>", _UID.sub("<uid>", text))
    for pattern in _VERSIONS:
        text = pattern.sub("<version>", text)
    return text


def _without_dumps(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_dumps(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_without_dumps(one) for one in value]
    if isinstance(value, str):
        for pattern in _DUMPS:
            value = pattern.sub("", value)
    return value
