"""Which job a miner is offered: one that was accepted from it, or else the oldest that suits it, of
this coordinator's before others'.

Jobs of other coordinators are known by the chain's word that they are queued and by their own
coordinator's word of what they ask for (rule H4).
"""

import asyncio
from functools import partial

import msgspec

from coordinator import (
    acceptances,
    foreign_jobs,
    foreign_leasing,
    job_rows,
    leasing,
    matching,
    relay,
)
from coordinator.coordinator import Coordinator
from coordinator.job_rows import JobRecord
from coordinator.matching import Announcement, Requirements
from coordinator.principals import Principal
from coordinator.signals import QUEUE
from coordinator.tables import JobRow
from ledger.entries import Job, JobStatus, Miner
from ledger.state import get_job

SCAN_BATCH = 32
MAX_SCANS = 64
"""A look for work goes through so many batches of queued jobs at most; the next goes on there."""


async def find_available(
    coordinator: Coordinator, principal: Principal, name: str, wait: float
) -> JobRecord | None:
    """Return the oldest job that a miner may claim, waiting up to `wait` seconds for one."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + min(wait, coordinator.settings.poll_wait)
    await leasing.note_seen(coordinator, principal, name)
    with coordinator.signals.listen(QUEUE) as listener:
        while True:
            miner = leasing.require_miner(coordinator, principal, name)
            announcement = matching.read_announcement(miner.metadata)
            record = await _find_accepted(coordinator, principal, name, miner)
            if record is None:
                record = await _find_match(coordinator, name, announcement)
            if record is None and await _can_open(coordinator, principal, miner):
                record = await _find_foreign(coordinator, name, announcement)
            if record is not None:
                return record
            pause = min(deadline - loop.time(), coordinator.foreign.get_pause(loop.time()))
            if not await listener.wait(pause) and loop.time() >= deadline:
                return None


async def _find_accepted(
    coordinator: Coordinator, principal: Principal, name: str, miner: Miner
) -> JobRecord | None:
    """Return a job that keeps itself for this miner, wherever its content is."""
    announced = matching.read_announcement(miner.metadata)
    for job_id in acceptances.list_kept(coordinator, name):
        entry = get_job(coordinator.chain.get_view(), job_id)
        price = acceptances.get_price(entry, name)
        if entry is None or price is None or entry.status is not JobStatus.QUEUED:
            coordinator.accepted.pop(job_id, None)
            continue
        if not _may_claim(coordinator, job_id, entry, name):
            continue
        record = await coordinator.find_job(job_id)
        if record is None and await _can_open(coordinator, principal, miner):
            record = await _describe_foreign(coordinator, job_id)
        if record is not None and is_suited(record.job, announced, price):
            return record
    return None


async def _describe_foreign(coordinator: Coordinator, job_id: bytes) -> JobRecord | None:
    await relay.describe_missing(coordinator)
    view, now = coordinator.chain.get_view(), asyncio.get_running_loop().time()
    entry = get_job(view, job_id)
    described = (offer for known, offer in coordinator.foreign.list_offers(now) if known == job_id)
    offer = next(described, None)
    if entry is None or offer is None:
        return None
    return foreign_jobs.build_record(view, job_id, entry, offer)


async def _find_match(
    coordinator: Coordinator, name: str, announced: Announcement
) -> JobRecord | None:
    begin = after = coordinator.looked.pop(name, 0)
    for _ in range(MAX_SCANS):
        queued = await coordinator.storage.read(
            partial(job_rows.list_queued, after=after, limit=SCAN_BATCH)
        )
        for job in queued:
            entry = get_job(coordinator.chain.get_view(), job.job_id)
            price = acceptances.get_price(entry, name)
            if _may_claim(coordinator, job.job_id, entry, name) and is_suited(
                job, announced, price
            ):
                return await coordinator.find_job(job.job_id)
        if len(queued) == SCAN_BATCH:
            assert queued[-1].row_id is not None
            after = queued[-1].row_id
        elif begin:
            begin = after = 0
        else:
            return None
    # Jobs that suit nobody, however many, do not hide those behind them.
    coordinator.looked[name] = after
    return None


async def _can_open(coordinator: Coordinator, principal: Principal, miner: Miner) -> bool:
    """Tell whether a miner could be told what another coordinator's job is about."""
    if not principal.is_custodial or not coordinator.foreign.waiting:
        return True
    return await foreign_leasing.has_derived_key(coordinator, principal, miner)


async def _find_foreign(
    coordinator: Coordinator, name: str, announced: Announcement
) -> JobRecord | None:
    await relay.describe_missing(coordinator)
    view = coordinator.chain.get_view()
    now = asyncio.get_running_loop().time()
    for job_id, offer in coordinator.foreign.list_offers(now):
        entry = get_job(view, job_id)
        if not _may_claim(coordinator, job_id, entry, name):
            continue
        assert entry is not None
        record = foreign_jobs.build_record(view, job_id, entry, offer)
        if is_suited(record.job, announced, acceptances.get_price(entry, name)):
            return record
    return None


def _may_claim(coordinator: Coordinator, job_id: bytes, entry: Job | None, name: str) -> bool:
    if job_id in coordinator.claims or entry is None or entry.status is not JobStatus.QUEUED:
        return False
    if not acceptances.may_claim(coordinator, entry, name):
        return False
    return not any(attempt.miner == name for attempt in entry.attempts)


def is_suited(job: JobRow, announced: Announcement, price: int | None = None) -> bool:
    """Tell whether a miner that announces this could be offered the job.

    `price` is the public one where the miner's offer was accepted for the job.
    """
    if price is not None:
        announced = msgspec.structs.replace(announced, prices={job.service: price})
    requirements = msgspec.json.decode(job.requirements, type=Requirements)
    mismatch = matching.find_mismatch(
        announced, job.service, job.model, job.max_price, requirements
    )
    return mismatch is None
