"""The lines of waiting transactions: no gaps, no promises beyond the balance, nothing lost."""

import pytest

from ledger.rejection import Rejected, Rejection
from ledger.transactions import Transfer, VerifiedTransaction
from node.mempool import MAX_PER_ACCOUNT, Mempool
from tests.ledger.world import CLIENT, MINER, World, make_world

RICH = 10**15


@pytest.fixture
def world() -> World:
    return make_world()


def pay(world: World, nonce: int, fee: int = 10_000, amount: int = 1) -> VerifiedTransaction:
    return world.sign(CLIENT, Transfer(MINER.address, amount), nonce=nonce, fee=fee)


def refuse(mempool: Mempool, verified: VerifiedTransaction, balance: int = RICH) -> Rejection:
    with pytest.raises(Rejected) as caught:
        mempool.reserve(CLIENT.address, verified, 0, balance)
    return caught.value.reason


def test_an_account_stands_in_line_without_gaps(world: World) -> None:
    mempool = Mempool(10)
    for nonce in range(3):
        mempool.reserve(CLIENT.address, pay(world, nonce), 0, RICH)
    assert mempool.get_next_nonce(CLIENT.address, 0) == 3
    assert refuse(mempool, pay(world, 4)) is Rejection.NONCE_GAP
    assert mempool.get_next_nonce(MINER.address, 7) == 7


def test_a_used_nonce_is_refused(world: World) -> None:
    mempool = Mempool(10)
    with pytest.raises(Rejected) as caught:
        mempool.reserve(CLIENT.address, pay(world, 4), 5, RICH)
    assert caught.value.reason is Rejection.NONCE_USED


def test_the_fees_in_line_never_exceed_the_balance(world: World) -> None:
    mempool = Mempool(10)
    mempool.reserve(CLIENT.address, pay(world, 0, fee=600), 0, 1_000)
    assert refuse(mempool, pay(world, 1, fee=600), 1_000) is Rejection.CANNOT_PAY_FEE
    assert len(mempool) == 1


def test_a_higher_fee_replaces_and_a_similar_one_does_not(world: World) -> None:
    mempool = Mempool(10)
    first = mempool.reserve(CLIENT.address, pay(world, 0, fee=1_000), 0, RICH)
    assert refuse(mempool, pay(world, 0, fee=1_099)) is Rejection.REPLACEMENT_UNDERPRICED
    second = mempool.reserve(CLIENT.address, pay(world, 0, fee=1_100), 0, RICH)
    assert not mempool.has(first.verified.id)
    assert mempool.has(second.verified.id)
    assert len(mempool) == 1
    assert mempool.list_overtaken(CLIENT.address, 1) == [second.sequence]
    assert first.is_gone
    assert mempool.take_gone() == [first.sequence]


def test_a_full_pool_refuses_and_takes_again_after_a_block(world: World) -> None:
    mempool = Mempool(2)
    for nonce in range(2):
        mempool.reserve(CLIENT.address, pay(world, nonce), 0, RICH)
    assert refuse(mempool, pay(world, 2)) is Rejection.MEMPOOL_FULL
    mempool.settle_account(CLIENT.address, 1)
    assert mempool.take_gone() == [0]
    mempool.reserve(CLIENT.address, pay(world, 2), 1, RICH)
    assert len(mempool) == 2
    assert MAX_PER_ACCOUNT > 2


def test_removing_one_removes_what_can_no_longer_apply(world: World) -> None:
    mempool = Mempool(10)
    waiting = [mempool.reserve(CLIENT.address, pay(world, nonce), 0, RICH) for nonce in range(4)]
    mempool.remove(waiting[1])
    assert mempool.take_gone() == [1, 2, 3]
    assert mempool.get_next_nonce(CLIENT.address, 0) == 1
    mempool.remove(waiting[2])
    assert mempool.take_gone() == []
    mempool.settle_account(CLIENT.address, 9)
    assert mempool.take_gone() == [0]
    assert (len(mempool), mempool.total_bytes) == (0, 0)


def test_only_durable_ones_are_offered_to_blocks(world: World) -> None:
    mempool = Mempool(10)
    first = mempool.reserve(CLIENT.address, pay(world, 0), 0, RICH)
    mempool.reserve(CLIENT.address, pay(world, 1), 0, RICH)
    assert not mempool.has_durable()
    first.is_durable = True
    assert [each.sequence for each in mempool.iterate_durable()] == [0]


def test_a_restored_line_goes_on_where_it_stood(world: World) -> None:
    mempool = Mempool(10)
    mempool.restore(41, CLIENT.address, pay(world, 0), 0, RICH)
    assert mempool.has_durable()
    assert mempool.reserve(CLIENT.address, pay(world, 1), 0, RICH).sequence == 42
