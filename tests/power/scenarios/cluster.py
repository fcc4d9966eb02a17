"""Four authorities of one chain lose their power at once, whatever each of them just did.

The shipped composition of each, connected in memory; a signature has left when it is handed to the
network.
"""

import asyncio
from pathlib import Path
from typing import Final

import aiohttp
import msgspec

from consensus.messages import Proposal, Vote, decode_message
from consensus.verification import Committee
from genesis.document import compute_chain_id, dump_genesis
from ledger.blocks import Authority, AuthoritySet, Block
from ledger.transactions import Transfer
from node import folder
from node.settings import load_settings
from p2p.interface import Channel
from tests.power.acknowledgements import (
    Accepted,
    Acknowledgement,
    BlockFinal,
    Created,
    Left,
    Witness,
)
from tests.power.checks import check_chain
from tests.support.cluster import WALLETS, Cluster, ClusterNode
from tests.support.network import Endpoint, Hub
from tests.support.node import CLIENT, MINER, build_genesis

AUTHORITIES: Final = WALLETS[:4]
TRANSFERS: Final = 30


class WitnessedHub(Hub):
    """A network on which it is noted what every authority says in its own name."""

    def __init__(self, witness: Witness) -> None:
        super().__init__()
        self._witness = witness

    def make(self, key: bytes) -> Endpoint:
        return WitnessedEndpoint(self, key, self._witness)


class WitnessedEndpoint(Endpoint):
    """One authority's way out."""

    def __init__(self, hub: Hub, key: bytes, witness: Witness) -> None:
        super().__init__(hub, key)
        self._node = _find_number(key)
        self._witness = witness
        self._told: set[bytes] = set()

    def send(self, session: int, channel: Channel, data: bytes) -> bool:
        if channel in (Channel.VOTES, Channel.BLOCKS) and data not in self._told:
            match decode_message(data):
                case Vote(signer=signer) if signer == self._node:
                    self._tell(data)
                case Proposal(block=Block(header=header)) if header.proposer == self.key:
                    self._tell(data)
                case _:
                    pass
        return super().send(session, channel, data)

    def _tell(self, data: bytes) -> None:
        self._told.add(data)
        self._witness.tell(Left(data, self._node))


async def run(root: Path, variant: str) -> None:
    """Make the folders, run all on them under load, and stop them one after the other."""
    assert variant == "whole"
    witness = Witness(root)
    genesis = msgspec.structs.replace(
        build_genesis(round_trip_bound=100),
        authorities=tuple(Authority(each.public_key, each.address) for each in AUTHORITIES),
    )
    hub = WitnessedHub(witness)
    nodes = []
    for number, wallet in enumerate(AUTHORITIES):
        data = root / str(number)
        await asyncio.to_thread(folder.create_folder, data, dump_genesis(genesis), wallet.seed)
        nodes.append(ClusterNode(data, wallet, genesis, hub))
    witness.tell(Created())
    async with aiohttp.ClientSession() as session:
        cluster = Cluster(nodes, hub, session, genesis)
        await cluster.start(*range(len(nodes)))
        watches = [
            asyncio.create_task(_watch(cluster, number, witness)) for number in range(len(nodes))
        ]
        await asyncio.gather(_send(cluster, 0, witness), _send(cluster, 1, witness))
        for watch in watches:
            watch.cancel()
        await cluster.stop(*range(len(nodes)))


def check(image: Path, acknowledged: list[Acknowledgement]) -> None:
    """Open all four. Raises what the shipped code raises, and `AssertionError`."""
    if not acknowledged:
        return
    chains = []
    for number, wallet in enumerate(AUTHORITIES):
        told = [each for each in acknowledged if getattr(each, "node", number) == number]
        chains.append(_check_node(image / str(number), wallet.seed, told))
    longest = max(chains, key=len)
    assert all(chain == longest[: len(chain)] for chain in chains), "two chains"


def _check_node(data: Path, seed: bytes, acknowledged: list[Acknowledgement]) -> list[bytes]:
    settings, genesis = load_settings(data=data), folder.open_genesis(data)
    committee = Committee(compute_chain_id(genesis), AuthoritySet(0, genesis.authorities))
    database = folder.open_database(settings, genesis)
    try:
        return check_chain(database, committee, data / "journal.bin", seed, acknowledged)
    finally:
        database.close_now()


async def _send(cluster: Cluster, number: int, witness: Witness) -> None:
    node, sender = cluster.apis[number], (CLIENT, MINER)[number]
    for amount in range(1, TRANSFERS + 1):
        signed = node.sign(sender, Transfer(AUTHORITIES[0].address, amount))
        reply = await node.post("/v1/transactions", {"raw": signed.raw.hex()})
        assert reply.status == 202, reply
        witness.tell(Accepted(signed.id, number))
        await asyncio.sleep(0.02)


async def _watch(cluster: Cluster, number: int, witness: Witness) -> None:
    known = 0
    while True:
        status = await cluster.apis[number].read("/v1/chain/status")
        if status["height"] > known:
            known = status["height"]
            witness.tell(BlockFinal(known, bytes.fromhex(status["hash"]), number))
        await asyncio.sleep(0.01)


def _find_number(key: bytes) -> int:
    return next(number for number, each in enumerate(AUTHORITIES) if each.public_key == key)
