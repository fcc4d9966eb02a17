"""A node in a process of its own, as an operator starts it; it can be killed."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp

from aitbc.cli.devnet.ports import find_free_port
from genesis.document import Genesis
from tests.architecture.sources import ROOT
from tests.support.node import RunningNode

START_SECONDS = 60.0


@asynccontextmanager
async def node_process(
    data: Path, genesis: Genesis, log: Path, is_killed: bool = False, port: int | None = None
) -> AsyncIterator[RunningNode]:
    """Run a node on a folder that exists, all it writes going to the end of a file.

    At the end it is told to stop, or with `is_killed` it is not. Without `port` any one will do.
    """
    port = port or find_free_port()
    with log.open("ab") as sink:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "node", "--data", str(data), "--api-port", str(port),
            "--p2p-transport", "none", "--log-level", "debug",
            "--rate-limits", "100000/minute, 100000/hour",
            cwd=ROOT, stdout=sink, stderr=sink,
        )  # fmt: skip
    try:
        async with aiohttp.ClientSession() as session:
            node = RunningNode(f"http://127.0.0.1:{port}", genesis, session)
            await _wait_until_up(node, process, log)
            yield node
    finally:
        if process.returncode is None:
            process.kill() if is_killed else process.terminate()
        await process.wait()


async def _wait_until_up(node: RunningNode, process: asyncio.subprocess.Process, log: Path) -> None:
    async with asyncio.timeout(START_SECONDS):
        while True:
            assert process.returncode is None, await asyncio.to_thread(log.read_text)
            try:
                if (await node.get("/readyz")).status == 200:
                    return
            except aiohttp.ClientConnectionError:
                pass
            await asyncio.sleep(0.1)
