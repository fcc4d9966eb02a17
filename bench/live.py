"""What WebSockets cost a node that makes blocks: memory with idle and slow readers, CPU a message.

A real node under a steady trickle of transfers, first without readers and then with them, in the
same run. An idle reader reads what it is sent, the blocks; a slow one asks for more than any buffer
holds and reads nothing of it, in the seconds before it is cut.

Usage: python -m bench.live [--idle 1000] [--slow 200] [--seconds 12]
"""

import argparse
import asyncio
import resource
import secrets
import socket
import tempfile
import time
from collections.abc import Iterable
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Any

from bench.network import NODE, Bench, make_wallet, run_bench_node
from coordinator import accounts, updates
from coordinator.principals import Role
from coordinator.settings import LiveLimits
from coordinator.update_data import JobUpdate
from coordinator.updates import UpdateType
from ledger.transactions import Transfer
from node import folder
from node.clock import get_wall_time
from node.settings import load_settings

SENDER = make_wallet("client")
LIMITS = LiveLimits()
TARGET_MB = 100
PAUSE = 0.1
"""Seconds between two transfers: every block has some."""
ROWS = 4_000
"""What a slow reader asks for: far more than its buffers on both sides hold."""
SETTLING = 2.0
"""Seconds from the last opened socket to the first measured message."""
OPENING = 50
"""Sockets that are opened at once."""
SMALL_BUFFER = 4_096
MB = 2**20


class IdleReader(asyncio.Protocol):
    """Counts the messages of one socket; answers nothing, as the run is shorter than patience."""

    def __init__(self, head: bytes) -> None:
        self._head = head
        self._data = bytearray()
        self.is_open = asyncio.Event()
        self.messages = 0
        self.has_ended = False

    def connection_made(self, transport: Any) -> None:
        transport.write(self._head)

    def data_received(self, data: bytes) -> None:
        self._data += data
        if not self.is_open.is_set():
            head, end, rest = self._data.partition(b"\r\n\r\n")
            if not end:
                return
            assert b" 101 " in head, head
            self._data = rest
            self.is_open.set()
        while len(self._data) >= 4:
            length, start = self._data[1], 2
            if length == 126:
                length, start = int.from_bytes(self._data[2:4]), 4
            if len(self._data) < start + length:
                return
            self.messages += self._data[0] == 0x81
            del self._data[: start + length]

    def connection_lost(self, exc: Exception | None) -> None:
        self.has_ended = True


def build_head(key: str, path: str) -> bytes:
    """Return the request that opens a socket."""
    nonce = "AAAAAAAAAAAAAAAAAAAAAA=="
    return (
        f"GET {path} HTTP/1.1\r\nHost: node\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {nonce}\r\nX-Api-Key: {key}\r\n\r\n"
    ).encode()


