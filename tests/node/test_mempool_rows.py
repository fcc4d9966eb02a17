"""Batches of waiting transactions in the database."""

from pathlib import Path

from sqlalchemy import Connection

from ledger.blocks import decode_block
from ledger.transactions import Transfer
from ledger.transition import apply_block
from node import mempool_rows
from node.sqlcipher import get_raw
from tests.ledger.world import AIT, CLIENT, STRANGER, make_world
from tests.node.stores import Follower, create_database, open_database


async def test_batches_survive_in_their_order(tmp_path: Path) -> None:
    database = create_database(tmp_path)
    batches = [[(first, b"one"), (first + 1, b"two")] for first in range(5, 500, 2)]

    def insert(connection: Connection) -> None:
        for batch in batches:
            mempool_rows.insert_batch(connection, batch)

    await database.write(insert)
    gone = [5, 9, 9_999]
    await database.write(lambda connection: mempool_rows.delete_batches(get_raw(connection), gone))
    await database.close()
    database = open_database(tmp_path)
    kept = [batch for batch in batches if batch[0][0] not in gone]
    assert await database.read(mempool_rows.load_batches) == kept
    await database.close()


async def test_a_block_takes_its_batches_with_it(tmp_path: Path) -> None:
    world = make_world()
    follower = Follower(tmp_path, world)
    verified = world.sign(CLIENT, Transfer(STRANGER.address, AIT))

    def insert(connection: Connection) -> None:
        mempool_rows.insert_batch(connection, [(1, verified.raw)])
        mempool_rows.insert_batch(connection, [(2, b"another")])

    await follower.database.write(insert)
    world.produce(verified)
    block = decode_block(world.raw_blocks[0])
    store = follower.store
    executed = apply_block(store.state, store.get_head(), block, [verified], world.rules)
    await store.commit(block, b"", executed.outcomes, executed.changes, [1])
    assert await follower.database.read(mempool_rows.load_batches) == [[(2, b"another")]]
    await follower.close()
