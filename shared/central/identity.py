"""Who calls Central, and how what Central says may be quoted."""

from __future__ import annotations

from dataclasses import dataclass

from shared import USER_AGENT
from shared.basics.api_key import ApiKey

QUOTED = 200
"""Characters of what the other side said that go into a message."""

_LOOKED_AT = 4096
"""Bytes of it that are looked at for them."""


@dataclass(frozen=True)
class Caller:
    """The key is asked for at each call, so a rotated one is used at once."""

    api_key: ApiKey
    instance_id: str

    def headers(self) -> dict[str, str]:
        """Headers of every request and of the WebSocket handshake."""
        return {
            "Authorization": f"Bearer {self.api_key.current()}",
            "User-Agent": USER_AGENT,
            "X-Agent-Instance": self.instance_id,
        }

    def quoted(self, said: bytes | str) -> str:
        """The beginning of what the other side said, on one line, for a message; it may say our key back to us."""
        longest = self.api_key.longest
        beginning = said[: _LOOKED_AT + longest]
        text = beginning.decode("utf-8", "replace") if isinstance(beginning, bytes) else beginning
        text = self.api_key.redacted(text)
        if len(beginning) < len(said):
            text = text[: len(text) - longest]  # Half a key would not have been found.
        text = " ".join(text.split())
        return text if len(text) <= QUOTED else f"{text[:QUOTED]}..."
