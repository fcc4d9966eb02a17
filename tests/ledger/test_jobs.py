from typing import Any

import msgspec
import pytest

from ledger.entries import AttemptOutcome, JobStatus
from ledger.faults import FAULT_TABLE, Reason
from ledger.outcomes import CancelStarted, JobEnded, JobQueued, LeaseEnded, LeaseGranted
from ledger.parameters import Parameters
from ledger.rejection import Rejection
from ledger.state import get_totals
from ledger.transactions import JobCancel, JobClaim, MinerExit, Transfer
from tests.ledger.world import (
    AIT,
    CLIENT,
    COMMIT,
    MINER,
    RIVAL,
    STRANGER,
    World,
    get_job_id,
    make_key,
    make_register,
    make_submit,
    make_world,
    report,
    start_cancelling,
    start_job,
    start_lease,
    start_miner,
)
from zk.field import R


def test_submitting_locks_the_escrow() -> None:
    world = make_world()
    payload = make_submit(world)
    outcome = world.run(CLIENT, payload)
    job_id = get_job_id(CLIENT, payload)
    assert outcome.events == (JobQueued(job_id, CLIENT.address, AIT),)
    assert world.get_balance(CLIENT) == 999 * AIT - outcome.fee
    totals = get_totals(world.state)
    assert (totals.escrows, totals.jobs) == (AIT, 1)
    over = world.run(CLIENT, Transfer(STRANGER.address, 999 * AIT))
    assert over.code == Rejection.INSUFFICIENT_BALANCE


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"escrow": 0}, Rejection.AMOUNT_IS_ZERO),
        ({"escrow": 2_000 * AIT}, Rejection.INSUFFICIENT_BALANCE),
        ({"job_commit": R.to_bytes(32, "big")}, Rejection.BAD_FIELD_ELEMENT),
        ({"queue_deadline": 0}, Rejection.BAD_DEADLINE),
        ({"execution_limit": 0}, Rejection.BAD_DEADLINE),
    ],
)
def test_a_job_that_is_not_taken(fields: dict[str, Any], reason: Rejection) -> None:
    world = make_world()
    assert world.run(CLIENT, make_submit(world, **fields)).code == reason
    assert get_totals(world.state).jobs == 0


def test_the_bounds_of_the_deadlines_are_inclusive() -> None:
    world = make_world()
    longest = world.rules.parameters.maximum_job_duration
    time = world.head.time + 1_000

    def submit(tag: int, queue: int, total: int) -> int:
        payload = make_submit(world, tag, queue_deadline=queue, total_deadline=total)
        return world.open(1_000).apply(world.sign(CLIENT, payload, nonce=0)).code

    assert submit(1, time, time) == 0
    assert submit(2, time, time + longest) == 0
    assert submit(3, time - 1, time) == Rejection.BAD_DEADLINE
    assert submit(4, time + 1, time) == Rejection.BAD_DEADLINE
    assert submit(5, time, time + longest + 1) == Rejection.BAD_DEADLINE


def test_one_tag_makes_one_job_and_locks_once_for_ever() -> None:
    world = make_world()
    payload = make_submit(world)
    first, second = world.sign(CLIENT, payload), world.sign(CLIENT, payload)
    codes = [outcome.code for outcome in world.produce(first, second)]
    assert codes == [0, Rejection.JOB_EXISTS]
    assert world.run(CLIENT, JobCancel(get_job_id(CLIENT, payload))).code == 0
    assert world.run(CLIENT, make_submit(world)).code == Rejection.JOB_EXISTS
    assert world.run(STRANGER, make_submit(world)).code == 0


