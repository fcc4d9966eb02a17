"""Which rows of the mempool go when: with the last of their transactions, and not before."""

from pathlib import Path

from ledger.transactions import Transfer
from node import mempool_rows
from node.mempool import Mempool, Waiting
from node.mempool_journal import DatabaseJournal, MemoryJournal
from tests.ledger.world import CHAIN, CLIENT, MINER, World, make_world
from tests.node.stores import create_database

RICH = 10**15


def reserve(world: World, mempool: Mempool, nonce: int, fee: int = 10_000) -> Waiting:
    verified = world.sign(CLIENT, Transfer(MINER.address, 1), nonce=nonce, fee=fee)
    return mempool.reserve(CLIENT.address, verified, 0, RICH)


async def test_a_batch_goes_with_its_last_transaction(tmp_path: Path) -> None:
    world, mempool = make_world(), Mempool(10)
    database = create_database(tmp_path)
    journal = DatabaseJournal(database)
    await journal.append([reserve(world, mempool, nonce) for nonce in range(3)])
    assert journal.take_finished([0, 1]) == []
    assert journal.take_finished([2]) == [0]
    assert journal.take_finished([2]) == []
    await database.close()


async def test_one_that_was_replaced_before_it_was_durable_leaves_no_row(tmp_path: Path) -> None:
    world, mempool = make_world(), Mempool(10)
    database = create_database(tmp_path)
    journal = DatabaseJournal(database)
    first = reserve(world, mempool, 0)
    reserve(world, mempool, 0, fee=20_000)
    await journal.append([first])
    assert journal.take_finished(mempool.take_gone()) == [0]
    await database.close()


async def test_after_a_restart_the_same_ones_wait_and_the_used_ones_go(tmp_path: Path) -> None:
    world, mempool = make_world(), Mempool(10)
    database = create_database(tmp_path)
    await DatabaseJournal(database).append([reserve(world, mempool, n) for n in range(3)])
    # The first of them became final in the meantime.
    world.run(CLIENT, Transfer(MINER.address, 1))
    again, journal = Mempool(10), DatabaseJournal(database)
    assert journal.load(again, world.state, CHAIN) == 2
    assert [each.sequence for each in again.iterate_durable()] == [1, 2]
    assert journal.take_finished([1, 2]) == [0]
    assert len(await database.read(mempool_rows.load_batches)) == 1
    await database.close()


async def test_the_memory_setting_keeps_nothing() -> None:
    world, mempool = make_world(), Mempool(10)
    journal = MemoryJournal()
    await journal.append([reserve(world, mempool, 0)])
    assert journal.take_finished([0]) == []
