"""Reading an HTTP body with an end in sight: bounded in bytes and in time."""

from __future__ import annotations

from urllib3.response import BaseHTTPResponse

from shared.errors import TemporaryError
from shared.timing import Deadline

_CHUNK = 256 * 1024


def read_body(response: BaseHTTPResponse, limit: int, deadline: Deadline) -> bytes:
    """The whole body.

    Raises:
        TemporaryError: it is larger than ``limit`` bytes or not complete by the ``deadline``.
    """
    body = bytearray()
    encoded = "content-encoding" in response.headers  # Else urllib3 need not look at each piece: a tenth of the cost.
    # read1 returns what is there; read would wait for a whole chunk, however slowly it drips.
    while chunk := response.read1(_CHUNK, decode_content=encoded):
        body += chunk
        if len(body) > limit:
            raise TemporaryError(f"the answer is larger than {limit} bytes")
        if deadline.expired:
            raise TemporaryError("the answer drips in too slowly")
    return bytes(body)
