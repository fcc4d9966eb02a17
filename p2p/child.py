"""`python -m p2p.child DESCRIPTOR`: a transport in a process of its own, at the end of a socket.

It ends with its parent: the socket closes, whatever the parent died of.
"""

import signal
import socket
import sys

import trio

from p2p import pipe
from p2p.bridge import Close, Report
from p2p.transport import Transport


class Child:
    """Obeys what comes by the socket, and writes what the transport reports."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self._reports: list[Report] = []
        self._wake = trio.Event()

    async def run(self) -> None:
        """Serve until the transport ends or the parent is gone."""
        setup = pipe.decode_setup(await self._receive_lot())
        transport = Transport(setup.identity, setup.settings, self._report)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._obey, transport)
            nursery.start_soon(self._write)
            await transport.run()
            await self._flush()
            nursery.cancel_scope.cancel()

    def _report(self, report: Report) -> None:
        self._reports.append(report)
        self._wake.set()

    async def _obey(self, transport: Transport) -> None:
        try:
            while True:
                for order in pipe.decode_orders(await self._receive_lot()):
                    transport.obey(order)
        except (EOFError, trio.BrokenResourceError):
            transport.obey(Close())

    async def _write(self) -> None:
        while True:
            await self._wake.wait()
            self._wake = trio.Event()
            await self._flush()

    async def _flush(self) -> None:
        reports, self._reports = self._reports, []
        if reports:
            try:
                await self._stream.send_all(pipe.encode(reports))
            except trio.BrokenResourceError:
                return

    async def _receive_lot(self) -> bytes:
        """Return the next lot. Raises `EOFError` when the parent is gone."""
        (length,) = pipe.HEAD.unpack(await self._receive_exactly(pipe.HEAD.size))
        return await self._receive_exactly(length)

    async def _receive_exactly(self, size: int) -> bytes:
        data = bytearray()
        while len(data) < size:
            part = await self._stream.receive_some(size - len(data))
            if not part:
                raise EOFError
            data += part
        return bytes(data)


async def main(descriptor: int) -> None:
    """Serve the parent at the other end of an inherited socket."""
    end = trio.socket.from_stdlib_socket(socket.socket(fileno=descriptor))
    await Child(trio.SocketStream(end)).run()


def run(descriptor: int) -> None:
    """Be that process until the parent is gone."""
    # A signal to the whole group is the node's to answer; this process ends when the node does.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    trio.run(main, descriptor)


if __name__ == "__main__":
    run(int(sys.argv[1]))
