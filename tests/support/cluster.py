"""Several true nodes in this process, on one chain, connected in memory.

The composition root of each is the shipped one; only the transport is the in-memory one.
"""

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import msgspec

from aitbc.cli.devnet.ports import find_free_port
from aitbc.wallet import Wallet
from genesis.document import Allocation, Genesis, dump_genesis
from ledger.blocks import Authority
from node import folder
from node.run import run_node
from node.settings import NodeSettings, load_settings
from tests.support.network import Endpoint, Hub
from tests.support.node import FINAL_SECONDS, FUNDS, RunningNode, build_genesis, wait_ready

WALLETS = tuple(Wallet(bytes([100 + number]) * 32) for number in range(8))
"""The nodes' keys, in the order of the authorities."""


class ClusterNode:
    """One node: its folder, and while it runs its endpoint and its API."""

    def __init__(self, data: Path, wallet: Wallet, genesis: Genesis, hub: Hub) -> None:
        self.data = data
        self.wallet = wallet
        self.genesis = genesis
        self.endpoint: Endpoint | None = None
        self.task: asyncio.Task[None] | None = None
        self._hub = hub

    async def start(self, session: aiohttp.ClientSession, **settings: Any) -> RunningNode:
        """Run the node on its folder until `stop`."""
        port = find_free_port()
        chosen = load_settings(data=self.data, api_port=port, log_level="error", **settings)
        self.task = asyncio.create_task(run_node(chosen, open_network=self._open_network))
        url = f"http://127.0.0.1:{port}"
        await wait_ready(session, url, self.task)
        return RunningNode(url, self.genesis, session)

    async def stop(self) -> None:
        """End the node as a signal would; an error of it is raised here."""
        task, self.task = self.task, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])
            if not task.cancelled():
                task.result()

    def wipe(self) -> None:
        """Lose everything but the key: a new folder for the same chain."""
        shutil.rmtree(self.data)
        folder.create_folder(self.data, dump_genesis(self.genesis), self.wallet.seed)

    def _open_network(self, settings: NodeSettings, chain_id: bytes, seed: bytes) -> Endpoint:
        self.endpoint = self._hub.make(self.wallet.public_key)
        return self.endpoint


class Cluster:
    """Nodes by number; the first `authorities` of them are the chain's."""

    def __init__(
        self, nodes: list[ClusterNode], hub: Hub, session: aiohttp.ClientSession, genesis: Genesis
    ) -> None:
        self.nodes = nodes
        self.hub = hub
        self.session = session
        self.genesis = genesis
        self.apis: dict[int, RunningNode] = {}

    async def start(self, *numbers: int, **settings: Any) -> None:
        """Start nodes, at once."""
        started = await asyncio.gather(
            *(self.nodes[number].start(self.session, **settings) for number in numbers)
        )
        self.apis.update(zip(numbers, started, strict=True))
        for api in self.apis.values():
            api.adopt_nonces(self.apis[min(self.apis)])

    async def stop(self, *numbers: int) -> None:
        """Stop nodes."""
        for number in numbers:
            await self.nodes[number].stop()

    async def wait_height(self, height: int, *numbers: int) -> None:
        """Return once each of the nodes has a final block of this height."""
        async with asyncio.timeout(FINAL_SECONDS):
            for number in numbers:
                while await self.read_height(number) < height:  # noqa: ASYNC110 - it is over HTTP
                    await asyncio.sleep(0.02)

    async def read_height(self, number: int) -> int:
        """Return where a node's chain ends."""
        status = await self.apis[number].read("/v1/chain/status")
        height: int = status["height"]
        return height

    async def read_root(self, number: int, height: int) -> str:
        """Return the state root that a node stores at a height."""
        block = await self.apis[number].read(f"/explorer/blocks/{height}")
        root: str = block["state_root"]
        return root


@asynccontextmanager
async def running_cluster(
    folder_of_all: Path, authorities: int, observers: int = 0, **choices: Any
) -> AsyncIterator[Cluster]:
    """Make the folders of a chain's nodes and run them all; `choices` are its parameters."""
    wallets = WALLETS[: authorities + observers]
    base = build_genesis(round_trip_bound=100, **choices)
    genesis = msgspec.structs.replace(
        base,
        authorities=tuple(
            Authority(wallet.public_key, wallet.address) for wallet in wallets[:authorities]
        ),
        allocations=(
            *base.allocations,
            *(Allocation(wallet.address, FUNDS) for wallet in wallets),
        ),
    )
    hub = Hub()
    nodes = []
    for number, wallet in enumerate(wallets):
        data = folder_of_all / f"node-{number}"
        await asyncio.to_thread(folder.create_folder, data, dump_genesis(genesis), wallet.seed)
        nodes.append(ClusterNode(data, wallet, genesis, hub))
    async with aiohttp.ClientSession() as session:
        cluster = Cluster(nodes, hub, session, genesis)
        try:
            await cluster.start(*range(len(nodes)))
            yield cluster
        finally:
            for node in nodes:
                await node.stop()
