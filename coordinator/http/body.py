"""Reading a request's body: how large, how slow and how odd it may be.

JSON is taken strictly (`coordinator/strict_json.py`); everything else is a 400, too much is a 413,
too slow a 408.
"""

import asyncio
from typing import Any

from aiohttp import ClientPayloadError, web
from aiohttp.http_exceptions import HttpProcessingError, PayloadEncodingError

from coordinator import strict_json
from coordinator.http.problems import Problem


async def read_body(request: web.BaseRequest, limit: int, deadline: float) -> bytes:
    """Return the whole body, decompressed: at most `limit` bytes within `deadline` seconds.

    Raises `Problem` (400, 408, 413).
    """
    if request.content_length is not None and request.content_length > limit:
        raise too_large(limit)
    chunks: list[bytes] = []
    size = 0
    try:
        if request.content.is_eof():
            # A short body comes with the head: nothing is to be waited for.
            data = request.content.read_nowait()
            if len(data) > limit:
                raise too_large(limit)
            return data
        async with asyncio.timeout(deadline):
            async for chunk in request.content.iter_any():
                size += len(chunk)
                if size > limit:
                    raise too_large(limit)
                chunks.append(chunk)
    except TimeoutError:
        raise Problem(
            408, f"the body did not arrive within {deadline:g} s", headers={"Connection": "close"}
        ) from None
    except (
        web.RequestPayloadError,
        ClientPayloadError,
        HttpProcessingError,
        PayloadEncodingError,
        ConnectionError,
    ) as error:
        raise unreadable(error) from None
    return b"".join(chunks)


def too_large(limit: int) -> Problem:
    """Return the 413 for a body over its limit; the connection closes."""
    return Problem(413, f"the body is over {limit} bytes", headers={"Connection": "close"})


def unreadable(error: Exception) -> Problem:
    """Return the 400 for a body whose encoding is broken."""
    return Problem(
        400, f"the body cannot be read: {type(error).__name__}", headers={"Connection": "close"}
    )


def parse_json(data: bytes) -> Any:
    """Return the JSON value. Raises `Problem(400)`."""
    try:
        return strict_json.parse(data)
    except ValueError as error:
        raise Problem(400, f"malformed JSON: {error}", "MALFORMED_JSON") from None
