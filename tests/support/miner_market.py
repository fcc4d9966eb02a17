"""A node as it runs, a client with money, and the settings of a miner that is yet to be started."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

from aitbc.cli.devnet.creation import KeyDesk
from aitbc.client import AsyncAITBCClient
from coordinator.principals import Role
from genesis.document import dump_genesis
from miner.settings import MinerSettings
from node import folder
from tests.support.node import CLIENT, MINER, NODE, RunningNode, build_genesis, reopened_node


class Market(NamedTuple):
    """A node with a client's key, and the settings of a miner for it."""

    node: RunningNode
    client: AsyncAITBCClient
    settings: MinerSettings
    client_key: str


@asynccontextmanager
async def open_market(path: Path, **changed: Any) -> AsyncIterator[Market]:
    """Run a node; `changed` are settings of the miner, which is for the test to start."""
    genesis, data = build_genesis(), path / "node"
    await asyncio.to_thread(folder.create_folder, data, dump_genesis(genesis), NODE.seed)
    client_key, miner_key = await asyncio.to_thread(_make_keys, data)
    key_file = path / "miner.seed"
    key_file.write_text(MINER.seed.hex())
    key_file.chmod(0o600)
    async with reopened_node(data, genesis) as node:
        settings = MinerSettings(
            **{
                "miner_id": "miner_a",
                "api_urls": [node.url],
                "api_key": miner_key,
                "key_file": key_file,
                "data_folder": path / "miner",
                "context_tokens": 512,
                "kinds": ["llm_inference"],
                "poll_seconds": 1,
                **changed,
            }
        )
        async with AsyncAITBCClient(node.url, client_key) as client:
            yield Market(node, client, settings, client_key)


def _make_keys(data: Path) -> tuple[str, str]:
    desk = KeyDesk(data, NODE.seed)
    try:
        client = desk.make_custodial_key(CLIENT.seed, Role.CLIENT)
        return client, desk.make_key(MINER.address, Role.MINER)
    finally:
        desk.database.close_now()
