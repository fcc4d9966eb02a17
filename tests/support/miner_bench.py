"""A whole miner against a contract server and a text endpoint, all in one event loop."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from miner.run import run_miner
from miner.settings import MinerSettings
from tests.support.contract_server import MINER, ContractServer
from tests.support.text_endpoint import TextEndpoint


def make_settings(
    server: ContractServer, endpoint: TextEndpoint, folder: Path, **changed: Any
) -> MinerSettings:
    key_file = folder / "miner.seed"
    if not key_file.exists():
        key_file.write_text(MINER.seed.hex() + "\n")
        key_file.chmod(0o600)
    given = {
        "miner_id": "miner_a",
        "api_urls": [server.url],
        "api_key": "aitbc_miner",
        "key_file": key_file,
        "data_folder": folder / "data",
        "text_endpoint": endpoint.url,
        "text_endpoint_model": "served",
        "kinds": ["llm_inference"],
        "poll_seconds": 1,
        "drain_seconds": 3.0,
        **changed,
    }
    return MinerSettings(**given)


@asynccontextmanager
async def mine(settings: MinerSettings) -> AsyncIterator[asyncio.Task[int]]:
    """Run a miner, and shut it down at the end; its exit code is 0."""
    stop = asyncio.Event()
    running = asyncio.create_task(run_miner(settings, stop))
    try:
        yield running
    finally:
        stop.set()
        assert await running == 0


async def until(holds: Callable[[], object], seconds: float = 30) -> None:
    """Wait until a condition holds."""
    async with asyncio.timeout(seconds):
        while True:
            if holds():
                return
            await asyncio.sleep(0.02)


async def kill(running: asyncio.Task[int]) -> None:
    """End a miner in the middle of whatever it does, without its shutdown."""
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
