"""A whole node, from the making of its folder on; a client sends transfers and watches the head."""

import asyncio
from pathlib import Path
from typing import Final

from aitbc.wallet import Wallet
from consensus.verification import Committee
from genesis.document import compute_chain_id, dump_genesis
from ledger.blocks import AuthoritySet
from ledger.transactions import Transfer
from node import folder
from node.settings import load_settings
from tests.power.acknowledgements import (
    Accepted,
    Acknowledgement,
    BlockFinal,
    Created,
    Witness,
)
from tests.power.checks import check_chain
from tests.support.node import CLIENT, MINER, NODE, RunningNode, build_genesis, reopened_node

TRANSFERS: Final = 150
SHORT: Final = 10
PRICE: Final = 12_345
"""A setting that the folder's maker chose: it is as durable as the rest."""


async def run(root: Path, variant: str) -> None:
    """Make a folder, run a node on it under load, and stop it."""
    assert variant in ("whole", "short")
    witness = Witness(root)
    genesis = build_genesis()
    data, config = root / "node", {"price_per_token_base": PRICE}
    await asyncio.to_thread(
        folder.create_folder, data, dump_genesis(genesis), NODE.seed, config=config
    )
    witness.tell(Created())
    async with reopened_node(data, genesis) as node:
        watch = asyncio.create_task(_watch(node, witness))
        count = TRANSFERS if variant == "whole" else SHORT
        await asyncio.gather(*(_send(node, witness, each, count) for each in (CLIENT, MINER)))
        watch.cancel()


def check(image: Path, acknowledged: list[Acknowledgement]) -> None:
    """Open an image. Raises what the shipped code raises, and `AssertionError`."""
    data = image / "node"
    try:
        genesis = folder.open_genesis(data)
    except folder.FolderRefused:
        # It says so itself where it is not whole yet; nobody was told that it is.
        assert not acknowledged, "the folder is gone"
        return
    settings = load_settings(data=data)
    assert settings.price_per_token_base == PRICE
    if len(acknowledged) < 2:
        # Opening the key takes a tenth of a second; later cuts find nothing new in it.
        assert folder.open_seed(settings) == NODE.seed
    committee = Committee(compute_chain_id(genesis), AuthoritySet(0, genesis.authorities))
    database = folder.open_database(settings, genesis)
    try:
        check_chain(database, committee, data / "journal.bin", NODE.seed, acknowledged)
    finally:
        database.close_now()


async def _send(node: RunningNode, witness: Witness, sender: Wallet, count: int) -> None:
    for amount in range(1, count + 1):
        signed = node.sign(sender, Transfer(NODE.address, amount))
        reply = await node.post("/v1/transactions", {"raw": signed.raw.hex()})
        assert reply.status == 202, reply
        witness.tell(Accepted(signed.id))
        await asyncio.sleep(0.004)


async def _watch(node: RunningNode, witness: Witness) -> None:
    known = 0
    while True:
        status = await node.read("/v1/chain/status")
        if status["height"] > known:
            known = status["height"]
            witness.tell(BlockFinal(known, bytes.fromhex(status["hash"])))
        await asyncio.sleep(0.002)
