"""One request, its answer's head, and its body as it comes: bounded in time and in redirects.

Nothing is remembered between requests: no cookies, no connections, no proxy of the environment. The
body is asked for as it is, so that there is nothing to unpack and no bomb to unpack.
"""

import asyncio
import functools
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Final, NamedTuple

import httpcore2

from outbound.errors import OutboundError, Refusal
from outbound.network import GuardedBackend
from outbound.urls import Target, follow

MAX_REDIRECTS: Final = 5
REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
CONNECT_SECONDS: Final = 10.0


class Answer(NamedTuple):
    """The head of an answer; header names in lower case. The body is read once."""

    target: Target
    status: int
    headers: Mapping[str, str]
    body: AsyncIterator[bytes]


@functools.cache
def get_tls() -> ssl.SSLContext:
    """Return the trust that the system has."""
    return ssl.create_default_context()


@asynccontextmanager
async def open_request(
    backend: GuardedBackend,
    method: str,
    target: Target,
    *,
    headers: Mapping[str, str],
    content: bytes | None = None,
    total_seconds: float,
    stall_seconds: float,
) -> AsyncIterator[Answer]:
    """Yield the answer to one request, redirects not followed. Raises `OutboundError`."""
    sent = {"Host": target.authority, "Accept-Encoding": "identity", **headers}
    if content is not None:
        sent["Content-Length"] = str(len(content))
    limits = {"connect": CONNECT_SECONDS, "read": stall_seconds, "write": stall_seconds}
    try:
        async with (
            asyncio.timeout(total_seconds),
            httpcore2.AsyncConnectionPool(
                ssl_context=get_tls(), network_backend=backend, max_keepalive_connections=0
            ) as pool,
            pool.stream(
                method,
                target.url,
                headers=list(sent.items()),
                content=content,
                extensions={"timeout": limits},
            ) as response,
        ):
            yield Answer(target, response.status, _read_headers(response), response.aiter_stream())
    except (TimeoutError, httpcore2.TimeoutException):
        raise OutboundError(Refusal.TOO_SLOW, "the answer did not come in time") from None
    except (httpcore2.NetworkError, httpcore2.ProtocolError, ssl.SSLError) as error:
        name = type(error).__name__
        raise OutboundError(Refusal.UNREACHABLE, f"the request failed: {name}") from None


def get_redirect(answer: Answer) -> Target | None:
    """Return where an answer sends to, or None. Raises `OutboundError`."""
    location = answer.headers.get("location")
    if answer.status not in REDIRECTS or location is None:
        return None
    return follow(answer.target, location)


def _read_headers(response: httpcore2.Response) -> dict[str, str]:
    return {
        name.decode("latin-1").lower(): value.decode("latin-1") for name, value in response.headers
    }
