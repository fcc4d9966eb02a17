import msgspec
import pytest

from ledger import settlement
from ledger.context import Rules
from ledger.entries import AttemptOutcome, JobStatus, Settlement
from ledger.outcomes import JobSettled, LeaseEnded
from ledger.parameters import Parameters
from ledger.rejection import Rejection
from ledger.state import get_totals
from ledger.transactions import JobCancel, JobClaim, JobSettle, Transfer
from ledger.types import MAX_AMOUNT
from tests.ledger.world import (
    AIT,
    CHAIN,
    CLIENT,
    COMMIT,
    COORDINATOR,
    MINER,
    OTHER_CHAIN,
    PROOF,
    PROPOSER,
    RECEIPT_COMMIT,
    RIVAL,
    World,
    make_proof,
    make_register,
    make_world,
    start_cancelling,
    start_job,
    start_lease,
    start_miner,
)
from zk.field import R


@pytest.mark.parametrize("amount", [0, 1, 49, 9_999, 123_456_789, AIT])
def test_the_escrow_is_divided_to_the_last_unit(amount: int) -> None:
    world = make_world()
    job = start_lease(world)
    people = (CLIENT, MINER, COORDINATOR, PROPOSER)
    before = {key: world.get_balance(key) for key in people}
    outcome = world.run(MINER, world.settle_payload(job, amount))
    assert outcome.code == 0
    coordinator, network = amount * 500 // 10_000, amount * 200 // 10_000
    payout = amount - coordinator - network
    gains = {key: world.get_balance(key) - before[key] for key in people}
    assert gains == {
        CLIENT: AIT - amount,
        MINER: payout - outcome.fee,
        COORDINATOR: coordinator,
        PROPOSER: network + outcome.fee,
    }
    entry = world.get_job(job)
    assert entry.status is JobStatus.SETTLED
    assert entry.settlement == Settlement(
        RECEIPT_COMMIT, payout, coordinator, network, AIT - amount, world.head.height
    )
    assert outcome.events == (
        LeaseEnded(job, "alpha", 1, AttemptOutcome.SETTLED, 0, 0),
        JobSettled(
            job, "alpha", 1, MINER.address, RECEIPT_COMMIT, amount, payout, coordinator, network,
            AIT - amount,
        ),
    )  # fmt: skip
    totals = get_totals(world.state)
    assert (totals.escrows, totals.settled, totals.volume) == (0, 1, amount)
    miner = world.get_miner()
    assert (miner.earned, miner.live_leases, miner.busy_time) == (payout, 0, 1_000)


def test_one_person_in_every_role_loses_only_the_network_share() -> None:
    world = make_world()
    start_miner(world, "alpha", CLIENT)
    job = start_job(world, coordinator=CLIENT.address)
    world.run(CLIENT, JobClaim(job, "alpha", COMMIT))
    before = world.get_balance(CLIENT)
    outcome = world.run(CLIENT, world.settle_payload(job, AIT))
    assert world.get_balance(CLIENT) == before + AIT - AIT // 50 - outcome.fee


def test_a_settlement_in_the_grace_counts() -> None:
    world = make_world()
    job = start_cancelling(world)
    assert world.run(MINER, world.settle_payload(job, 100)).code == 0
    assert world.get_job(job).status is JobStatus.SETTLED


def test_the_last_millisecond_is_in_time_and_the_next_is_not() -> None:
    world = make_world()
    job = start_lease(world)
    settle = world.sign(MINER, world.settle_payload(job, 100))
    assert world.open(10_000).apply(settle).code == 0
    assert world.produce(settle, gap=10_001)[0].code == Rejection.JOB_NOT_LEASED


def assert_only_the_fee_moved(world: World, key: object, payload: JobSettle, code: int) -> None:
    people = (CLIENT, MINER, RIVAL, COORDINATOR)
    before = {person: world.get_balance(person) for person in people}
    totals = get_totals(world.state)
    sender = next(person for person in people if person == key)
    outcome = world.run(sender, payload, gap=1)
    assert (outcome.code, outcome.events) == (code, ())
    before[sender] -= outcome.fee
    assert {person: world.get_balance(person) for person in people} == before
    after = get_totals(world.state)
    assert (after.escrows, after.bonds) == (totals.escrows, totals.bonds)


