"""What a proposer takes, leaves in line and hands back."""

from ledger.transactions import Transfer, VerifiedTransaction
from node.block_builder import Built, Place, build_block
from node.mempool import Mempool
from tests.ledger.world import (
    AIT,
    CLIENT,
    MINER,
    PROPOSER,
    STRANGER,
    Key,
    World,
    make_world,
    start_lease,
)


def enter(world: World, mempool: Mempool, key: Key, verified: VerifiedTransaction) -> None:
    nonce = verified.transaction.nonce
    mempool.reserve(key.address, verified, nonce, 10**15).is_durable = True


def build(world: World, mempool: Mempool, gap: int = 1_000) -> Built:
    place = Place(world.head, world.head.view + 1, world.head.time + gap, PROPOSER.public)
    return build_block(world.state, place, mempool, world.rules)


def test_another_node_agrees_with_the_block() -> None:
    world, mempool = make_world(), Mempool(100)
    for nonce in range(3):
        payload = Transfer(STRANGER.address, AIT)
        enter(world, mempool, CLIENT, world.sign(CLIENT, payload, nonce=nonce))
    built = build(world, mempool)
    assert len(built.transactions) == 3
    assert world.apply(built.block).state_root == built.block.header.state_root


def test_a_settlement_ahead_of_the_block_waits() -> None:
    world, mempool = make_world(), Mempool(100)
    job = start_lease(world)
    payload = world.settle_payload(job, 5, epoch=world.head.time + 2_000)
    enter(world, mempool, MINER, world.sign(MINER, payload))
    early = build(world, mempool, gap=1_000)
    assert (early.transactions, early.unfit) == ((), [])
    assert len(build(world, mempool, gap=2_000).transactions) == 1


def test_what_no_block_can_take_is_handed_back() -> None:
    world, mempool = make_world(), Mempool(100)
    over = world.sign(CLIENT, Transfer(MINER.address, 1), valid_until=world.head.height)
    enter(world, mempool, CLIENT, over)
    built = build(world, mempool)
    assert [each.verified.id for each in built.unfit] == [over.id]
    assert built.transactions == ()


def test_a_false_proof_never_enters_a_block() -> None:
    world, mempool = make_world(), Mempool(100)
    job = start_lease(world)
    payload = world.settle_payload(job, 5)
    forged = world.sign(MINER, type(payload)(job, payload.receipt_commit, 6, 5, payload.proof))
    enter(world, mempool, MINER, forged)
    built = build(world, mempool)
    assert built.transactions == ()
    assert len(built.unfit) == 1
