"""Four validators as processes, made as `aitbc devnet` makes them, under load and ready to fail."""

import asyncio
import os
import shutil
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Final

import aiohttp
import msgspec

from aitbc.cli.devnet.creation import create_network
from aitbc.cli.devnet.network import Wanted
from aitbc.cli.devnet.processes import adopt_orphans
from aitbc.wallet import Wallet
from genesis.document import Genesis, compute_chain_id, dump_genesis, load_genesis
from ledger.keystore import Keystore
from ledger.quorum import compute_quorum
from node import folder
from tests.e2e.cluster.load import Load
from tests.e2e.cluster.nodes import POLL_SECONDS, ClusterNode, NodeDown
from tests.e2e.cluster.signatures import Signatures
from tests.e2e.cluster.sites import Loopback, Site

VALIDATORS: Final = 4
QUORUM: Final = compute_quorum(VALIDATORS)
SPARE_PLACES: Final = 1
"""Nodes beside the validators: a copy of one, or one more authority."""

LIMIT_SECONDS: Final = 120.0
"""What no wait may take; the bounds are far below, this only ends a run that hangs."""


class Cluster:
    """The nodes by number, their load, and everything that was ever signed or accepted."""

    def __init__(
        self,
        path: Path,
        site: Site,
        session: aiohttp.ClientSession,
        nodes: list[ClusterNode],
        load: Load,
        chain_id: bytes,
    ) -> None:
        self.path = path
        self.site = site
        self.session = session
        self.nodes = nodes
        self.load = load
        self.signatures = Signatures(chain_id)
        self.final_ids: set[str] = set()
        """Every transaction in a block that was checked."""
        self.scanned = 0
        """Up to which height the transactions of blocks were counted."""
        self.checked: dict[str, int] = {}
        """Up to which height each node's blocks were compared."""
        self.block_hashes: dict[int, tuple[str, str]] = {}
        """Hash and state root of every block that was compared."""

    @property
    def running(self) -> list[ClusterNode]:
        """The nodes whose processes are there and not paused."""
        return [node for node in self.nodes if node.is_running]

    async def start(self, *numbers: int) -> float:
        """Start nodes at once; return the moment at which the last of them answered."""
        for number in numbers:
            self.nodes[number].start()
        return await self.wait_answers(*numbers)

    async def wait_answers(self, *numbers: int, count: int | None = None) -> float:
        """Return the moment at which all of the nodes, or so many, had answered."""
        moments = await asyncio.gather(*(self.nodes[number].wait_answer() for number in numbers))
        return sorted(moments)[(count or len(numbers)) - 1]

    async def wait_connected(self, *numbers: int, count: int | None = None) -> float:
        """Return the moment from which so many of these nodes, or all, hear a quorum each.

        By `GET /v1/chain/status`; each counts itself. Raises `TimeoutError`.
        """
        wanted = len(numbers) if count is None else count

        async def are_connected() -> bool:
            found = await asyncio.gather(*(_hears_quorum(self.nodes[each]) for each in numbers))
            return sum(found) >= wanted

        return await wait_until(are_connected)

    async def read_tip(self, *without: int) -> int:
        """Return the highest final block of the running nodes, but for some."""
        heights = [0]
        for number, node in enumerate(self.nodes):
            if node.is_running and number not in without:
                with suppress(NodeDown):
                    heights.append(await node.read_height())
        return max(heights)

    async def wait_block(self, height: int, *numbers: int) -> float:
        """Return the moment at which any of the nodes has a block above a height."""

        async def has_block() -> bool:
            for number in numbers:
                with suppress(NodeDown):
                    if await self.nodes[number].read_height() > height:
                        return True
            return False

        return await wait_until(has_block)

    async def wait_rejoined(self, number: int) -> float:
        """Return the moment at which a node is where the others are."""
        node = self.nodes[number]

        async def is_at_tip() -> bool:
            with suppress(NodeDown):
                own = await node.read_height()
                return own >= await self.read_tip(number)
            return False

        return await wait_until(is_at_tip)

    def add_node(self, name: str, wallet: Wallet, data: Path) -> ClusterNode:
        """Return one more node at the next place, its folder made already; it is not started."""
        node = ClusterNode(name, data, wallet, self.site, len(self.nodes), self.session)
        node.bootstrap = tuple(each.peer_address for each in self.nodes)
        self.nodes.append(node)
        return node

    def open_spare_wallet(self) -> Wallet:
        """Return a key with money that no validator has."""
        return _open_wallet(self.path, "worker-1")


@asynccontextmanager
async def running_cluster(
    path: Path, site: Site | None = None, **parameters: int
) -> AsyncIterator[Cluster]:
    """Make a network in an empty folder and run its validators; `parameters` are its chain's."""
    adopt_orphans()
    network = await asyncio.to_thread(create_network, path, Wanted(VALIDATORS, 1, None))
    genesis = await asyncio.to_thread(_change_parameters, path, parameters)
    chain_id = compute_chain_id(genesis)
    site = site or Loopback(VALIDATORS + SPARE_PLACES)
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector) as session:
        nodes = [
            ClusterNode(
                each.folder,
                path / each.folder,
                _open_wallet(path, f"validator-{number + 1}"),
                site,
                number,
                session,
            )
            for number, each in enumerate(network.nodes)
        ]
        for node in nodes:
            node.bootstrap = tuple(each.peer_address for each in nodes if each is not node)
        wallets = [
            _open_wallet(path, name)
            for name in network.accounts
            if name.startswith(("client", "miner", "operator"))
        ]
        payee, rate = Wallet(os.urandom(32)).address, genesis.parameters.minimum_fee_rate
        load = Load(nodes[:], wallets, payee, chain_id, rate)
        cluster = Cluster(path, site, session, nodes, load, chain_id)
        try:
            await cluster.start(*range(VALIDATORS))
            await cluster.wait_connected(*range(VALIDATORS))
            yield cluster
        finally:
            await load.stop()
            for node in cluster.nodes:
                node.end()


async def wait_until(is_so: Callable[[], Awaitable[bool]], seconds: float = LIMIT_SECONDS) -> float:
    """Return the moment at which something was found to be so. Raises `TimeoutError`."""
    async with asyncio.timeout(seconds):
        while not await is_so():  # noqa: ASYNC110 - it is over HTTP, or in another process
            await asyncio.sleep(POLL_SECONDS)
    return time.perf_counter()


async def _hears_quorum(node: ClusterNode) -> bool:
    try:
        voters = (await node.read_status())["voters"]
    except NodeDown:
        return False
    heard = sum(voter["is_self"] or voter["is_connected"] for voter in voters)
    return bool(heard >= compute_quorum(len(voters)))


def _open_wallet(path: Path, name: str) -> Wallet:
    password = (path / "keys.password").read_bytes().strip()
    return Wallet(Keystore(path / "keys").open(name, password))


def _change_parameters(path: Path, parameters: dict[str, int]) -> Genesis:
    """Return the chain of a network that has not run yet, with these parameters instead."""
    document = path / "genesis.json"
    genesis = load_genesis(document.read_bytes())
    if parameters:
        changed = msgspec.structs.replace(genesis.parameters, **parameters)
        genesis = msgspec.structs.replace(genesis, parameters=changed)
        document.write_bytes(dump_genesis(genesis))
        for number in range(1, VALIDATORS + 1):
            data = path / f"node-{number}"
            shutil.rmtree(data)
            seed = _open_wallet(path, f"validator-{number}").seed
            folder.create_folder(data, document.read_bytes(), seed)
    return genesis