def test_fifty_claims_are_one_lease() -> None:
    miners = [make_key(200 + number) for number in range(50)]
    world = World({CLIENT: 100 * AIT, **dict.fromkeys(miners, 100 * AIT)})
    world.produce(
        *(world.sign(key, make_register(f"m{number}")) for number, key in enumerate(miners))
    )
    job = start_job(world)
    claims = [
        world.sign(key, JobClaim(job, f"m{number}", COMMIT)) for number, key in enumerate(miners)
    ]
    outcomes = world.produce(*claims)
    assert [outcome.code for outcome in outcomes] == [0] + [Rejection.JOB_NOT_QUEUED] * 49
    lease = world.get_job(job).lease
    assert lease is not None
    assert (lease.miner, lease.number, lease.payee) == ("m0", 1, miners[0].address)
    assert lease.claimed_at == world.head.time
    assert outcomes[0].events == (
        LeaseGranted(job, "m0", 1, world.head.time, world.head.time + 10_000),
    )


def test_a_lease_ends_no_later_than_the_job() -> None:
    world = make_world()
    job = start_job(world, execution_limit=2**48 - 1)
    start_miner(world)
    world.run(MINER, JobClaim(job, "alpha", COMMIT))
    entry = world.get_job(job)
    assert entry.lease is not None
    assert entry.lease.ends_at == entry.total_deadline


def test_who_may_claim() -> None:
    world = make_world()
    start_miner(world)
    start_miner(world, "beta", RIVAL)
    job = start_job(world)
    bad_price = R.to_bytes(32, "big")
    for key, payload, reason in (
        (MINER, JobClaim(job, "nobody", COMMIT), Rejection.MINER_UNKNOWN),
        (MINER, JobClaim(job, "beta", COMMIT), Rejection.MINER_NOT_OWNED),
        (MINER, JobClaim(bytes(32), "alpha", COMMIT), Rejection.JOB_UNKNOWN),
        (MINER, JobClaim(job, "alpha", bad_price), Rejection.BAD_FIELD_ELEMENT),
    ):
        assert world.run(key, payload).code == reason
    assert world.run(RIVAL, MinerExit("beta")).code == 0
    assert world.run(RIVAL, JobClaim(job, "beta", COMMIT)).code == Rejection.MINER_NOT_ACTIVE
    assert world.run(MINER, JobClaim(job, "alpha", COMMIT)).code == 0


def test_a_miner_holds_only_so_many_leases() -> None:
    world = make_world(Parameters(maximum_leases=1))
    start_lease(world, tag=1)
    other = start_job(world, tag=2)
    assert world.run(MINER, JobClaim(other, "alpha", COMMIT)).code == Rejection.MINER_AT_CAPACITY


def test_a_lapse_costs_the_miner_and_requeues_the_job() -> None:
    world = make_world()
    job = start_lease(world)
    before = world.get_balance(CLIENT)
    world.produce(gap=10_000)
    assert world.get_job(job).status is JobStatus.LEASED
    world.produce(gap=1)
    entry = world.get_job(job)
    penalty = world.rules.parameters.lapse_penalty
    assert (entry.status, entry.lease) == (JobStatus.QUEUED, None)
    assert entry.queue_deadline == world.head.time + entry.queue_window
    assert entry.attempts[0].outcome is AttemptOutcome.LAPSED
    assert world.get_miner().bond == 20 * AIT - penalty
    assert world.get_balance(CLIENT) == before + penalty
    (outcome,) = world.executed[-1].outcomes
    assert (outcome.subject, outcome.code, outcome.fee) == (job, 0, 0)
    assert outcome.events == (
        LeaseEnded(job, "alpha", 1, AttemptOutcome.LAPSED, Reason.LEASE_LAPSED, penalty),
        JobQueued(job, CLIENT.address, AIT),
    )
    assert world.run(MINER, JobClaim(job, "alpha", COMMIT)).code == Rejection.CLAIMED_BEFORE