def prepare(data: Path, idle: int, slow: int) -> tuple[list[str], list[str]]:
    """Make keys in a node's folder, and a log for the slow readers; return both lots of keys."""
    settings = load_settings(data=data)
    database = folder.open_database(settings, folder.open_genesis(data))
    now = get_wall_time()

    def work(connection: Any) -> tuple[list[str], list[str]]:
        def make_keys(sockets: int) -> tuple[int, list[str]]:
            owner = accounts.create_account(connection, secrets.token_bytes(32), now)
            count = -(-sockets // LIMITS.sockets_per_key)
            made = [
                accounts.create_key(connection, NODE.address, owner, Role.CLIENT, "", now)
                for _ in range(count)
            ]
            return owner.account_id or 0, [each.key for each in made]

        _, idle_keys = make_keys(idle)
        account, slow_keys = make_keys(slow)
        for number in range(ROWS):
            row = JobUpdate(
                job_id=f"job_{number:064x}",
                status="running",
                phase="running",
                progress=50,
                miner_id="bench_miner",
                cancel_requested=False,
                fault=None,
                reason_code=None,
                timestamp="2026-01-01T00:00:00.000Z",
            )
            updates.append(connection, UpdateType.JOB_UPDATE, account, row, now)
        return idle_keys, slow_keys

    try:
        return database.write_now(work)
    finally:
        database.close_now()


def read_memory(bench: Bench) -> float:
    """Return the node's resident megabytes, its prover apart."""
    text = Path(f"/proc/{bench.pid}/status").read_text()
    (line,) = (line for line in text.splitlines() if line.startswith("VmRSS:"))
    return int(line.split()[1]) / 1024


async def trickle(bench: Bench) -> None:
    """Send transfers until cancelled."""
    nonce = 0
    while True:
        signed = SENDER.sign(
            Transfer(NODE.address, 1),
            chain_id=bench.chain_id,
            nonce=nonce,
            fee_rate=bench.genesis.parameters.minimum_fee_rate,
            valid_until=100_000,
        )
        await bench.send([signed.raw])
        nonce += 1
        await asyncio.sleep(PAUSE)


async def open_idle(bench: Bench, keys: list[str], count: int) -> list[IdleReader]:
    """Return so many readers, all of them answered."""
    loop, port = asyncio.get_running_loop(), int(bench.url.rpartition(":")[2])
    readers: list[IdleReader] = []
    while len(readers) < count:
        some = []
        for number in range(len(readers), min(count, len(readers) + OPENING)):
            reader = IdleReader(build_head(keys[number // LIMITS.sockets_per_key], "/ws"))
            await loop.create_connection(partial(_give, reader), "127.0.0.1", port)
            some.append(reader)
        await asyncio.gather(*(reader.is_open.wait() for reader in some))
        readers += some
    return readers


def _give(reader: IdleReader) -> IdleReader:
    return reader


async def open_slow(bench: Bench, keys: list[str], count: int) -> list[socket.socket]:
    """Return sockets that have asked for the whole log and that nobody reads."""
    loop, port = asyncio.get_running_loop(), int(bench.url.rpartition(":")[2])
    sockets = []
    for number in range(count):
        stream = socket.socket()
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL_BUFFER)
        stream.setblocking(False)
        await loop.sock_connect(stream, ("127.0.0.1", port))
        head = build_head(keys[number // LIMITS.sockets_per_key], "/ws?since=0")
        await loop.sock_sendall(stream, head)
        sockets.append(stream)
    return sockets


def count_unread(sockets: Iterable[socket.socket]) -> int:
    """Return how many sockets' answers have begun."""
    count = 0
    for stream in sockets:
        try:
            count += bool(stream.recv(1, socket.MSG_PEEK))
        except BlockingIOError:
            continue
    return count


async def measure_cpu(bench: Bench, seconds: float) -> float:
    """Return the node's processor seconds in each second of a time."""
    start, cpu = time.perf_counter(), bench.read_cpu()
    await asyncio.sleep(seconds)
    return (bench.read_cpu() - cpu) / (time.perf_counter() - start)


async def run(idle: int, slow: int, seconds: float) -> bool:
    """Print the figures; return whether they are within the target."""
    needed = 2 * (idle + slow) + 500
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(max(needed, 4_096), most), most))
    async with AsyncExitStack() as stack:
        name = stack.enter_context(tempfile.TemporaryDirectory())
        keys: list[tuple[list[str], list[str]]] = []
        node = run_bench_node(
            Path(name) / "node", [SENDER], lambda data: keys.append(prepare(data, idle, slow))
        )
        bench = await stack.enter_async_context(node)
        idle_keys, slow_keys = keys[0]
        sending = asyncio.create_task(trickle(bench))
        stack.callback(sending.cancel)
        # What a node's caches take in its first seconds is no reader's.
        await asyncio.sleep(seconds)
        alone = await measure_cpu(bench, seconds)
        before = read_memory(bench)
        readers = await open_idle(bench, idle_keys, idle)
        await asyncio.sleep(SETTLING)
        told = sum(reader.messages for reader in readers)
        start = time.perf_counter()
        beside = await measure_cpu(bench, seconds)
        messages = sum(reader.messages for reader in readers) - told
        taken = time.perf_counter() - start
        between = read_memory(bench)
        streams = await open_slow(bench, slow_keys, slow)
        await asyncio.sleep(LIMITS.catch_up_seconds / 4)
        after = read_memory(bench)
        started = count_unread(streams)
        assert started == slow, f"{started} of the slow readers were served"
        lost = sum(reader.has_ended for reader in readers)
        assert lost == 0, f"{lost} readers were cut"
        assert not sending.done(), sending.exception()
        for stream in streams:
            stream.close()
    cost = (beside - alone) * taken / messages * 1e6
    print(f"{idle} idle and {slow} slow readers beside a node that makes blocks")
    print(f"  memory {after - before:6.1f} MB (target <= {TARGET_MB} MB)")
    print(f"    idle {(between - before) * 1024 / idle:6.1f} KB each")
    print(f"    slow {(after - between) * 1024 / max(slow, 1):6.1f} KB each")
    print(f"  in the same run: the node without readers {before:.1f} MB")
    print(f"  CPU  {cost:6.1f} us a message, {messages} messages in {taken:.0f} s")
    print(f"  in the same run: the node without readers {alone:.3f} s of CPU a second")
    return after - before <= TARGET_MB


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--idle", type=int, default=1_000)
    parser.add_argument("--slow", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=12.0)
    chosen = parser.parse_args()
    raise SystemExit(not asyncio.run(run(chosen.idle, chosen.slow, chosen.seconds)))


if __name__ == "__main__":
    main()
