import asyncio
import threading
from functools import partial
from pathlib import Path

import pytest
from sqlalchemy import Connection

from ledger import codec, state_tree
from ledger.blocks import Block, decode_block
from ledger.state import Changes, MemoryState, StateView
from ledger.transactions import JobCancel, JobClaim, Transfer
from ledger.transition import apply_block
from node import block_rows
from node.block_rows import Leaves
from node.chain_store import ChainStore
from node.database_errors import DatabaseDamaged, DatabaseExists, DatabaseStopped, WrongChain
from node.sqlcipher import PAGE_BYTES, get_raw
from tests.ledger.world import (
    CLIENT,
    COMMIT,
    MINER,
    OTHER_CHAIN,
    RIVAL,
    World,
    make_key,
    make_world,
    start_job,
    start_lease,
    start_miner,
)
from tests.node.stores import Follower, create_database, open_database, open_store


def run_business(world: World, rounds: int, start: int = 0) -> None:
    """Extend a world by jobs that settle, fail by time or are cancelled, and transfers between."""
    for number in range(start, start + rounds):
        for index in range(6):
            world.run(CLIENT, Transfer(make_key(1_000 + number * 6 + index).address, 1 + index))
        settled = start_job(world, tag=10 * number + 1)
        world.run(MINER, JobClaim(settled, "alpha", COMMIT))
        assert world.run(MINER, world.settle_payload(settled, 5_000)).code == 0
        start_job(world, tag=10 * number + 2)
        cancelled = start_job(world, tag=10 * number + 3)
        world.run(CLIENT, JobCancel(cancelled))
        if number % 2:
            world.produce(gap=30_000)


async def test_the_store_holds_what_memory_holds_through_restarts(tmp_path: Path) -> None:
    world = make_world()
    follower = Follower(tmp_path, world)
    start_miner(world)
    for number in range(4):
        run_business(world, 3, 3 * number)
        await follower.follow()
        follower.check()
        await follower.restart()
        follower.check()
    await follower.close()


async def test_blocks_are_read_back_as_they_were(tmp_path: Path) -> None:
    world = make_world()
    follower = Follower(tmp_path, world)
    start_lease(world)
    world.produce(gap=40_000)
    await follower.follow()
    blocks = await follower.store.read_blocks(0, 100)
    assert [block.header.height for block in blocks] == list(range(world.head.height + 1))
    assert blocks == list(follower.store.iterate_blocks())
    for block, raw, executed in zip(blocks[1:], world.raw_blocks, world.executed, strict=True):
        assert codec.encode(block.header) in raw
        assert block.outcomes == executed.outcomes
        assert block.certificate == b"proof"
        assert len(block.transaction_ids) == len(block.transactions)
    assert blocks[-1].transactions == ()
    assert blocks[-1].outcomes[0].events != ()
    assert await follower.store.read_block(2) == blocks[2]

    def read_leaves(height: int, connection: Connection) -> Leaves:
        return block_rows.read_leaves(get_raw(connection), height)

    for height, block in enumerate(blocks):
        leaves = await follower.store.database.read(partial(read_leaves, height))
        assert leaves.header == codec.encode(block.header)
        assert leaves.certificate == block.certificate
        assert leaves.transactions == [codec.encode(each) for each in block.transactions]
        assert leaves.outcomes == [codec.encode(each) for each in block.outcomes]
    assert await follower.store.read_block(10_000) is None
    await follower.close()


async def test_an_entry_is_proved_against_the_head(tmp_path: Path) -> None:
    world = make_world()
    follower = Follower(tmp_path, world)
    start_lease(world)
    await follower.follow()
    for key in world.state.entries:
        proved = follower.store.prove_entry(key)
        assert proved is not None
        value, proof, header = proved
        assert header == world.head
        assert state_tree.is_in_state(key, value, proof, header.state_root)
    assert follower.store.prove_entry(b"nothing") is None
    await follower.close()


async def test_a_commit_that_fails_leaves_head_and_state(tmp_path: Path) -> None:
    world = make_world()
    follower = Follower(tmp_path, world)
    start_miner(world)
    await follower.follow()
    head = follower.store.get_head()
    block = (await follower.store.read_blocks(1, 1))[0]
    await follower.database.write(
        lambda connection: connection.exec_driver_sql(
            "create trigger no_more before insert on blocks begin select raise(abort, 'no'); end"
        )
    )
    world.run(RIVAL, Transfer(CLIENT.address, 5))
    with pytest.raises(Exception, match="no"):
        await follower.follow()
    assert follower.store.get_head() == head
    assert block == (await follower.store.read_blocks(1, 1))[0]
    await follower.database.write(
        lambda connection: connection.exec_driver_sql("drop trigger no_more")
    )
    await follower.follow()
    follower.check()
    await follower.close()