def test_a_penalty_never_exceeds_the_bond() -> None:
    world = make_world(Parameters(minimum_bond=5, lapse_penalty=10**12))
    world.run(MINER, make_register("alpha", 5))
    first, second = start_job(world, 1), start_job(world, 2)
    world.produce(*(world.sign(MINER, JobClaim(job, "alpha", COMMIT)) for job in (first, second)))
    before = world.get_balance(CLIENT)
    world.produce(gap=15_000)
    assert world.get_miner().bond == 0
    assert world.get_miner().lapsed == 2
    assert world.get_balance(CLIENT) == before + 5
    third = start_job(world, 3)
    assert world.run(MINER, JobClaim(third, "alpha", COMMIT)).code == Rejection.BOND_TOO_LOW


def test_a_lease_that_nobody_could_keep_costs_no_bond() -> None:
    """Neither by its limit nor by the end of its job can a client set a trap for bonds."""
    cases: list[tuple[dict[str, Any], int]] = [
        ({"execution_limit": 9_999}, 0),
        ({"total_deadline": 12_000, "queue_deadline": 12_000}, 0),
        ({"execution_limit": 10_000}, 10**8),
    ]
    for fields, penalty in cases:
        world = make_world()
        start_miner(world)
        head = world.head.time
        times = {name: head + fields[name] for name in fields if name != "execution_limit"}
        job = start_job(world, **{**fields, **times})
        world.run(MINER, JobClaim(job, "alpha", COMMIT), gap=2_000)
        lease = world.get_job(job).lease
        assert lease is not None and lease.penalty == penalty
        world.produce(gap=15_000)
        assert world.get_miner().bond == 20 * AIT - penalty
        assert world.get_miner().lapsed == 1


def test_a_job_fails_when_its_attempts_are_used_up() -> None:
    world = make_world(Parameters(maximum_attempts=2))
    job = start_lease(world)
    start_miner(world, "beta", RIVAL)
    before = world.get_balance(CLIENT)
    assert world.run(MINER, report(job, Reason.ENGINE_FAILED)).code == 0
    assert world.get_job(job).status is JobStatus.QUEUED
    assert world.run(RIVAL, JobClaim(job, "beta", COMMIT)).code == 0
    assert world.run(RIVAL, report(job, Reason.MODEL_MISSING)).code == 0
    entry = world.get_job(job)
    assert (entry.status, entry.reason_code) == (JobStatus.FAILED, Reason.MODEL_MISSING)
    assert world.get_balance(CLIENT) == before + AIT


def test_a_job_fails_when_its_time_is_used_up() -> None:
    world = make_world()
    job = start_lease(world)
    world.produce(gap=59_000)
    entry = world.get_job(job)
    assert (entry.status, entry.reason_code) == (JobStatus.FAILED, Reason.LEASE_LAPSED)


def test_a_job_is_not_queued_again_at_its_last_moment() -> None:
    """At the total deadline itself a lease may still settle, but a report ends the job."""
    for early, status in ((1, JobStatus.QUEUED), (0, JobStatus.FAILED)):
        world = make_world()
        job = start_lease(world)
        total = world.get_job(job).total_deadline
        job = start_job(world, 2, execution_limit=60_000, total_deadline=total)
        world.run(MINER, JobClaim(job, "alpha", COMMIT))
        gap = total - early - world.head.time
        assert world.run(MINER, report(job, Reason.ENGINE_FAILED), gap=gap).code == 0
        assert world.get_job(job).status is status
        assert world.get_job(job).queue_deadline <= total


def test_a_job_that_nobody_claims_fails_for_the_network() -> None:
    world = make_world()
    job = start_job(world)
    before = world.get_balance(CLIENT)
    world.produce(gap=19_000)
    assert world.get_job(job).status is JobStatus.QUEUED
    world.produce(gap=1)
    assert world.get_job(job).status is JobStatus.FAILED
    assert world.get_balance(CLIENT) == before + AIT
    (outcome,) = world.executed[-1].outcomes
    assert outcome.events == (JobEnded(job, JobStatus.FAILED, Reason.NO_MINER_IN_TIME, AIT),)


