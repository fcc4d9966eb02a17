"""Connections that go to the very address that was checked.

A name is resolved once, here; each of its addresses must be allowed, and the connection is made to
one of these and to no name, so that a second answer of the name server changes nothing.
"""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any

import httpcore2

from outbound.addresses import is_loopback, is_public
from outbound.errors import OutboundError, Refusal

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
"""Returns the addresses of a host's name for a port. Raises `OSError`."""


async def resolve_name(host: str, port: int) -> Sequence[str]:
    """Return what the system knows of a name."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


class GuardedBackend(httpcore2.AsyncNetworkBackend):
    """Connects to public addresses alone; to this machine's where a DEV chain or a test says so."""

    def __init__(self, allow_loopback: bool, resolve: Resolve = resolve_name) -> None:
        self._allow_loopback = allow_loopback
        self._resolve = resolve
        self._backend = httpcore2.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        """Return a connection. Raises `OutboundError` (`ADDRESS_REFUSED`, `UNREACHABLE`)."""
        try:
            addresses = await self._resolve(host, port)
        except (OSError, UnicodeError):
            raise OutboundError(Refusal.UNREACHABLE, "there is no such host") from None
        for address in addresses:
            if not is_public(address) and not (self._allow_loopback and is_loopback(address)):
                raise OutboundError(
                    Refusal.ADDRESS_REFUSED, "the host is not on the public internet"
                )
        failure: Exception | None = None
        for address in addresses:
            try:
                return await self._backend.connect_tcp(
                    address, port, timeout, local_address, socket_options
                )
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout) as error:
                failure = error
        raise OutboundError(Refusal.UNREACHABLE, "nothing answers at the host") from failure