async def test_a_block_executed_on_an_overlay_commits_after_its_parent(tmp_path: Path) -> None:
    """A child may be executed before its parent is final; its writes are the same afterwards."""
    world = make_world()
    follower = Follower(tmp_path, world)
    store = follower.store
    for number in range(12):
        world.run(CLIENT, Transfer(make_key(200 + number).address, 5 + number))
    view: StateView = store.state
    parent, ready = store.get_head(), []
    for raw in world.raw_blocks:
        block = decode_block(raw)
        verified = [world.verify(transaction) for transaction in block.transactions]
        executed = apply_block(view, parent, block, verified, world.rules)
        ready.append((block, executed))
        view, parent = executed.changes, block.header
        if len(ready) == 3:
            for each, result in ready[:2]:
                await store.commit(each, b"proof", result.outcomes, result.changes)
            del ready[:2]
    for each, result in ready:
        await store.commit(each, b"proof", result.outcomes, result.changes)
    follower.check()
    await follower.restart()
    follower.check()
    await follower.close()


async def test_a_cancelled_commit_moves_the_head_all_the_same(tmp_path: Path) -> None:
    world = make_world()
    follower = Follower(tmp_path, world)
    started, gate = threading.Event(), threading.Event()

    def wait(_: Connection) -> None:
        started.set()
        gate.wait(10)

    blocked = asyncio.create_task(follower.database.write(wait))
    await asyncio.to_thread(started.wait, 10)
    start_miner(world)
    committing = asyncio.create_task(follower.follow())
    await asyncio.sleep(0.05)
    committing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await committing
    assert follower.store.get_head().height == 0
    gate.set()
    await blocked
    await follower.database.write(lambda _: None)
    await asyncio.sleep(0.01)
    assert follower.store.get_head().height == 1
    follower.check()
    await follower.close()


async def test_a_closed_database_takes_no_block(tmp_path: Path) -> None:
    world = make_world()
    follower = Follower(tmp_path, world)
    start_miner(world)
    await follower.database.close()
    with pytest.raises(DatabaseStopped):
        await follower.follow()
    follower.store.close()


async def test_another_chain_is_refused(tmp_path: Path) -> None:
    follower = Follower(tmp_path, make_world())
    with pytest.raises(WrongChain):
        ChainStore(follower.database, OTHER_CHAIN)
    with pytest.raises(DatabaseExists):
        ChainStore.initialise(
            follower.database, Block(follower.world.genesis, ()), Changes(MemoryState())
        )
    await follower.close()


async def test_a_database_without_a_chain_is_refused(tmp_path: Path) -> None:
    database = create_database(tmp_path)
    with pytest.raises(DatabaseDamaged):
        ChainStore(database, OTHER_CHAIN)
    await database.close()
    reopened = open_database(tmp_path)
    await reopened.close()


async def test_a_damaged_page_is_named_and_not_a_wrong_key(tmp_path: Path) -> None:
    world = make_world()
    follower = Follower(tmp_path, world)
    start_miner(world)
    run_business(world, 3)
    await follower.follow()
    await follower.close()
    path = tmp_path / "node.db"
    whole = path.read_bytes()
    pages = len(whole) // PAGE_BYTES
    named = 0
    for page in range(1, pages):
        damaged = bytearray(whole)
        damaged[page * PAGE_BYTES + 1_000] ^= 1
        path.write_bytes(damaged)
        try:
            database = open_database(tmp_path)
        except DatabaseDamaged:
            named += 1
            continue
        try:
            open_store(database).close()
        except DatabaseDamaged:
            named += 1
        finally:
            await database.close()
    # The others hold history or older state, which a start does not read.
    assert named > 3
    path.write_bytes(whole[:PAGE_BYTES] + bytes(len(whole) - PAGE_BYTES))
    database = open_database(tmp_path)
    with pytest.raises(DatabaseDamaged):
        open_store(database)
    await database.close()


async def test_the_sign_sequence_is_kept_with_the_block(tmp_path: Path) -> None:
    world = make_world()
    follower = Follower(tmp_path, world)
    assert follower.store.read_sign_sequence() == 0
    execution = world.open()
    executed = world.close(execution, [])
    changes = Changes(follower.store.state)
    for key, entry in executed.changes.entries.items():
        changes.put(key, entry)
    assert changes.compute_root() == executed.state_root
    block = decode_block(world.raw_blocks[-1])
    await follower.store.commit(block, b"", (), changes, sign_sequence=42)
    assert follower.store.read_sign_sequence() == 42
    await follower.restart()
    assert follower.store.read_sign_sequence() == 42
    await follower.close()