@pytest.mark.parametrize("code", [code for code in FAULT_TABLE if FAULT_TABLE[code].is_reportable])
def test_a_report_never_pays_the_reporter(code: int) -> None:
    world = make_world()
    job = start_lease(world)
    before, bond = world.get_balance(MINER), world.get_miner().bond
    outcome = world.run(MINER, report(job, code))
    assert outcome.code == 0
    assert world.get_balance(MINER) == before - outcome.fee
    assert world.get_miner().bond == bond
    own = 20_000 <= code < 30_000
    assert (world.get_miner().failed, world.get_miner().released) == (int(own), int(not own))
    assert world.get_job(job).attempts[0].reason_code == code


def test_who_may_report_what() -> None:
    world = make_world()
    job = start_lease(world)
    assert world.run(RIVAL, report(job, Reason.ENGINE_FAILED)).code == Rejection.LEASE_NOT_HELD
    assert world.run(CLIENT, report(job, Reason.ENGINE_FAILED)).code == Rejection.LEASE_NOT_HELD
    unknown = {0, 1, 20_000, 99_999}
    for code in unknown | {c for c in FAULT_TABLE if not FAULT_TABLE[c].is_reportable}:
        assert world.run(MINER, report(job, code), gap=1).code == Rejection.BAD_REASON_CODE


def test_cancelling_a_queued_job_ends_it_at_once() -> None:
    world = make_world()
    job = start_job(world)
    before = world.get_balance(CLIENT)
    assert world.run(STRANGER, JobCancel(job)).code == Rejection.JOB_NOT_OWNED
    outcome = world.run(CLIENT, JobCancel(job))
    assert outcome.events == (
        JobEnded(job, JobStatus.CANCELLED, Reason.CANCELLED_WHILE_QUEUED, AIT),
    )
    assert world.get_balance(CLIENT) == before + AIT - outcome.fee
    assert world.run(CLIENT, JobCancel(job)).code == Rejection.JOB_TERMINAL


def test_cancelling_a_leased_job_leaves_a_grace() -> None:
    world = make_world(Parameters(cancel_grace=3_000))
    job = start_lease(world)
    before, bond = world.get_balance(CLIENT), world.get_miner().bond
    outcome = world.run(CLIENT, JobCancel(job))
    assert outcome.events == (CancelStarted(job, world.head.time + 3_000),)
    assert world.run(CLIENT, JobCancel(job)).code == Rejection.ALREADY_CANCELLING
    world.produce(gap=2_000)
    assert world.get_job(job).status is JobStatus.CANCELLING
    world.produce(gap=1)
    entry = world.get_job(job)
    assert (entry.status, entry.reason_code) == (
        JobStatus.CANCELLED,
        Reason.CANCELLED_WHILE_LEASED,
    )
    assert world.get_balance(CLIENT) == before + AIT - 2 * outcome.fee
    assert (world.get_miner().cancelled, world.get_miner().bond) == (1, bond)


def test_a_grace_never_outlasts_the_lease() -> None:
    world = make_world(Parameters(cancel_grace=60_000))
    job = start_lease(world)
    before = world.get_job(job).lease
    world.run(CLIENT, JobCancel(job))
    lease = world.get_job(job).lease
    assert before is not None and lease is not None
    assert lease.ends_at == before.ends_at


def test_a_report_while_cancelling_ends_the_job_and_is_no_failure() -> None:
    world = make_world()
    job = start_cancelling(world)
    assert world.run(MINER, report(job, Reason.ENGINE_FAILED)).code == 0
    assert world.get_job(job).status is JobStatus.CANCELLED
    assert (world.get_miner().cancelled, world.get_miner().failed) == (1, 0)


