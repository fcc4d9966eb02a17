"""Reading a request's body: how large, how slow and how odd it may be.

JSON is taken strictly (RFC 8259 and I-JSON): UTF-8, no repeated member, no NaN, no lone surrogate,
at most `MAX_DEPTH` levels and `MAX_CONTAINERS` arrays and objects. Everything else is a 400, too
much is a 413, too slow a 408.
"""

import asyncio
import json
import math
import re
from typing import Any, Final, NoReturn

from aiohttp import ClientPayloadError, web
from aiohttp.http_exceptions import HttpProcessingError, PayloadEncodingError

from coordinator.http.problems import Problem

MAX_DEPTH: Final = 64
MAX_CONTAINERS: Final = 20_000
"""A megabyte of empty arrays takes the collector a tenth of a second, and says nothing."""
_TOKENS: Final = re.compile(rb'"(?:[^"\\]|\\.)*+(?:"|\Z)|[\[{]|[\]}]', re.DOTALL)


async def read_body(request: web.BaseRequest, limit: int, deadline: float) -> bytes:
    """Return the whole body, decompressed: at most `limit` bytes within `deadline` seconds.

    Raises `Problem` (400, 408, 413).
    """
    if request.content_length is not None and request.content_length > limit:
        raise too_large(limit)
    chunks: list[bytes] = []
    size = 0
    try:
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
    _check_shape(data)
    try:
        text = data.decode()
        value = json.loads(
            text,
            object_pairs_hook=_build_object,
            parse_constant=_refuse_constant,
            parse_float=_parse_float,
        )
        if "\\u" in text:
            json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise Problem(400, "malformed JSON: a lone surrogate", "MALFORMED_JSON") from None
    except (ValueError, RecursionError) as error:
        raise Problem(400, f"malformed JSON: {_shorten(error)}", "MALFORMED_JSON") from None
    return value


def _check_shape(data: bytes) -> None:
    depth = containers = 0
    for token in _TOKENS.finditer(data):
        first = data[token.start()]
        if first in b"[{":
            depth += 1
            containers += 1
            if containers > MAX_CONTAINERS:
                raise Problem(
                    400,
                    f"malformed JSON: over {MAX_CONTAINERS} arrays and objects",
                    "MALFORMED_JSON",
                )
            if depth > MAX_DEPTH:
                raise Problem(
                    400, f"malformed JSON: over {MAX_DEPTH} levels deep", "MALFORMED_JSON"
                )
        elif first in b"]}":
            depth -= 1


def _build_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a member is given twice")
    return members


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _parse_float(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError("a number is out of range")
    return value


def _shorten(error: Exception) -> str:
    # A parser's message may quote the input, which may be somebody's prompt.
    if isinstance(error, json.JSONDecodeError):
        return f"{error.msg} at line {error.lineno}, column {error.colno}"
    if isinstance(error, UnicodeDecodeError):
        return "not UTF-8"
    text = str(error)
    return text if len(text) <= 60 else type(error).__name__
