import pytest

from ledger.entries import Miner
from ledger.rejection import Rejection
from ledger.state import get_totals
from ledger.transactions import JobCancel, JobClaim, MinerExit, MinerRegister, MinerUpdate
from tests.ledger.world import (
    AIT,
    CLIENT,
    COMMIT,
    MINER,
    RIVAL,
    make_register,
    make_world,
    start_job,
    start_lease,
    start_miner,
)

KEY = bytes(range(32))


def test_registering_locks_the_bond() -> None:
    world = make_world()
    outcome = world.run(MINER, make_register(bond=20 * AIT))
    assert world.get_balance(MINER) == 980 * AIT - outcome.fee
    assert world.get_miner() == Miner(
        owner=MINER.address,
        encryption_key=KEY,
        metadata=b"{}",
        bond=20 * AIT,
        is_active=True,
        registered_at=world.head.time,
    )
    totals = get_totals(world.state)
    assert (totals.bonds, totals.miners) == (20 * AIT, 1)


@pytest.mark.parametrize(
    ("bond", "reason"),
    [
        (0, Rejection.BOND_TOO_LOW),
        (10 * AIT - 1, Rejection.BOND_TOO_LOW),
        (1_000 * AIT, Rejection.INSUFFICIENT_BALANCE),
        (2**63 - 1, Rejection.INSUFFICIENT_BALANCE),
    ],
)
def test_a_bond_that_is_not_taken(bond: int, reason: Rejection) -> None:
    world = make_world()
    assert world.run(MINER, make_register(bond=bond)).code == reason
    assert get_totals(world.state).miners == 0


def test_a_name_belongs_to_its_first_owner_for_ever() -> None:
    world = make_world()
    start_miner(world)
    assert world.run(RIVAL, make_register()).code == Rejection.MINER_ID_TAKEN
    assert world.run(MINER, make_register()).code == Rejection.MINER_ALREADY_ACTIVE
    assert world.run(MINER, MinerExit("alpha")).code == 0
    assert world.run(RIVAL, make_register()).code == Rejection.MINER_ID_TAKEN


def test_the_first_registration_of_a_block_has_the_name() -> None:
    world = make_world()
    outcomes = world.produce(world.sign(RIVAL, make_register()), world.sign(MINER, make_register()))
    assert [outcome.code for outcome in outcomes] == [0, Rejection.MINER_ID_TAKEN]
    assert world.get_miner().owner == RIVAL.address


def test_an_update_replaces_key_and_metadata_and_adds_to_the_bond() -> None:
    world = make_world()
    start_miner(world)
    assert world.run(MINER, MinerUpdate("alpha", bytes(32), b"new", AIT)).code == 0
    miner = world.get_miner()
    assert (miner.encryption_key, miner.metadata, miner.bond) == (bytes(32), b"new", 21 * AIT)
    for key, payload, reason in (
        (RIVAL, MinerUpdate("alpha", KEY, b"", 0), Rejection.MINER_NOT_OWNED),
        (MINER, MinerUpdate("beta", KEY, b"", 0), Rejection.MINER_UNKNOWN),
        (MINER, MinerUpdate("alpha", KEY, b"", 2**63 - 1), Rejection.INSUFFICIENT_BALANCE),
    ):
        assert world.run(key, payload).code == reason


def test_an_exit_returns_the_bond() -> None:
    world = make_world()
    start_miner(world)
    before = world.get_balance(MINER)
    outcome = world.run(MINER, MinerExit("alpha"))
    assert world.get_balance(MINER) == before + 20 * AIT - outcome.fee
    assert (world.get_miner().bond, world.get_miner().is_active) == (0, False)
    totals = get_totals(world.state)
    assert (totals.bonds, totals.miners) == (0, 0)
    for payload in (MinerExit("alpha"), MinerUpdate("alpha", KEY, b"", AIT)):
        assert world.run(MINER, payload).code == Rejection.MINER_NOT_ACTIVE


def test_no_exit_while_a_lease_is_live() -> None:
    world = make_world()
    job = start_lease(world)
    assert world.run(MINER, MinerExit("alpha")).code == Rejection.MINER_HAS_LEASES
    world.run(CLIENT, JobCancel(job))
    assert world.run(MINER, MinerExit("alpha")).code == Rejection.MINER_HAS_LEASES
    assert world.run(MINER, world.settle_payload(job, 1)).code == 0
    assert world.run(MINER, MinerExit("alpha")).code == 0


def test_a_return_keeps_the_history_and_the_count_of_claims() -> None:
    world = make_world()
    job = start_lease(world)
    world.run(MINER, world.settle_payload(job, 1_000))
    first = world.get_miner()
    world.run(MINER, MinerExit("alpha"))
    assert world.run(MINER, MinerRegister("alpha", bytes(32), b"", 10 * AIT)).code == 0
    miner = world.get_miner()
    assert (miner.claims, miner.settled, miner.earned) == (1, 1, first.earned)
    assert (miner.registered_at, miner.encryption_key) == (first.registered_at, bytes(32))
    other = start_job(world, tag=2)
    world.run(MINER, JobClaim(other, "alpha", COMMIT))
    lease = world.get_job(other).lease
    assert lease is not None and lease.number == 2


def test_one_owner_may_have_several_names() -> None:
    world = make_world()
    start_miner(world, "alpha")
    start_miner(world, "beta")
    assert world.get_miner("alpha").owner == world.get_miner("beta").owner
    assert get_totals(world.state).miners == 2
