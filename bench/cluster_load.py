"""A load generator that costs little beside the nodes: bare HTTP/1.1 on one connection a client.

In the closed loop a client sends its next transfer when the one before was accepted, or, as a
variant, when it is final at its own node. In the open loop transfers leave at a fixed rate, and
their delay counts from when they were due. A refused transfer is counted and sent again.
"""

import asyncio
import time
from collections.abc import Mapping
from typing import cast

from bench.cluster_network import POLL_SECONDS, Network, Request, get_node

RETRY_SECONDS = 0.05

Lines = Mapping[int, list[Request]]
"""What each client is to send, by its number."""


class Connection(asyncio.Protocol):
    """One client's connection: a request at a time, its answer's body to whoever waits."""

    def __init__(self) -> None:
        self._buffer = b""
        self._size: int | None = None
        self._answer: asyncio.Future[bytes] | None = None
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are of no class of asyncio's.
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if self._size is None:
            end = self._buffer.find(b"\r\n\r\n")
            if end < 0:
                return
            self._size = end + 4 + _read_length(self._buffer[:end])
        if len(self._buffer) >= self._size:
            body = self._buffer[self._buffer.find(b"\r\n\r\n") + 4 :]
            self._buffer, self._size = b"", None
            if self._answer is not None and not self._answer.done():
                self._answer.set_result(body)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(exc or ConnectionResetError("the node hung up"))

    async def send(self, request: bytes) -> bytes:
        """Return the body of the answer. Raises `OSError`."""
        assert self._transport is not None
        if self._transport.is_closing():
            raise ConnectionResetError("the node hung up")
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return await self._answer

    def close(self) -> None:
        """End the connection."""
        if self._transport is not None:
            self._transport.close()


def _read_length(head: bytes) -> int:
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    raise ValueError("an answer without its length")


class Watch:
    """Follows one node's blocks: when each arrived there and, if asked for, what was in it."""

    def __init__(self, network: Network, node: int, *, with_content: bool = True) -> None:
        self._network = network
        self._node = node
        self._with_content = with_content
        self._waiting: dict[str, asyncio.Event] = {}
        self.arrivals: list[float] = []
        """The moment of every block seen, by `perf_counter`."""
        self.seen: dict[str, float] = {}
        """When a transaction was first in a final block of this node's."""

    async def run(self) -> None:
        """Follow the node until cancelled."""
        height = (await self._network.get_head(self._node)).height
        while True:
            head = await self._network.get_head(self._node)
            now = time.perf_counter()
            for number in range(height + 1, head.height + 1):
                self.arrivals.append(now)
                if self._with_content:
                    self._note(await self._network.list_block(self._node, number), now)
            height = head.height
            await asyncio.sleep(POLL_SECONDS)

    async def wait(self, transaction_id: str) -> None:
        """Return when a transaction is final at this node."""
        if transaction_id not in self.seen:
            await self._waiting.setdefault(transaction_id, asyncio.Event()).wait()

    def _note(self, transaction_ids: list[str], now: float) -> None:
        for name in transaction_ids:
            self.seen[name] = now
            waiting = self._waiting.pop(name, None)
            if waiting is not None:
                waiting.set()


class Sent:
    """What a run of load has done."""

    def __init__(self) -> None:
        self.accepted = 0
        self.refused = 0
        self.last_ids: dict[int, str] = {}
        """Each client's last accepted transfer."""
        self.due: dict[str, float] = {}
        """When each transfer was due, by `perf_counter`; in the open loop alone."""
        self.seconds = 0.0
        self.cpu = 0.0
        """Processor seconds of the generator."""


class _Load:
    """The clients' connections while a load runs."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self.sent = Sent()
        self._connections: dict[int, Connection] = {}
        self._start = (0.0, 0.0)

    async def open(self, clients: Lines) -> None:
        """Connect each client to its node, and begin to count."""
        loop, nodes = asyncio.get_running_loop(), self.network.nodes
        for client in clients:
            host, _, port = (
                nodes[get_node(client, len(nodes))].url.removeprefix("http://").partition(":")
            )
            _, self._connections[client] = await loop.create_connection(Connection, host, int(port))
        self._start = (time.process_time(), time.perf_counter())

    async def send(self, client: int, request: Request) -> None:
        """Send a transfer until it is accepted."""
        connection = self._connections[client]
        while not self.network.is_accepted(await connection.send(request.wire)):
            self.sent.refused += 1
            await asyncio.sleep(RETRY_SECONDS)
        self.sent.accepted += 1
        self.network.used[client] += 1
        self.sent.last_ids[client] = request.id

    def close(self) -> Sent:
        """End the connections; return what was done."""
        self.sent.cpu = time.process_time() - self._start[0]
        self.sent.seconds = time.perf_counter() - self._start[1]
        for connection in self._connections.values():
            connection.close()
        return self.sent


async def run_closed_loop(
    network: Network, lines: Lines, seconds: float, watches: list[Watch] | None = None
) -> Sent:
    """Let each client send its line, one after the other, until the time or a line is over.

    With `watches`, one a node, a client goes on when its transfer is final at its node.
    """
    load = _Load(network)
    await load.open(lines)
    end = time.perf_counter() + seconds
    is_over = False

    async def run_client(client: int) -> None:
        nonlocal is_over
        watch = None if watches is None else watches[get_node(client, len(watches))]
        for request in lines[client]:
            await load.send(client, request)
            if watch is not None:
                await watch.wait(request.id)
            if is_over or time.perf_counter() >= end:
                return
        is_over = True

    await asyncio.gather(*(run_client(client) for client in lines))
    return load.close()


async def run_open_loop(
    network: Network, lines: Lines, rate: float, seconds: float, stop: asyncio.Event | None = None
) -> Sent:
    """Send `rate` transfers a second, the clients in turn, whatever the answers take."""
    load = _Load(network)
    await load.open(lines)
    clients = list(lines)
    start = time.perf_counter()

    async def run_client(place: int) -> None:
        client = clients[place]
        for number, request in enumerate(lines[client]):
            moment = start + (number * len(clients) + place) / rate
            if moment >= start + seconds:
                return
            if (delay := moment - time.perf_counter()) > 0:
                await asyncio.sleep(delay)
            if stop is not None and stop.is_set():
                return
            load.sent.due[request.id] = moment
            await load.send(client, request)

    await asyncio.gather(*(run_client(place) for place in range(len(clients))))
    return load.close()
