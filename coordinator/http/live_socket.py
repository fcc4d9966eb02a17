"""One WebSocket: what it may hear, where in the log it is, and how it is cut.

It costs one task, that of its request. What is sent goes straight into the transport's buffer: no
message has a queue of ours.
"""

import asyncio
from contextlib import suppress
from socket import SO_SNDBUF, SOL_SOCKET
from typing import Final

import msgspec
from aiohttp import WSMsgType, web

from coordinator.http.live_messages import CLOSE_REASONS, Close, write
from coordinator.principals import Principal
from coordinator.updates import UpdateType

KERNEL_BUFFER: Final = 32 * 1024
"""Bytes of the socket's own buffer, which the system doubles and would let grow to megabytes."""
END_SECONDS: Final = 2.0
"""What is left to be sent to a socket that was ended has so long."""

ALL_TYPES: Final = frozenset(UpdateType)


class LiveSocket:
    """A connected client. Lives on one event loop, whose clock its times are."""

    __slots__ = (
        "_least", "_loop", "_read_at", "_response", "_room", "_transport", "code", "cursor",
        "heard_at", "is_live", "jobs", "pinged_at", "principal", "types",
    )  # fmt: skip

    def __init__(
        self, response: web.WebSocketResponse, transport: asyncio.Transport, room: int
    ) -> None:
        """At most `room` bytes wait to be read."""
        transport.set_write_buffer_limits(high=3 * room)
        stream = transport.get_extra_info("socket")
        stream.setsockopt(SOL_SOCKET, SO_SNDBUF, KERNEL_BUFFER)
        self._room = room
        self._response = response
        self._transport = transport
        self._loop = asyncio.get_running_loop()
        self.principal: Principal | None = None
        self.types: frozenset[UpdateType] = ALL_TYPES
        self.jobs: frozenset[bytes] | None = None
        self.cursor = 0
        """The last seq of the log that was sent or passed over."""
        self.is_live = False
        """Whether new updates are sent; not while older ones are read from the log."""
        self.code: int | None = None
        """Why it was ended from here."""
        self.heard_at = self.pinged_at = self._loop.time()
        self.note_progress()

    @property
    def queued(self) -> int:
        """Bytes that wait to be read by the client."""
        return self._transport.get_write_buffer_size()

    @property
    def is_keeping_up(self) -> bool:
        """Whether a client that is told what it missed has read most of the last page."""
        return self.queued <= self._room // 4

    def has_room(self, message: bytes) -> bool:
        """Tell whether a message fits in front of the client."""
        return self.queued + len(message) <= self._room

    def note_progress(self) -> None:
        """Begin to watch whether the client reads."""
        self._least, self._read_at = self.queued, self._loop.time()

    def count_stalled_seconds(self) -> float:
        """Return for how long the client has read nothing of what waits for it."""
        if self.queued < self._least:
            self.note_progress()
        return self._loop.time() - self._read_at

    def wants(self, kind: str, job: bytes | None) -> bool:
        """Tell whether an update is among those that were asked for."""
        return kind in self.types and (job is None or self.jobs is None or job in self.jobs)

    async def send(self, message: bytes) -> None:
        """Send a message. Never waits: it is in front of the client, or in the buffer."""
        if self.code is not None:
            return
        with suppress(ConnectionError):  # its own task hears of that
            # It waits only above the transport's high-water mark, which is over every bound.
            await self._response.send_frame(message, WSMsgType.TEXT)

    async def say(self, data: msgspec.Struct) -> None:
        """Answer the client, with the place in the log that it is at; cut one that reads none."""
        message = write(self.cursor, data)
        # Updates leave it the rest of the buffer.
        if self.queued + len(message) > 2 * self._room:
            self.cut(Close.SLOW_READER)
        await self.send(message)

    async def ping(self) -> None:
        """Send the protocol's own heartbeat."""
        self.pinged_at = self._loop.time()
        if self.code is None and self.queued <= 2 * self._room:
            with suppress(ConnectionError):
                await self._response.ping()

    async def pong(self, data: bytes) -> None:
        """Answer the client's."""
        if self.code is None and self.queued <= 2 * self._room:
            with suppress(ConnectionError):
                await self._response.pong(data)

    def cut(self, code: Close) -> None:
        """End the socket from another task than its own, at once."""
        if self.code is None:
            self.code = code
            self.is_live = False
            task = self._loop.create_task(self._end(code))
            _ENDING.add(task)
            task.add_done_callback(_ENDING.discard)

    async def end(self, code: Close) -> None:
        """End the socket from its own task: the client's answer is waited for, briefly."""
        if self.code is None:
            self.code = code
            self.is_live = False
            await self._end(code)

    async def _end(self, code: Close) -> None:
        # A reader that does not read never lets the rest out: the buffer goes with it.
        self._loop.call_later(END_SECONDS, self._transport.abort)
        reason = CLOSE_REASONS[code].encode()
        try:
            async with asyncio.timeout(END_SECONDS):
                await self._response.close(code=code, message=reason, drain=False)
        except (TimeoutError, ConnectionError):
            self._transport.abort()


_ENDING: Final[set["asyncio.Task[None]"]] = set()
"""The loop itself keeps no task alive."""
