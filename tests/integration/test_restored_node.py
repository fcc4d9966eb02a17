"""Nodes that went back, and nodes that began with a snapshot, running."""

import asyncio
import shutil
from pathlib import Path

import pytest

from aitbc.wallet import Wallet
from genesis.document import dump_genesis
from ledger import crypto
from ledger.transactions import Transfer
from node import folder
from node.rollback import roll_back
from node.settings import load_settings
from node.snapshot import create
from node.snapshot_restore import read_base, restore
from node.verify_chain import verify_chain
from tests.node.signed_chain import OpenStore
from tests.support.node import (
    AIT,
    CLIENT,
    FINAL_SECONDS,
    NODE,
    RunningNode,
    build_genesis,
    reopened_node,
)

pytestmark = pytest.mark.slow

STRANGER = Wallet(bytes([77]) * 32)


async def read_hashes(node: RunningNode, first: int, last: int) -> list[str]:
    return [
        (await node.read(f"/explorer/blocks/{height}"))["hash"] for height in range(first, last + 1)
    ]


async def wait_for_height(node: RunningNode, height: int) -> None:
    async with asyncio.timeout(FINAL_SECONDS):
        while True:
            if (await node.read("/v1/chain/status"))["height"] >= height:
                return
            await asyncio.sleep(0.02)


async def test_a_lone_authority_that_went_back_makes_the_very_same_blocks(tmp_path: Path) -> None:
    """Its journal holds every proposal and vote: whatever it signed, it signs again."""
    genesis, data = build_genesis(), tmp_path / "node"
    folder.create_folder(data, dump_genesis(genesis), NODE.seed)
    async with reopened_node(data, genesis) as node:
        for number in range(6):
            await node.send(CLIENT, Transfer(STRANGER.address, AIT + number))
        height = (await node.read("/v1/chain/status"))["height"]
        before = await read_hashes(node, 0, height)
    journal = (data / "journal.bin").read_bytes()
    for target in (height - 1, 2, 0):
        done = roll_back(load_settings(data=data), genesis, NODE.public_key, target)
        assert (done.head.height, done.removed_blocks) == (target, height - target)
        assert (data / "journal.bin").read_bytes() == journal
        async with reopened_node(data, genesis) as node:
            await wait_for_height(node, height)
            assert await read_hashes(node, 0, height) == before
            account = await node.read(f"/v1/accounts/{crypto.format_address(STRANGER.address)}")
            assert account["balance_base"] == str(6 * AIT + 15)
        journal = (data / "journal.bin").read_bytes()
        with OpenStore(data) as store:
            height = store.get_head().height
            before = [block.hash.hex() for block in store.iterate_blocks()]


async def test_a_node_that_began_with_a_snapshot_serves_what_it_has(tmp_path: Path) -> None:
    genesis, old, new = build_genesis(), tmp_path / "old", tmp_path / "new"
    folder.create_folder(old, dump_genesis(genesis), NODE.seed)
    snapshot = tmp_path / "snapshot"
    async with reopened_node(old, genesis) as original:
        await original.register_miner()
        job = await original.settle_job(b"settled".ljust(32, b"\0"))
        waiting, submit, _ = original.build_submit(b"waiting".ljust(32, b"\0"))
        await original.send(CLIENT, submit)
        settings = load_settings(data=old)
        key, chain_id = folder.find_database_key(settings), original.chain_id
        made = create(settings.get_database_path(), key, chain_id, snapshot, is_dev=True)
    shutil.rmtree(old)
    folder.create_folder(new, dump_genesis(genesis), NODE.seed)
    assert restore(load_settings(data=new), genesis, snapshot).height == made.height
    async with reopened_node(new, genesis) as node:
        for height in (0, made.height - 1):
            gone = await node.get(f"/explorer/blocks/{height}")
            assert (gone.status, gone.body["error_code"]) == (410, "BLOCK_NOT_KEPT")
            assert gone.body["base"] == made.height
        first = await node.get("/v1/audit/supply", height=0)
        assert (first.status, first.body["error_code"]) == (410, "BLOCK_NOT_KEPT")
        base = await node.read(f"/explorer/blocks/{made.height}")
        assert (base["hash"], base["finality"] is not None) == (made.block_hash.hex(), True)
        receipt = await node.get(f"/explorer/receipts/job_{job.job.hex()}")
        assert (receipt.status, receipt.body["error_code"]) == (410, "BLOCK_NOT_KEPT")
        assert (await node.read(f"/explorer/jobs/job_{job.job.hex()}"))["status"] == "settled"
        assert (await node.read(f"/explorer/jobs/job_{waiting.hex()}"))["proof"]
        miner = await node.read("/explorer/miners/miner_one")
        assert (miner["claims"], miner["history"]) == (1, [])
        for path in ("/explorer/blocks", "/explorer/transactions", "/explorer/stats"):
            assert await node.read(path)
        node.adopt_nonces(original)
        await node.send(NODE, Transfer(STRANGER.address, AIT))
        await node.settle_job(b"another".ljust(32, b"\0"))
        assert len((await node.read("/explorer/miners/miner_one"))["history"]) == 1
    with OpenStore(new) as store:
        base_height = store.base_height
        report = verify_chain(store, genesis, base=read_base(new, genesis, base_height))
    assert (report.base_height, report.settlements) == (made.height, 1)