def test_a_backlog_of_deadlines_lets_nothing_late_through() -> None:
    world = make_world(Parameters(maximum_deadlines=1))
    start_miner(world)
    leased = start_job(world, 1)
    world.run(MINER, JobClaim(leased, "alpha", COMMIT), gap=1)
    settle = world.settle_payload(leased, 100)
    queued = start_job(world, 2, queue_deadline=world.head.time + 11_000)
    soon = world.head.time + 6_000
    lapsing = [start_job(world, tag, queue_deadline=soon + tag) for tag in (3, 4, 5)]
    late = (
        world.sign(MINER, settle),
        world.sign(MINER, report(leased, Reason.ENGINE_FAILED)),
        world.sign(CLIENT, JobCancel(leased)),
        world.sign(CLIENT, JobCancel(queued)),
        world.sign(MINER, JobClaim(queued, "alpha", COMMIT)),
    )
    outcomes = world.produce(*late, gap=20_000)
    assert [outcome.code for outcome in outcomes] == [Rejection.JOB_DEADLINE_PASSED] * 5
    assert world.get_job(lapsing[0]).status is JobStatus.FAILED
    assert world.get_job(lapsing[1]).status is JobStatus.QUEUED
    for job in (lapsing[1], lapsing[2], leased, queued):
        world.produce(gap=1)
        assert len(world.executed[-1].outcomes) == 1
        assert world.executed[-1].outcomes[0].subject == job
    assert get_totals(world.state).escrows == AIT  # the leased job waits in the queue again


def test_due_deadlines_go_oldest_first_and_by_id() -> None:
    world = make_world(Parameters(maximum_deadlines=3))
    deadline = world.head.time + 10_000
    jobs = [start_job(world, tag, queue_deadline=deadline - tag % 2) for tag in range(1, 6)]
    world.produce(gap=20_000)
    subjects = [outcome.subject for outcome in world.executed[-1].outcomes]
    expected = sorted(jobs[0::2]) + sorted(jobs[1::2])
    assert subjects == expected[:3]
    world.produce(gap=1)
    assert [outcome.subject for outcome in world.executed[-1].outcomes] == expected[3:]


def test_an_outage_moves_every_deadline() -> None:
    world = make_world()
    job = start_lease(world)
    queued = start_job(world, 2)
    outage = 10 * 86_400_000
    world.produce(gap=outage)
    assert world.get_job(job).status is JobStatus.LEASED
    assert world.get_job(queued).status is JobStatus.QUEUED
    assert world.run(MINER, world.settle_payload(job, 100), gap=9_000).code == 0
    assert world.get_job(queued).status is JobStatus.QUEUED
    world.produce(gap=10_001)
    assert world.get_job(queued).status is JobStatus.FAILED


def test_deadlines_of_a_later_job_know_of_the_outage_before_it() -> None:
    world = make_world()
    world.produce(gap=10**9)
    job = start_job(world)
    assert world.get_job(job).queue_deadline == world.clock + 19_000
    world.produce(gap=19_000)
    assert world.get_job(job).status is JobStatus.QUEUED
    world.produce(gap=1)
    assert world.get_job(job).status is JobStatus.FAILED


def test_without_a_signed_word_every_job_ends_and_refunds() -> None:
    """Money is never stuck: time alone takes every stage to an end."""
    for start in (start_job, start_lease, start_cancelling):
        world = make_world()
        before = world.get_balance(CLIENT)
        job = start(world)
        for _ in range(10):
            world.produce(gap=20_000)
        assert world.get_job(job).status in (JobStatus.FAILED, JobStatus.CANCELLED)
        assert get_totals(world.state).escrows == 0
        fees = sum(o.fee for e in world.executed for o in e.outcomes)
        assert world.get_balance(CLIENT) >= before - fees


def test_an_entry_reads_back_as_it_was_written() -> None:
    world = make_world()
    job = start_lease(world)
    world.produce(gap=15_000)
    entry = world.get_job(job)
    again = msgspec.msgpack.decode(msgspec.msgpack.encode(entry), type=type(entry))
    assert again == entry