def test_settling_twice_pays_once() -> None:
    world = make_world()
    job = start_lease(world)
    payload = world.settle_payload(job, 100)
    first, second = world.sign(MINER, payload), world.sign(MINER, payload)
    codes = [outcome.code for outcome in world.produce(first, second)]
    assert codes == [0, Rejection.JOB_TERMINAL]
    assert_only_the_fee_moved(world, MINER, payload, Rejection.JOB_TERMINAL)


def test_a_copied_settlement_pays_nobody() -> None:
    """Another miner that sees the pending settlement cannot take it, by name or by order."""
    world = make_world()
    job = start_lease(world)
    start_miner(world, "beta", RIVAL)
    payload = world.settle_payload(job, 100)
    copied, own = world.sign(RIVAL, payload), world.sign(MINER, payload)
    codes = [outcome.code for outcome in world.produce(copied, own)]
    assert codes == [Rejection.LEASE_NOT_HELD, 0]
    assert world.get_balance(RIVAL) < 980 * AIT
    job = start_job(world, 2)
    world.run(MINER, JobClaim(job, "alpha", COMMIT))
    assert_only_the_fee_moved(
        world, RIVAL, world.settle_payload(job, 100), Rejection.LEASE_NOT_HELD
    )


def test_a_settlement_of_a_job_that_ended_otherwise_pays_nobody() -> None:
    world = make_world()
    job = start_job(world)
    start_miner(world)
    settle = JobSettle(job, RECEIPT_COMMIT, 100, 0, bytes(192))
    assert_only_the_fee_moved(world, MINER, settle, Rejection.JOB_NOT_LEASED)
    world.run(CLIENT, JobCancel(job))
    assert_only_the_fee_moved(world, MINER, settle, Rejection.JOB_TERMINAL)
    lapsed = start_job(world, 2)
    world.run(MINER, JobClaim(lapsed, "alpha", COMMIT))
    payload = world.settle_payload(lapsed, 100)
    world.produce(gap=10_001)
    assert_only_the_fee_moved(world, MINER, payload, Rejection.JOB_NOT_LEASED)


def test_an_amount_over_the_escrow_is_refused_before_the_proof() -> None:
    world = make_world()
    job = start_lease(world)
    for amount in (AIT + 1, MAX_AMOUNT):
        payload = world.settle_payload(job, amount)
        assert_only_the_fee_moved(world, MINER, payload, Rejection.AMOUNT_OVER_ESCROW)


def test_a_commitment_outside_the_field_is_refused() -> None:
    world = make_world()
    job = start_lease(world)
    receipt = (int.from_bytes(RECEIPT_COMMIT, "big") + R).to_bytes(32, "big")
    payload = JobSettle(job, receipt, 100, 0, bytes(192))
    assert_only_the_fee_moved(world, MINER, payload, Rejection.BAD_FIELD_ELEMENT)


def test_a_proof_serves_its_own_job_lease_payee_amount_and_time() -> None:
    """Each part of a settlement is in the public inputs: change it, and the proof fails."""
    world = make_world()
    job = start_lease(world)
    good = world.settle_payload(job, 100)
    for fields in (
        {"amount": 101},
        {"receipt_commit": (9).to_bytes(32, "big")},
        {"epoch_time": good.epoch_time - 1},
        {"proof": bytes(192)},
    ):
        changed = msgspec.structs.replace(good, **fields)
        assert world.refuse(MINER, changed) is Rejection.BAD_PROOF
    other = start_job(world, 2)
    world.run(MINER, JobClaim(other, "alpha", COMMIT))
    elsewhere = msgspec.structs.replace(good, job=other)
    assert world.refuse(MINER, elsewhere) is Rejection.BAD_PROOF
    assert world.run(MINER, world.settle_payload(job, 100)).code == 0


