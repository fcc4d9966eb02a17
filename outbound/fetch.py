"""Fetches what a URL names into a file, within limits of size and time."""

import asyncio
from hashlib import sha256
from pathlib import Path
from typing import Final, NamedTuple

from outbound.client import MAX_REDIRECTS, Answer, get_redirect, open_request
from outbound.errors import OutboundError, Refusal
from outbound.network import GuardedBackend, Resolve, resolve_name
from outbound.urls import parse_url

STALL_SECONDS: Final = 20.0
"""How long an answer may stand still."""
_MAX_TYPE: Final = 200


class Fetched(NamedTuple):
    """What lies in the file."""

    size: int
    sha256: str
    media_type: str


async def fetch(
    url: str,
    path: Path,
    *,
    max_bytes: int,
    total_seconds: float,
    allow_loopback: bool = False,
    resolve: Resolve = resolve_name,
) -> Fetched:
    """Write what a URL names to a file and return what it is. Raises `OutboundError`.

    After a failure the file may hold a part. `total_seconds` is for all redirects together.
    """
    backend = GuardedBackend(allow_loopback, resolve)
    target = parse_url(url)
    end = asyncio.get_running_loop().time() + total_seconds
    for _ in range(MAX_REDIRECTS + 1):
        left = max(0.0, end - asyncio.get_running_loop().time())
        async with open_request(
            backend, "GET", target, headers={"Accept": "*/*", "User-Agent": "aitbc"},
            total_seconds=left, stall_seconds=STALL_SECONDS,
        ) as answer:  # fmt: skip
            following = get_redirect(answer)
            if following is None:
                return await _save(answer, path, max_bytes)
        target = following
    raise OutboundError(Refusal.TOO_MANY_REDIRECTS, f"over {MAX_REDIRECTS} redirects")


async def _save(answer: Answer, path: Path, max_bytes: int) -> Fetched:
    if answer.status != 200:
        raise OutboundError(Refusal.BAD_STATUS, f"the answer is {answer.status}")
    if answer.headers.get("content-encoding", "identity").lower() != "identity":
        raise OutboundError(Refusal.BAD_STATUS, "the answer is packed, which was not asked for")
    said = answer.headers.get("content-length", "0")
    if said.isascii() and said.isdigit() and int(said[:20]) > max_bytes:
        raise OutboundError(Refusal.TOO_LARGE, f"the answer is over {max_bytes} bytes")
    hasher, size = sha256(), 0
    with path.open("wb") as sink:
        async for chunk in answer.body:
            size += len(chunk)
            if size > max_bytes:
                raise OutboundError(Refusal.TOO_LARGE, f"the answer is over {max_bytes} bytes")
            hasher.update(chunk)
            await asyncio.to_thread(sink.write, chunk)
    media_type = answer.headers.get("content-type", "application/octet-stream")[:_MAX_TYPE]
    return Fetched(size, hasher.hexdigest(), media_type)
