from pathlib import Path

from ledger.blocks import decode_block
from ledger.transactions import Transfer
from ledger.transition import apply_block
from node import mempool_rows
from tests.ledger.world import AIT, CLIENT, STRANGER, make_world
from tests.node.stores import Follower, create_database, open_database


async def test_waiting_transactions_survive_in_their_order(tmp_path: Path) -> None:
    database = create_database(tmp_path)
    rows = [(number, b"transaction %d" % number) for number in range(5, 500)]
    await database.write(lambda connection: mempool_rows.insert_rows(connection, rows))
    await database.write(lambda connection: mempool_rows.remove_rows(connection, [5, 7, 9_999]))
    await database.close()
    database = open_database(tmp_path)
    kept = [row for row in rows if row[0] not in (5, 7)]
    assert await database.read(mempool_rows.load_rows) == kept
    await database.close()


async def test_a_block_takes_its_rows_with_it(tmp_path: Path) -> None:
    world = make_world()
    follower = Follower(tmp_path, world)
    verified = world.sign(CLIENT, Transfer(STRANGER.address, AIT))
    rows = [(1, verified.raw), (2, b"another")]
    await follower.database.write(lambda connection: mempool_rows.insert_rows(connection, rows))
    world.produce(verified)
    block = decode_block(world.raw_blocks[0])
    store = follower.store
    executed = apply_block(store.state, store.get_head(), block, [verified], world.rules)
    await store.commit(block, b"", executed.outcomes, executed.changes, [1])
    assert await follower.database.read(mempool_rows.load_rows) == [(2, b"another")]
    await follower.close()
