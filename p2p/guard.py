"""What a connection may cost before it is known who is at its other end (rule W4).

libp2p reads a length of any size from anybody: forty connections made a process of 89 MB one of
917. So the connection itself, below all protocols, counts what it reads until a session stands,
refuses long reads, and there are only so many of them, each with a deadline.
"""

from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Final

import trio

from p2p.counters import Counters
from p2p.libp2p_parts import (
    ConnectionClosedError,
    ConnectionType,
    IRawConnection,
)
from p2p.limits import (
    MAX_UNPROVED_BYTES,
    MAX_UNPROVED_CONNECTIONS,
    MAX_UNPROVED_PER_HOST,
    MAX_UNPROVED_READ,
)

READ_BYTES: Final = 64 * 1024


class GuardedConnection(IRawConnection):
    """A TCP connection as libp2p's layers use it; `read` gives exactly as much as was asked for."""

    def __init__(self, stream: trio.SocketStream, *, is_initiator: bool) -> None:
        self.is_initiator = is_initiator
        self.bytes_read = 0
        self.bytes_written = 0
        self.heard_at = trio.current_time()
        """When the last byte came."""
        self._stream = stream
        self._buffer = bytearray()
        self._allowance: int | None = MAX_UNPROVED_BYTES

    def release(self) -> None:
        """Lift the limits on reading: the peer is admitted, and held to a session's limits."""
        self._allowance = None

    async def read(self, n: int | None = None) -> bytes:
        """Return `n` bytes, or what there is. Raises `ConnectionClosedError`."""
        if self._allowance is not None and n is not None and n > MAX_UNPROVED_READ:
            raise ConnectionClosedError(f"{n} bytes asked for before the greeting")
        while len(self._buffer) < (1 if n is None else n):
            await self._receive()
        if n is None:
            n = len(self._buffer)
        with memoryview(self._buffer) as view:
            data = bytes(view[:n])
        del self._buffer[:n]
        return data

    async def write(self, data: bytes) -> None:
        """Write all. Raises `ConnectionClosedError`."""
        try:
            await self._stream.send_all(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise ConnectionClosedError(str(error)) from None
        self.bytes_written += len(data)

    async def close(self) -> None:
        """Close at once."""
        await trio.aclose_forcefully(self._stream)

    def get_remote_address(self) -> tuple[str, int] | None:
        """Return host and port of the other end."""
        return _get_endpoint(self._stream.socket.getpeername)

    def get_local_host(self) -> str | None:
        """Return the address of this end, by which the peer reached it or would."""
        endpoint = _get_endpoint(self._stream.socket.getsockname)
        return endpoint[0] if endpoint else None

    def get_transport_addresses(self) -> list[Any]:
        """Return nothing: no layer in use asks."""
        return []

    def get_connection_type(self) -> ConnectionType:
        """Return that it is no relayed one."""
        return ConnectionType.DIRECT

    async def _receive(self) -> None:
        size = READ_BYTES
        if self._allowance is not None:
            size = min(MAX_UNPROVED_READ, self._allowance)
            if size <= 0:
                raise ConnectionClosedError(f"over {MAX_UNPROVED_BYTES} bytes before the greeting")
        try:
            data = await self._stream.receive_some(size)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise ConnectionClosedError(str(error)) from None
        if not data:
            raise ConnectionClosedError("the peer closed the connection")
        self.heard_at = trio.current_time()
        self.bytes_read += len(data)
        if self._allowance is not None:
            self._allowance -= len(data)
        self._buffer += data


class Anteroom:
    """The inbound connections that are not sessions yet; the oldest makes room for the next."""

    def __init__(self, counters: Counters) -> None:
        self._counters = counters
        self._waiting: OrderedDict[int, tuple[str, trio.CancelScope]] = OrderedDict()
        self._next = 0

    def enter(self, host: str, scope: trio.CancelScope) -> int:
        """Let a connection in, and cancel the oldest beyond the limits. Return its ticket."""
        self._next += 1
        self._waiting[self._next] = (host, scope)
        same = [ticket for ticket, (other, _) in self._waiting.items() if other == host]
        if len(same) > MAX_UNPROVED_PER_HOST:
            self._expel(same[0])
        elif len(self._waiting) > MAX_UNPROVED_CONNECTIONS:
            self._expel(next(iter(self._waiting)))
        return self._next

    def leave(self, ticket: int) -> None:
        """Note that a connection has become a session, or ended."""
        self._waiting.pop(ticket, None)

    def _expel(self, ticket: int) -> None:
        _, scope = self._waiting.pop(ticket)
        self._counters.add("refused", "crowded_out")
        scope.cancel()


def _get_endpoint(ask: Callable[[], tuple[Any, ...]]) -> tuple[str, int] | None:
    try:
        host, port, *_ = ask()
    except OSError:
        return None
    return str(host).removeprefix("::ffff:"), int(port)
