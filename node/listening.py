"""Decides how many connections the API takes, and which of them make room for new ones.

Each is an open file, and a process that has no more to open cannot write a block. Whoever says
nothing is the first to go: so many silent connections, of whomever, keep nobody else away.
"""

import asyncio
import resource
from typing import Final

from aiohttp import web
from aiohttp.web_protocol import RequestHandler

MOST_CONNECTIONS: Final = 16_384
"""However many files the system allows: each costs some ten kilobytes."""


class _Refused(asyncio.Protocol):
    """A connection that there is no room for."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport.close()


class Door:
    """Makes the connections of a server; its call is what an event loop listens with."""

    def __init__(self, server: web.Server, most: int) -> None:
        """From half of `most` on the oldest silent one is ended; at `most` a new one is refused."""
        self._server = server
        self._most = most

    def __call__(self) -> asyncio.Protocol:
        open_now = self._server.connections
        if len(open_now) >= self._most // 2:
            silent = next((each for each in open_now if _is_silent(each)), None)
            if silent is not None:
                silent.force_close()
            elif len(open_now) >= self._most:
                return _Refused()
        return self._server()


def _is_silent(connection: RequestHandler) -> bool:
    # As the library's own clock of idle connections asks it; it has no public word for that.
    waiter = connection._waiter
    return waiter is not None and not waiter.done()


def claim_files() -> int:
    """Let this process open as many files as it may allow itself, and return how many."""
    files, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most == resource.RLIM_INFINITY:
        return files
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    return most


async def listen(server: web.Server, host: str, port: int) -> asyncio.Server:
    """Listen, for as many connections as leave room for all else that is opened."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    door = Door(server, min(MOST_CONNECTIONS, files * 3 // 4))
    return await asyncio.get_running_loop().create_server(door, host, port, backlog=128)
