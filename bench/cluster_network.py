"""What the comparison of whole networks needs of one: its processes, its heads and its transfers.

A node's figures are those of its process and of what it started: processor time from
`/proc/PID/stat`, memory from `/proc/PID/status`, bytes from its data folder.
"""

import asyncio
import os
import signal
import subprocess
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

import aiohttp

VALIDATORS = 4
CLIENTS = 64
PAYEES = 1_000
POLL_SECONDS = 0.02
START_SECONDS = 180.0
STOP_SECONDS = 10.0
LIMIT_SECONDS = 60.0
"""What no wait for a final block may take."""

JOURNAL = "journal.bin"

_SHORT = aiohttp.ClientTimeout(total=10)
_TICK = os.sysconf("SC_CLK_TCK")


class Request(NamedTuple):
    """A signed transfer: its id, and the whole HTTP request that sends it to its client's node."""

    id: str
    wire: bytes


class Head(NamedTuple):
    """A node's last final block; `time` in milliseconds since the Unix epoch."""

    height: int
    time: int


class NodeProcess:
    """One node of a network: it can be killed, and started again as it was."""

    def __init__(
        self,
        url: str,
        data: Path,
        arguments: Sequence[str],
        environment: Mapping[str, str],
        pid: int | None = None,
    ) -> None:
        self.url = url
        self.data = data
        self._arguments = list(arguments)
        self._environment = dict(environment)
        self._process: subprocess.Popen[bytes] | None = None
        self.pid = self._spawn() if pid is None else pid

    def restart(self) -> None:
        """Start it anew after `kill`."""
        self.pid = self._spawn()

    def kill(self) -> None:
        """End it by SIGKILL, with its children; return when it is gone."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """End it as an operator would."""
        if _is_running(self.pid):
            self._end(signal.SIGTERM)

    def read_cpu(self) -> float:
        """Return the processor seconds so far, what the node started included."""
        return sum(_read_cpu(pid) for pid in _list_processes(self.pid))

    def read_memory(self) -> int:
        """Return the resident bytes of the node's own process."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
        raise ProcessLookupError(f"process {self.pid} is gone")

    def measure_disk(self) -> int:
        """Return the bytes of every file in the data folder."""
        return sum(path.stat().st_size for path in self.data.rglob("*") if path.is_file())

    def measure_journal(self) -> int:
        """Return the bytes of the file of own votes, which is cut at a fixed length; 0 if none."""
        path = self.data / JOURNAL
        return path.stat().st_size if path.exists() else 0

    def _spawn(self) -> int:
        with (self.data.parent / f"{self.data.name}.bench.log").open("ab") as log:
            self._process = subprocess.Popen(
                self._arguments,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self._environment,
                process_group=0,
            )
        return self._process.pid

    def _end(self, number: signal.Signals) -> None:
        others = _list_processes(self.pid)[1:] if number is signal.SIGKILL else []
        for pid in (self.pid, *others):
            _send_signal(pid, number)
        end = time.monotonic() + STOP_SECONDS
        while _is_running(self.pid):
            if time.monotonic() >= end:
                _send_signal(self.pid, signal.SIGKILL)
            time.sleep(0.001)
        if self._process is not None:
            self._process.wait()


def adopt(url: str, data: Path, pid: int) -> NodeProcess:
    """Return a node that another program has started, and that can be started again as it was."""
    arguments = Path(f"/proc/{pid}/cmdline").read_text().split("\0")[:-1]
    environment = Path(f"/proc/{pid}/environ").read_text().split("\0")[:-1]
    pairs = (item.partition("=") for item in environment)
    return NodeProcess(url, data, arguments, {name: value for name, _, value in pairs}, pid)


class Network(Protocol):
    """Four validators, and clients of theirs with money."""

    nodes: list[NodeProcess]
    used: list[int]
    """How many of each client's transfers were accepted; who sends them counts them."""

    def make_requests(self, client: int, count: int) -> list[Request]:
        """Return the client's next transfers, for the node that `get_node` names."""
        ...

    def is_accepted(self, answer: bytes) -> bool:
        """Tell whether the body of an answer says that the transfer waits for its block."""
        ...

    async def get_head(self, node: int) -> Head:
        """Return a node's last final block. Raises `OSError` where it does not answer."""
        ...

    async def list_block(self, node: int, height: int) -> list[str]:
        """Return the ids of a final block's transactions. Raises `OSError`."""
        ...

    async def is_final(self, node: int, transaction_id: str) -> bool:
        """Tell whether a transaction is in a final block of this node's. Raises `OSError`."""
        ...

    async def send(self, node: int, request: Request) -> None:
        """Send a transfer apart from the load, whatever the answer. Raises `OSError`."""
        ...


def get_node(client: int, nodes: int) -> int:
    """Return the number of the node that a client talks to, of so many."""
    return client % nodes


def write_post(url: str, path: str, body: bytes) -> bytes:
    """Return a whole HTTP request on a connection that stays open."""
    host = url.removeprefix("http://")
    head = (
        f"POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


async def ask(
    session: aiohttp.ClientSession, method: str, url: str, body: bytes | None = None
) -> tuple[int, bytes]:
    """Return status and body of an answer. Raises `OSError` where none comes within seconds."""
    try:
        headers = {} if body is None else {"Content-Type": "application/json"}
        async with session.request(method, url, data=body, headers=headers, timeout=_SHORT) as got:
            return got.status, await got.read()
    except aiohttp.ClientError as error:
        raise ConnectionError(f"{url}: {error}") from error


def get_body(request: bytes) -> bytes:
    """Return the body of what `write_post` made."""
    return request.partition(b"\r\n\r\n")[2]


async def wait_for_answer(network: Network, node: int, seconds: float = START_SECONDS) -> Head:
    """Return the first head that a node tells after its start. Raises `TimeoutError`."""
    async with asyncio.timeout(seconds):
        while True:
            try:
                return await network.get_head(node)
            except OSError:
                await asyncio.sleep(POLL_SECONDS)


async def wait_final(network: Network, transaction_ids: Iterable[str]) -> None:
    """Return when every node has these in final blocks. Raises `TimeoutError`."""
    async with asyncio.timeout(LIMIT_SECONDS):
        for name in transaction_ids:
            for node in range(len(network.nodes)):
                await _wait_final_at(network, node, name)


async def _wait_final_at(network: Network, node: int, transaction_id: str) -> None:
    while True:
        if await network.is_final(node, transaction_id):
            return
        await asyncio.sleep(POLL_SECONDS)


def _list_processes(pid: int) -> list[int]:
    """Return a process and everything below it."""
    found = [pid]
    for parent in found:
        for path in Path(f"/proc/{parent}/task").glob("*/children"):
            try:
                found += [int(child) for child in path.read_text().split()]
            except FileNotFoundError:
                continue  # A thread that ended meanwhile.
    return found


def _read_cpu(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except FileNotFoundError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / _TICK


def _is_running(pid: int) -> bool:
    """Tell whether a process runs; one that is dead and not yet reaped does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def _send_signal(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return
