"""The transport in a process of its own: for a node with a core to spare (`p2p/thread.py` else).

The same records as between threads, over a socket pair. If the process dies, the node hears
`NetworkFailed`, no more.
"""

import asyncio
import socket
import sys
from collections.abc import Sequence
from typing import Final

import structlog

from p2p import pipe
from p2p.bridge import Order
from p2p.front import BridgedNetwork
from p2p.interface import NetworkIdentity, NetworkSettings

log = structlog.get_logger()

STOP_SECONDS: Final = 3.0
LOT_BYTES: Final = 1024 * 1024
"""What is read from the process ahead of being handled."""


class ProcessEngine:
    """Runs a transport in a child process.

    `arguments`: the interpreter's, for a module that ends in `p2p.child.run`; the descriptor is put
    behind them.
    """

    def __init__(
        self,
        identity: NetworkIdentity,
        settings: NetworkSettings,
        arguments: Sequence[str] = ("-m", "p2p.child"),
    ) -> None:
        self._setup = pipe.Setup(identity, settings)
        self._arguments = arguments
        self._orders: list[Order] = []
        self._process: asyncio.subprocess.Process | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._reading: asyncio.Task[None] | None = None

    @property
    def process_id(self) -> int:
        """Of the process, once it has started."""
        assert self._process is not None
        return self._process.pid

    async def start(self, front: BridgedNetwork) -> None:
        """Start the process; what it reports goes to `front`."""
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                *self._arguments,
                str(theirs.fileno()),
                pass_fds=(theirs.fileno(),),
                stdin=asyncio.subprocess.DEVNULL,
            )
        reader, self._writer = await asyncio.open_connection(sock=ours, limit=LOT_BYTES)
        self._writer.write(pipe.encode(self._setup))
        self._flush()
        self._reading = asyncio.create_task(self._read(reader, front))

    def post(self, order: Order) -> None:
        """Pass an order on, together with all others of this turn of the event loop."""
        self._orders.append(order)
        if len(self._orders) == 1:
            asyncio.get_running_loop().call_soon(self._flush)

    async def stop(self) -> None:
        """Wait for the process, and kill it if it does not end."""
        assert self._process is not None and self._reading is not None
        self._flush()
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await self._process.wait()
        except TimeoutError:
            log.warning("the network's process does not end", seconds=STOP_SECONDS)
            self._process.kill()
            await self._process.wait()
        await self._reading
        if self._writer is not None:
            self._writer.close()

    def _flush(self) -> None:
        """Write what waits; before the start it goes on waiting."""
        if self._writer is None:
            return
        orders, self._orders = self._orders, []
        if orders and not self._writer.is_closing():
            self._writer.write(pipe.encode(orders))

    async def _read(self, reader: asyncio.StreamReader, front: BridgedNetwork) -> None:
        """Pass on what the process reports until it is gone."""
        try:
            while True:
                (length,) = pipe.HEAD.unpack(await reader.readexactly(pipe.HEAD.size))
                front.deliver(pipe.decode_reports(await reader.readexactly(length)))
        except (asyncio.IncompleteReadError, ConnectionError):
            front.fail("the transport's process has ended")


class ProcessNetwork(BridgedNetwork):
    """`Network` in a process of its own."""

    def __init__(
        self,
        identity: NetworkIdentity,
        settings: NetworkSettings,
        engine: ProcessEngine | None = None,
    ) -> None:
        super().__init__(identity, engine or ProcessEngine(identity, settings))
