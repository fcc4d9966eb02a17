"""Nodes that went back or began with a snapshot, among others: they catch up and go on."""

import asyncio
from pathlib import Path

import pytest

from genesis.document import compute_chain_id
from ledger.transactions import Transfer
from node import folder
from node.rollback import roll_back
from node.settings import load_settings
from node.snapshot import create
from node.snapshot_restore import restore
from tests.support.cluster import Cluster, running_cluster
from tests.support.node import CLIENT, MINER

pytestmark = pytest.mark.slow


async def pay(cluster: Cluster, number: int, count: int = 1) -> int:
    """Send transfers to a node, one after the other; return the height of the last one's block."""
    height = 0
    for _ in range(count):
        sent = await cluster.apis[number].send(CLIENT, Transfer(MINER.address, 5))
        height = sent["height"]
    return height


async def read_hashes(cluster: Cluster, number: int, first: int, last: int) -> list[str]:
    node = cluster.apis[number]
    return [
        (await node.read(f"/explorer/blocks/{height}"))["hash"] for height in range(first, last + 1)
    ]


async def go_back(cluster: Cluster, number: int, height: int) -> None:
    node = cluster.nodes[number]
    settings, key = load_settings(data=node.data), node.wallet.public_key
    done = await asyncio.to_thread(roll_back, settings, cluster.genesis, key, height)
    assert done.head.height == height


async def take_snapshot(cluster: Cluster, number: int, destination: Path) -> int:
    """Take a snapshot of a node that runs; return its height."""
    settings = load_settings(data=cluster.nodes[number].data)
    key, chain_id = folder.find_database_key(settings), compute_chain_id(cluster.genesis)
    made = await asyncio.to_thread(
        create, settings.get_database_path(), key, chain_id, destination, is_dev=True
    )
    return made.height


async def check_that_it_votes(cluster: Cluster, number: int) -> None:
    """Without the given one there is no quorum now, and yet blocks become final."""
    await cluster.stop(2)
    height = await pay(cluster, 0, 3)
    await cluster.wait_height(height, 0, 1, number)
    heights = {number: await read_hashes(cluster, number, height, height) for number in (0, number)}
    assert len({tuple(each) for each in heights.values()}) == 1


async def test_an_authority_that_went_back_fetches_the_same_blocks_and_votes(
    tmp_path: Path,
) -> None:
    async with running_cluster(tmp_path, 4) as cluster:
        height = await pay(cluster, 0, 12)
        await cluster.wait_height(height, 0, 1, 2, 3)
        before = await read_hashes(cluster, 3, 0, height)
        await cluster.stop(3)
        await pay(cluster, 0, 3)
        await go_back(cluster, 3, 2)
        await cluster.start(3)
        await cluster.wait_height(height + 1, 3)
        assert await read_hashes(cluster, 3, 0, height) == before
        await check_that_it_votes(cluster, 3)


async def test_when_all_went_back_the_chain_is_the_very_same(tmp_path: Path) -> None:
    """The journals hold every vote that made the dropped blocks final: no others can be made."""
    async with running_cluster(tmp_path, 4) as cluster:
        height = await pay(cluster, 0, 8)
        await cluster.wait_height(height, 0, 1, 2, 3)
        before = await read_hashes(cluster, 0, 0, height)
        await cluster.stop(0, 1, 2, 3)
        for number in range(4):
            await go_back(cluster, number, 1)
        await cluster.start(0, 1, 2, 3)
        await cluster.wait_height(height, 0, 1, 2, 3)
        for number in range(4):
            assert await read_hashes(cluster, number, 0, height) == before
        await cluster.wait_height(await pay(cluster, 1), 0, 1, 2, 3)


async def test_a_node_that_began_with_a_snapshot_fetches_what_came_after_it(
    tmp_path: Path,
) -> None:
    async with running_cluster(tmp_path, 4, observers=1) as cluster:
        await pay(cluster, 0, 6)
        base = await take_snapshot(cluster, 0, tmp_path / "snapshot")
        height = await pay(cluster, 0, 4)
        await cluster.stop(4)
        node = cluster.nodes[4]
        node.wipe()
        restored = await asyncio.to_thread(
            restore, load_settings(data=node.data), cluster.genesis, tmp_path / "snapshot"
        )
        assert restored.height == base
        await cluster.start(4)
        await cluster.wait_height(height, 4)
        gone = await cluster.apis[4].get(f"/explorer/blocks/{base - 1}")
        assert gone.status == 410
        expected = await read_hashes(cluster, 0, base, height)
        assert await read_hashes(cluster, 4, base, height) == expected
        # What it accepts reaches the authorities, and it follows on.
        await cluster.wait_height(await pay(cluster, 4), 0, 1, 2, 3, 4)
