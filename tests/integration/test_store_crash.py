"""The store killed at any moment: a block is whole or absent, an acknowledged one is there."""

import asyncio
import random
import time
from pathlib import Path
from typing import Any

import pytest

from ledger.blocks import decode_block
from ledger.transactions import Transfer
from node import mempool_rows
from tests.ledger.world import CLIENT, World, make_key, make_world
from tests.node.killed import start_child
from tests.node.stores import (
    Follower,
    compute_whole_root,
    create_database,
    open_database,
    open_store,
)

KILLS = 12
BLOCKS = 60
PER_BLOCK = 40


def make_chain() -> World:
    world = make_world()
    for number in range(BLOCKS):
        world.produce(
            *(
                world.sign(CLIENT, Transfer(make_key(100 + number * 7 + index).address, 1 + index))
                for index in range(PER_BLOCK)
            )
        )
    return world


def commit_blocks(pipe: Any, folder: Path, world: World) -> None:
    """Commit a chain block by block and tell each height once it is durable."""

    async def run() -> None:
        genesis = World(world.balances, world.rules)
        follower = Follower(folder, genesis)
        pipe.send("genesis")
        for raw in world.raw_blocks:
            genesis.raw_blocks.append(raw)
            await follower.follow()
            pipe.send(follower.store.get_head().height)

    asyncio.run(run())


def drain(pipe: Any) -> list[Any]:
    received = []
    try:
        while pipe.poll(0):
            received.append(pipe.recv())
    except EOFError:
        pass
    return received


@pytest.mark.slow
def test_killed_while_it_commits_no_block_is_half_there(tmp_path: Path) -> None:
    world = make_chain()
    without_proof = World(world.balances, make_world().rules)
    without_proof.raw_blocks = world.raw_blocks
    draw = random.Random(3)
    heights = []
    for kill in range(KILLS):
        folder = tmp_path / str(kill)
        folder.mkdir()
        child, pipe = start_child(commit_blocks, folder, without_proof)
        assert pipe.recv() == "genesis"
        time.sleep(draw.random() * 0.5)
        child.kill()
        child.join()
        acknowledged = max([0, *drain(pipe)])
        heights.append(acknowledged)
        check_whole(folder, world, acknowledged)
    assert len(set(heights)) > KILLS // 3, heights
    assert max(heights) > 0


def check_whole(folder: Path, world: World, acknowledged: int) -> None:
    database = open_database(folder)
    store = open_store(database)
    head = store.get_head()
    assert acknowledged <= head.height <= acknowledged + 1
    stored = list(store.iterate_blocks())
    assert [block.header.height for block in stored] == list(range(head.height + 1))
    for block, raw in zip(stored[1:], world.raw_blocks, strict=False):
        original = decode_block(raw)
        assert (block.header, block.transactions) == (original.header, original.transactions)
        assert len(block.outcomes) == PER_BLOCK
        assert block.certificate == b"proof"
    assert compute_whole_root(store.state) == head.state_root
    if head.height:
        located = asyncio.run(store.history.find_transaction(stored[-1].transaction_ids[-1]))
        assert located is not None
        assert located.height == head.height
    store.close()
    database.close_now()


def append_rows(pipe: Any, folder: Path) -> None:
    """Let many callers append mempool rows at once and tell each sequence that is durable."""

    async def append(database: Any, sequence: int) -> None:
        rows = [(sequence, b"transaction %d" % sequence)]
        await database.write(lambda connection: mempool_rows.insert_batch(connection, rows))
        pipe.send(sequence)

    async def run() -> None:
        database = create_database(folder)
        pipe.send("created")
        for first in range(0, 100_000, 50):
            await asyncio.gather(*(append(database, first + index) for index in range(50)))

    asyncio.run(run())


def test_killed_while_transactions_arrive_every_accepted_one_is_there(tmp_path: Path) -> None:
    draw = random.Random(4)
    for kill in range(KILLS):
        folder = tmp_path / str(kill)
        folder.mkdir()
        child, pipe = start_child(append_rows, folder)
        assert pipe.recv() == "created"
        deadline = time.monotonic() + draw.random() * 0.3
        accepted = []
        while time.monotonic() < deadline:
            accepted += drain(pipe)
        child.kill()
        child.join()
        accepted += drain(pipe)
        database = open_database(folder)
        rows = [row for batch in database.read_now(mempool_rows.load_batches) for row in batch]
        assert set(accepted) <= {sequence for sequence, _ in rows}
        assert all(raw == b"transaction %d" % sequence for sequence, raw in rows)
        database.close_now()


def test_killed_while_it_is_created_there_is_no_half_database(tmp_path: Path) -> None:
    draw = random.Random(5)
    for kill in range(KILLS):
        folder = tmp_path / str(kill)
        folder.mkdir()
        child, _ = start_child(append_rows, folder)
        time.sleep(draw.random() * 0.05)
        child.kill()
        child.join()
        if (folder / "node.db").exists():
            open_database(folder).close_now()
            continue
        create_database(folder).close_now()
        assert [path.name for path in folder.iterdir()] == ["node.db"]