def test_every_public_input_differs_where_the_settlement_does() -> None:
    world = make_world()
    entry = world.get_job(start_lease(world))
    lease = entry.lease
    assert lease is not None
    payload = JobSettle(bytes(32), RECEIPT_COMMIT, 100, 5, bytes(192))
    replace = msgspec.structs.replace

    def compute(
        chain: bytes = CHAIN, key: bytes = PROOF.key_id, **changed: object
    ) -> tuple[int, ...]:
        return settlement.compute_public_inputs(
            chain,
            key,
            replace(entry, **{k: v for k, v in changed.items() if hasattr(entry, k)}),
            replace(lease, **{k: v for k, v in changed.items() if hasattr(lease, k)}),
            replace(payload, **{k: v for k, v in changed.items() if hasattr(payload, k)}),
        )

    other = (3).to_bytes(32, "big")
    variants = [
        compute(),
        compute(chain=OTHER_CHAIN),
        compute(key=other),
        compute(job=other),
        compute(number=2),
        compute(payee=RIVAL.address),
        compute(claimed_at=lease.claimed_at + 1),
        compute(price_commit=other),
        compute(job_commit=other),
        compute(billing=1),
        compute(receipt_commit=other),
        compute(amount=101),
        compute(epoch_time=6),
    ]
    assert all(len(inputs) == 9 for inputs in variants)
    assert len(set(variants)) == len(variants)
    assert all(0 <= value < R for inputs in variants for value in inputs)


def test_a_proof_of_a_lapsed_lease_does_not_serve_the_next_one() -> None:
    """The same owner claims again under a second name: lease number and claim time are new."""
    world = make_world()
    job = start_lease(world)
    start_miner(world, "beta")
    old = world.settle_payload(job, 100)
    world.produce(gap=9_000)
    world.run(MINER, JobClaim(job, "beta", COMMIT))
    assert world.get_job(job).status is JobStatus.LEASED
    assert world.refuse(MINER, old) is Rejection.BAD_PROOF


def test_another_owner_with_a_lease_of_its_own_cannot_use_the_first_one_s_proof() -> None:
    world = make_world()
    job = start_lease(world)
    start_miner(world, "beta", RIVAL)
    old = world.settle_payload(job, 100)
    world.produce(gap=9_000)
    world.run(RIVAL, JobClaim(job, "beta", COMMIT))
    assert world.get_job(job).status is JobStatus.LEASED
    assert world.refuse(RIVAL, old) is Rejection.BAD_PROOF


def test_a_chain_with_another_key_refuses_the_proof() -> None:
    world = make_world()
    job = start_lease(world)
    payload = world.settle_payload(job, 100)
    proof = msgspec.structs.replace(PROOF, key_id=bytes(32))
    rules = Rules(CHAIN, Parameters(), proof, world.rules.verify_proof)
    entry = world.get_job(job)
    assert entry.lease is not None
    inputs = settlement.compute_public_inputs(CHAIN, proof.key_id, entry, entry.lease, payload)
    assert not rules.verify_proof(inputs, payload.proof)
    assert rules.verify_proof(inputs, make_proof(inputs))


def test_statistics_stop_at_the_largest_amount() -> None:
    """The same money may settle for ever; its sum must not leave the type and stop the chain."""
    half = 2**62 - 1
    world = World({CLIENT: half, MINER: 100 * AIT})
    world.run(MINER, make_register())
    for tag in range(1, 5):
        escrow = world.get_balance(CLIENT) - AIT
        job = start_job(world, tag, escrow=escrow, coordinator=CLIENT.address)
        world.run(MINER, JobClaim(job, "alpha", COMMIT))
        assert world.run(MINER, world.settle_payload(job, escrow)).code == 0
        amount = world.get_balance(MINER) - AIT
        assert world.run(MINER, Transfer(CLIENT.address, amount)).code == 0
    assert world.get_miner().earned == MAX_AMOUNT
    assert get_totals(world.state).volume == MAX_AMOUNT
