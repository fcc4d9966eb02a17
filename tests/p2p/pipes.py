"""Two ends of a connection in memory, as libp2p's secured connections look."""

from typing import Any

import trio

from p2p.libp2p_parts import ConnectionClosedError


class End:
    """One end; what is written is read at the other, message by message."""

    def __init__(
        self,
        send: trio.MemorySendChannel[bytes],
        receive: trio.MemoryReceiveChannel[bytes],
        *,
        is_initiator: bool,
    ) -> None:
        self.is_initiator = is_initiator
        self.written: list[bytes] = []
        self._send = send
        self._receive = receive
        self._rest = b""

    async def read(self, n: int | None = None) -> bytes:
        if n is None:
            return await self._next()
        while len(self._rest) < n:
            self._rest += await self._next()
        data, self._rest = self._rest[:n], self._rest[n:]
        return data

    async def write(self, data: bytes) -> None:
        self.written.append(data)
        try:
            await self._send.send(bytes(data))
        except trio.BrokenResourceError:
            raise ConnectionClosedError("closed") from None

    async def close(self) -> None:
        self._send.close()
        self._receive.close()

    async def _next(self) -> bytes:
        try:
            return await self._receive.receive()
        except (trio.EndOfChannel, trio.ClosedResourceError):
            raise ConnectionClosedError("closed") from None


def make_pipe(slots: int = 0) -> tuple[Any, Any]:
    """Return both ends, the first the initiator's; so many messages fit in between."""
    to_second, from_first = trio.open_memory_channel[bytes](slots)
    to_first, from_second = trio.open_memory_channel[bytes](slots)
    return (
        End(to_second, from_second, is_initiator=True),
        End(to_first, from_first, is_initiator=False),
    )
