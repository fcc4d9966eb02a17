"""Sends a message to a URL that somebody gave for it; of the answer only the status is taken."""

from collections.abc import Mapping

from outbound.client import open_request
from outbound.network import GuardedBackend, Resolve, resolve_name
from outbound.urls import parse_url


async def post(
    url: str,
    body: bytes,
    headers: Mapping[str, str],
    *,
    total_seconds: float,
    allow_loopback: bool = False,
    resolve: Resolve = resolve_name,
) -> int:
    """Return the status of the answer, a redirect's too. Raises `OutboundError`."""
    async with open_request(
        GuardedBackend(allow_loopback, resolve), "POST", parse_url(url), headers=headers,
        content=body, total_seconds=total_seconds, stall_seconds=total_seconds,
    ) as answer:  # fmt: skip
        return answer.status
