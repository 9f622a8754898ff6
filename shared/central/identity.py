"""What every call to Central says about the caller."""

from __future__ import annotations

from dataclasses import dataclass

from shared import USER_AGENT
from shared.config import ApiKey


@dataclass(frozen=True)
class Caller:
    """The key is asked for at each call, so a rotated one is used at once."""

    api_key: ApiKey
    instance_id: str

    def headers(self) -> dict[str, str]:
        """Headers of every request and of the WebSocket handshake (SPEC section 3)."""
        return {
            "Authorization": f"Bearer {self.api_key.current()}",
            "User-Agent": USER_AGENT,
            "X-Agent-Instance": self.instance_id,
        }
