"""Every pair of a job's status and a step is answered: by a move, or by a reason."""

import itertools
from collections.abc import Callable

import pytest

from ledger.entries import LIVE, JobStatus
from ledger.faults import Reason
from ledger.life_cycle import LIFE_CYCLE, Step, move, require_step
from ledger.rejection import Rejected, Rejection
from ledger.transactions import JobCancel, JobClaim, Payload
from tests.ledger.world import (
    CLIENT,
    COMMIT,
    MINER,
    RIVAL,
    World,
    make_world,
    report,
    start_cancelling,
    start_job,
    start_lease,
    start_miner,
)


def start_settled(world: World) -> bytes:
    job = start_lease(world)
    assert world.run(MINER, world.settle_payload(job, 100)).code == 0
    return job


def start_failed(world: World) -> bytes:
    start_miner(world)
    job = start_job(world)
    world.produce(gap=25_000)
    return job


def start_cancelled(world: World) -> bytes:
    start_miner(world)
    job = start_job(world)
    assert world.run(CLIENT, JobCancel(job)).code == 0
    return job


def start_queued(world: World) -> bytes:
    start_miner(world)
    return start_job(world)


STARTS: dict[JobStatus, Callable[[World], bytes]] = {
    JobStatus.QUEUED: start_queued,
    JobStatus.LEASED: start_lease,
    JobStatus.CANCELLING: start_cancelling,
    JobStatus.SETTLED: start_settled,
    JobStatus.FAILED: start_failed,
    JobStatus.CANCELLED: start_cancelled,
}

# The answer to each step that a transaction causes, spelled out; the table must say the same.
ENDED = [Rejection.JOB_TERMINAL] * 4
ANSWERS: dict[JobStatus, list[Rejection | JobStatus]] = {
    JobStatus.QUEUED: [
        JobStatus.LEASED,
        Rejection.JOB_NOT_LEASED,
        Rejection.JOB_NOT_LEASED,
        JobStatus.CANCELLED,
    ],
    JobStatus.LEASED: [
        Rejection.JOB_NOT_QUEUED,
        JobStatus.SETTLED,
        JobStatus.QUEUED,
        JobStatus.CANCELLING,
    ],
    JobStatus.CANCELLING: [
        Rejection.JOB_NOT_QUEUED,
        JobStatus.SETTLED,
        JobStatus.CANCELLED,
        Rejection.ALREADY_CANCELLING,
    ],
    JobStatus.SETTLED: [*ENDED],
    JobStatus.FAILED: [*ENDED],
    JobStatus.CANCELLED: [*ENDED],
}


def make_payload(world: World, job: bytes, step: Step) -> Payload:
    match step:
        case Step.CLAIM:
            return JobClaim(job, "beta", COMMIT)
        case Step.SETTLE:
            return world.settle_payload(job, 100)
        case Step.REPORT:
            return report(job, Reason.ENGINE_FAILED)
        case _:
            return JobCancel(job)


@pytest.mark.parametrize(
    ("status", "step"), list(itertools.product(JobStatus, [s for s in Step if s != Step.EXPIRE]))
)
def test_each_step_of_each_status(status: JobStatus, step: Step) -> None:
    world = make_world()
    job = STARTS[status](world)
    start_miner(world, "beta", RIVAL)
    assert world.get_job(job).status is status
    sender = {Step.CLAIM: RIVAL, Step.CANCEL: CLIENT}.get(step, MINER)
    answer = ANSWERS[status][step - 1]
    outcome = world.run(sender, make_payload(world, job, step), gap=1)
    if isinstance(answer, JobStatus):
        assert outcome.code == 0
        assert world.get_job(job).status is answer
        assert answer in LIFE_CYCLE[status, step]
    else:
        assert outcome.code == answer
        assert world.get_job(job).status is status
        assert (status, step) not in LIFE_CYCLE


@pytest.mark.parametrize("status", JobStatus)
def test_time_alone_moves_each_live_status_and_no_other(status: JobStatus) -> None:
    world = make_world()
    job = STARTS[status](world)
    world.produce(gap=21_000)
    after = world.get_job(job).status
    if status in LIVE:
        assert after in LIFE_CYCLE[status, Step.EXPIRE]
    else:
        assert after is status
        assert (status, Step.EXPIRE) not in LIFE_CYCLE


def test_no_arrow_leaves_an_end() -> None:
    assert {status for status, _ in LIFE_CYCLE} == LIVE


def test_every_end_is_reached() -> None:
    reached = set().union(*LIFE_CYCLE.values())
    assert reached == set(JobStatus)


def test_a_refused_step_says_why() -> None:
    world = make_world()
    entry = world.get_job(start_settled(world))
    with pytest.raises(Rejected, match="the job is settled"):
        require_step(entry, Step.CANCEL)


def test_a_move_beside_the_table_is_a_bug() -> None:
    world = make_world()
    entry = world.get_job(start_queued(world))
    with pytest.raises(AssertionError):
        move(entry, Step.CLAIM, JobStatus.SETTLED)
    with pytest.raises(KeyError):
        move(entry, Step.SETTLE, JobStatus.SETTLED)
