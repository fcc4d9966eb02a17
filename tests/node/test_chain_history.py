from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from ledger import crypto
from ledger.blocks import Header, compute_header_hash, decode_block
from ledger.entries import AttemptOutcome, Job
from ledger.outcomes import JobSettled, Outcome
from ledger.transactions import JobClaim, JobFail, Transfer
from node.chain_history import ChainHistory
from node.tables import SLOT_BITS
from tests.ledger.world import (
    CLIENT,
    COMMIT,
    MINER,
    RIVAL,
    STRANGER,
    World,
    make_key,
    make_world,
    start_job,
    start_miner,
)
from tests.node.stores import Follower

JOBS = 40
FILLING = 60
INNER, OUTER = 2_000, 2_001
"""Amounts of two leases, the one within the other."""

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture(scope="module")
def world() -> World:
    """A chain on which two miners' claims end in every way, with transfers in between."""
    world = make_world()
    start_miner(world)
    start_miner(world, "beta", RIVAL)
    for number in range(JOBS):
        name, key = (("alpha", MINER), ("beta", RIVAL))[number % 3 == 2]
        job = start_job(world, tag=number + 1)
        assert world.run(key, JobClaim(job, name, COMMIT)).code == 0
        if number % 4 == 0:
            world.produce(gap=12_000)
        elif number % 4 == 1:
            assert world.run(key, JobFail(job, 22_002)).code == 0
        else:
            assert world.run(key, world.settle_payload(job, 1_000 + number)).code == 0
        world.run(STRANGER, Transfer(make_key(number + 50).address, 10**18))
        world.run(CLIENT, Transfer(STRANGER.address, 10))
    # A lease that outlives the one after it, with many segments between its two ends.
    outer, inner = (start_job(world, tag=JOBS + number) for number in (1, 2))
    for job in (outer, inner):
        assert world.run(MINER, JobClaim(job, "alpha", COMMIT)).code == 0
        pay_around(world)
    for job, amount in ((inner, INNER), (outer, OUTER)):
        assert world.run(MINER, world.settle_payload(job, amount)).code == 0
        pay_around(world)
    return world


def pay_around(world: World) -> None:
    payments = (Transfer(make_key(number + 100).address, 10**18) for number in range(FILLING))
    world.produce(*(world.sign(CLIENT, payment) for payment in payments))


@pytest_asyncio.fixture(
    scope="module", loop_scope="module", params=["as written", "after a restart"]
)
async def history(
    request: pytest.FixtureRequest, world: World, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[ChainHistory]:
    """The chain in a store whose index has many small segments, some of them on disk."""
    genesis = World(world.balances, world.rules)
    genesis.raw_blocks = world.raw_blocks
    follower = Follower(tmp_path_factory.mktemp("data"), genesis)
    await follower.follow()
    if request.param == "after a restart":
        await follower.restart()
    yield follower.store.history
    await follower.close()


def get_header(world: World, height: int) -> Header:
    return decode_block(world.raw_blocks[height - 1]).header if height else world.genesis


def list_all(world: World) -> list[tuple[int, int, Outcome]]:
    """Return (height, index, outcome) of every transaction, from the oldest on."""
    found = []
    for height, executed in enumerate(world.executed, 1):
        transactions = [outcome for outcome in executed.outcomes if outcome.fee]
        found += [(height, index, outcome) for index, outcome in enumerate(transactions)]
    return found


async def test_every_transaction_is_found_by_its_id(world: World, history: ChainHistory) -> None:
    everything = list_all(world)
    assert len(everything) > 150
    for height, index, outcome in everything:
        located = await history.find_transaction(outcome.subject)
        assert located is not None
        assert (located.height, located.index, located.outcome) == (height, index, outcome)
    assert await history.find_transaction(bytes(32)) is None


async def test_a_block_is_found_by_its_hash(world: World, history: ChainHistory) -> None:
    for height in (0, 1, 77, world.head.height):
        block_hash = compute_header_hash(get_header(world, height))
        block = await history.find_block(block_hash)
        assert block is not None
        assert (block.hash, block.header) == (block_hash, get_header(world, height))
    assert await history.find_block(bytes(32)) is None


async def test_transactions_are_listed_page_by_page(world: World, history: ChainHistory) -> None:
    listed = []
    before = None
    while page := await history.list_transactions(before, 17):
        assert len(page) <= 17
        listed += page
        before = page[-1].position
    assert [(item.located.height, item.located.outcome) for item in listed] == [
        (height, outcome) for height, _, outcome in reversed(list_all(world))
    ]
    assert all(item.position >> SLOT_BITS == item.located.height for item in listed)


async def test_an_accounts_transactions_are_its_own_and_what_moved_its_money(
    world: World, history: ChainHistory
) -> None:
    listed = []
    before = None
    while page := await history.list_account_transactions(STRANGER.address, before, 9):
        listed += page
        before = page[-1].position
    assert len(listed) == 2 * JOBS
    senders = [crypto.compute_address(item.located.transaction.sender) for item in listed]
    assert senders.count(STRANGER.address) == senders.count(CLIENT.address) == JOBS
    positions = [item.position for item in listed]
    assert positions == sorted(positions, reverse=True)
    miner = await history.list_account_transactions(MINER.address, None, 1_000)
    settled = [
        item
        for item in await history.list_account_transactions(CLIENT.address, None, 1_000)
        if any(isinstance(event, JobSettled) for event in item.located.outcome.events)
    ]
    assert settled
    assert {item.position for item in settled} - {item.position for item in miner}
    assert await history.list_account_transactions(bytes(20), None, 10) == []


async def test_settlements_are_listed_with_their_amounts(
    world: World, history: ChainHistory
) -> None:
    listed = []
    before = None
    while page := await history.list_settlements(before, 3):
        listed += page
        before = page[-1].position
    amounts = [1_000 + number for number in range(JOBS) if number % 4 > 1]
    amounts += [INNER, OUTER]
    assert [item.event.amount for item in listed] == amounts[::-1]
    assert all(item.time > 0 and item.transaction_id for item in listed)


async def test_a_jobs_steps_tell_its_whole_life(world: World, history: ChainHistory) -> None:
    for key, entry in world.state.entries.items():
        if not isinstance(entry, Job):
            continue
        steps = await history.list_job_steps(key[1:])
        names = [type(event).__name__ for step in steps for event in step.outcome.events]
        assert names[:2] == ["JobQueued", "LeaseGranted"]
        assert names[2] == "LeaseEnded"
        assert ("JobSettled" in names) == (entry.settlement is not None)
    assert await history.list_job_steps(bytes(32)) == []


async def test_a_miners_claims_are_numbered_without_gaps_and_all_have_ended(
    world: World, history: ChainHistory
) -> None:
    for name in ("alpha", "beta"):
        miner = world.get_miner(name)
        claims = []
        before = None
        while page := await history.list_claims(name, before, 4):
            claims += page
            before = page[-1].number
        assert [claim.number for claim in claims] == list(range(miner.claims, 0, -1))
        outcomes = [claim.outcome for claim in claims]
        assert outcomes.count(AttemptOutcome.SETTLED) == miner.settled
        assert outcomes.count(AttemptOutcome.LAPSED) == miner.lapsed
        assert outcomes.count(AttemptOutcome.FAILED) == miner.failed
        assert None not in outcomes
        for claim in claims:
            assert (claim.settlement is not None) == (claim.outcome is AttemptOutcome.SETTLED)
            assert claim.ended_height is not None
            assert claim.ended_height > claim.granted_height
    assert await history.list_claims("nobody", None, 10) == []
