from coordinator import foreign_jobs
from coordinator.foreign_jobs import (
    FIRST_SILENCE,
    LONGEST_SILENCE,
    UNKNOWN_SECONDS,
    ForeignJobs,
    build_record,
)
from coordinator.relay_messages import MAX_JOBS, Offer
from ledger.entries import Job, JobStatus, job_key
from ledger.state import Changes
from tests.support.chain import Clock, InProcessChain, make_genesis

OWN, HOME, OTHER = (bytes([number]) * 20 for number in (1, 2, 3))


def make_view() -> Changes:
    return Changes(InProcessChain(make_genesis({bytes(20): 1}), Clock()).get_view())


def name_job(number: int) -> bytes:
    return number.to_bytes(32, "big")


def put(
    view: Changes,
    number: int,
    home: bytes = HOME,
    status: JobStatus = JobStatus.QUEUED,
    service: str = "llm_inference",
) -> bytes:
    job = Job(
        client=bytes(20),
        service=service,
        billing=0,
        coordinator=home,
        escrow=1,
        job_commit=bytes(32),
        queue_window=1,
        queue_deadline=10**6 - number,
        execution_limit=1,
        total_deadline=2**62,
        submitted_at=number,
        status=status,
    )
    view.put(job_key(name_job(number)), job)
    return name_job(number)


def make_offer(job: bytes) -> Offer:
    return Offer(job, "llm_inference", "a model", None, 0, 0, 10, 1_000, 1)


def test_only_queued_jobs_of_others_are_kept_in_the_order_they_came() -> None:
    view, foreign = make_view(), ForeignJobs(OWN)
    first, second = put(view, 1), put(view, 2, OTHER)
    put(view, 3, OWN)
    put(view, 4, status=JobStatus.FAILED)
    put(view, 5, service="unknown_service")
    assert foreign.follow(view, [first])
    assert foreign.follow(view, [second])
    assert not foreign.follow(view, [name_job(number) for number in (3, 4, 5, 6)])
    assert list(foreign.waiting) == [first, second]
    again = ForeignJobs(OWN)
    again.load(view)
    assert list(again.waiting) == [first, second], "the same after a restart"
    put(view, 1, status=JobStatus.FAILED)
    assert not foreign.follow(view, [first])
    assert list(foreign.waiting) == [second]


def test_what_does_not_fit_is_found_when_there_is_room() -> None:
    view, foreign = make_view(), ForeignJobs(OWN)
    most = foreign_jobs.MAX_QUEUED
    jobs = [put(view, number) for number in range(1, most + 11)]
    foreign.load(view)
    assert len(foreign.waiting) == most
    assert not foreign.is_whole
    taken = jobs[: most // 2 + 1]
    for number in range(1, len(taken) + 1):
        put(view, number, status=JobStatus.FAILED)
    foreign.follow(view, taken)
    assert list(foreign.waiting) == jobs[len(taken) :]
    assert foreign.is_whole


def test_a_coordinator_is_asked_about_what_it_has_not_described() -> None:
    view, foreign = make_view(), ForeignJobs(OWN)
    jobs = [put(view, number) for number in range(1, MAX_JOBS + 3)]
    other = put(view, 1_000, OTHER)
    foreign.load(view)
    assert foreign.list_missing(0) == {HOME: jobs[:MAX_JOBS], OTHER: [other]}
    foreign.note_offers(HOME, jobs[:MAX_JOBS], map(make_offer, jobs[1:MAX_JOBS]), 0)
    assert foreign.list_missing(0)[HOME] == jobs[MAX_JOBS:], "and not again about what it denies"
    assert jobs[0] in foreign.list_missing(UNKNOWN_SECONDS)[HOME]
    foreign.note_offers(HOME, [other], [make_offer(other)], 0)
    assert foreign.list_missing(0)[OTHER] == [other], "nobody describes another's job"
    assert [job for job, _ in foreign.list_offers(0)] == jobs[1:MAX_JOBS]


def test_silence_is_waited_out_longer_each_time() -> None:
    view, foreign = make_view(), ForeignJobs(OWN)
    job = put(view, 1)
    foreign.load(view)
    foreign.note_offers(HOME, [job], [make_offer(job)], 0)
    now, pauses = 0.0, []
    for _ in range(8):
        foreign.note_silence(HOME, now)
        assert list(foreign.list_offers(now)) == []
        pauses.append(foreign.get_pause(now))
        now += pauses[-1]
        assert not foreign.is_silent(HOME, now)
    assert pauses[:3] == [FIRST_SILENCE, 2 * FIRST_SILENCE, 4 * FIRST_SILENCE]
    assert pauses[-1] == LONGEST_SILENCE
    foreign.note_silence(HOME, now)
    foreign.note_answer(HOME)
    assert [job for job, _ in foreign.list_offers(now)] == [job]


def test_a_record_says_what_chain_and_offer_say() -> None:
    view = make_view()
    job_id = put(view, 7)
    entry = view.get(job_key(job_id))
    assert isinstance(entry, Job)
    bare = build_record(view, job_id, entry, None)
    assert (bare.home, bare.job.status, bare.job.max_price) == (HOME, "pending", 0)
    told = build_record(view, job_id, entry, make_offer(job_id))
    assert (told.job.model, told.job.max_price, told.job.escrow) == ("a model", 1_000, 1)
    assert told.job.requirements == '{"gpu_type":null,"gpu_count":0,"gpu_memory":0}'


def test_progress_of_one_job_is_passed_on_only_so_often() -> None:
    foreign = ForeignJobs(OWN)
    first, second = name_job(1), name_job(2)
    moments = (0.0, 0.5, 0.9, 1.0, 1.5, 2.1)
    passed = [foreign.may_report(first, moment, 1.0) for moment in moments]
    assert passed == [True, False, False, True, False, True]
    assert foreign.may_report(second, 0.5, 1.0)
