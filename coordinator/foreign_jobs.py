"""Jobs of other coordinators that wait for a miner: which the chain says there are, what their
coordinators say of them, and which coordinator is not worth asking just now (rule H4).

In memory alone: the chain has the first, the coordinators the second, and a restart asks again.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

import msgspec

from coordinator.job_rows import JobRecord
from coordinator.matching import Requirements
from coordinator.phases import compute_stage
from coordinator.relay_messages import MAX_JOBS, Offer
from coordinator.services.registry import SERVICES
from coordinator.tables import ContentRow, JobRow
from ledger.entries import LEASE_STATES, Job, JobStatus
from ledger.state import StateView, get_job, get_totals
from ledger.types import MAX_AMOUNT

MAX_QUEUED: Final = 4_096
"""Foreign jobs that are kept in mind; the chain is looked through again when half are gone."""
MAX_REPORTED: Final = 4_096
FIRST_SILENCE: Final = 2.0
LONGEST_SILENCE: Final = 60.0
"""Seconds for which a coordinator that did not answer is not asked: doubled each time."""
UNKNOWN_SECONDS: Final = 10.0
"""How long a job is left aside that its own coordinator does not know."""
ALWAYS: Final = 2**62


@dataclass(slots=True)
class Home:
    """Another coordinator: its key, once it said so, and since when it is silent (loop time)."""

    key: bytes | None = None
    silence: float = 0.0
    asked_again_at: float = 0.0


@dataclass(slots=True)
class Waiting:
    """A queued job of another coordinator; no offer until that one has described it."""

    home: bytes
    offer: Offer | None = None
    asked_again_at: float = 0.0


@dataclass(slots=True)
class ForeignJobs:
    """One coordinator's view of the others'. `own` is its address; times are the loop's."""

    own: bytes
    homes: dict[bytes, Home] = field(default_factory=dict)
    waiting: dict[bytes, Waiting] = field(default_factory=dict)
    """By job id, those that entered the queue first in front."""
    reported: dict[bytes, float] = field(default_factory=dict)
    """When progress of a job was passed on last."""
    is_whole: bool = False
    """Whether every queued job of the chain is here, or some did not fit."""

    def load(self, view: StateView) -> None:
        """Look through all live jobs of the chain."""
        self.waiting.clear()
        self.is_whole = True
        live = [(get_job(view, job_id), job_id) for _, job_id in view.get_due_jobs(ALWAYS, ALWAYS)]
        queued = [(entry.submitted_at, job_id, entry) for entry, job_id in live if entry]
        for _, job_id, entry in sorted(queued, key=lambda job: job[:2]):
            self._note(job_id, entry)

    def follow(self, view: StateView, touched: Iterable[bytes]) -> bool:
        """Note what became of jobs; tell whether one of them waits for a miner now."""
        queued = [job_id for job_id in touched if self._note(job_id, get_job(view, job_id))]
        if not self.is_whole and len(self.waiting) < MAX_QUEUED // 2:
            self.load(view)
        return bool(queued)

    def _note(self, job_id: bytes, entry: Job | None) -> bool:
        if (
            entry is None
            or entry.status is not JobStatus.QUEUED
            or entry.coordinator == self.own
            or entry.service not in SERVICES
        ):
            self.waiting.pop(job_id, None)
            return False
        if job_id in self.waiting:
            return True
        if len(self.waiting) >= MAX_QUEUED:
            self.is_whole = False
            return False
        self.waiting[job_id] = Waiting(entry.coordinator)
        return True

    def may_report(self, job_id: bytes, now: float, pause: float) -> bool:
        """Note that progress is to be passed on; tell whether the last was long enough ago."""
        if now - self.reported.get(job_id, -pause) < pause:
            return False
        if len(self.reported) >= MAX_REPORTED:
            self.reported.clear()
        self.reported[job_id] = now
        return True

    def get_home(self, address: bytes) -> Home:
        """Return what is known of another coordinator."""
        return self.homes.setdefault(address, Home())

    def is_silent(self, address: bytes, now: float) -> bool:
        """Tell whether a coordinator is not worth asking yet."""
        return now < self.get_home(address).asked_again_at

    def note_silence(self, address: bytes, now: float) -> None:
        """Note that a coordinator gave no answer, or none that could be used."""
        home = self.get_home(address)
        home.silence = min(LONGEST_SILENCE, max(FIRST_SILENCE, 2 * home.silence))
        home.asked_again_at = now + home.silence

    def note_answer(self, address: bytes) -> None:
        """Note that a coordinator is there."""
        home = self.get_home(address)
        home.silence = home.asked_again_at = 0.0

    def list_missing(self, now: float) -> dict[bytes, list[bytes]]:
        """Return, by coordinator worth asking, the jobs that it has not described."""
        missing: dict[bytes, list[bytes]] = {}
        for job_id, job in self.waiting.items():
            if job.offer is None and now >= job.asked_again_at:
                if not self.is_silent(job.home, now):
                    jobs = missing.setdefault(job.home, [])
                    if len(jobs) < MAX_JOBS:
                        jobs.append(job_id)
        return missing

    def note_offers(
        self, home: bytes, asked: Iterable[bytes], offers: Iterable[Offer], now: float
    ) -> None:
        """Keep what a coordinator said of its own jobs; those it left out are asked for later."""
        given = {offer.job: offer for offer in offers}
        for job_id in asked:
            job = self.waiting.get(job_id)
            if job is not None and job.home == home:
                job.offer = given.get(job_id)
                job.asked_again_at = now + UNKNOWN_SECONDS

    def list_offers(self, now: float) -> Iterator[tuple[bytes, Offer]]:
        """Yield the described jobs whose coordinators are there, oldest first."""
        for job_id, job in list(self.waiting.items()):
            if job.offer is not None and not self.is_silent(job.home, now):
                yield job_id, job.offer

    def get_pause(self, now: float) -> float:
        """Return after how many seconds a coordinator or job is worth asking about again."""
        times = [
            max(0.0 if job.offer else job.asked_again_at, self.get_home(job.home).asked_again_at)
            for job in self.waiting.values()
            if job.offer is None or self.is_silent(job.home, now)
        ]
        return max(FIRST_SILENCE, min(times, default=ALWAYS) - now)


def build_record(view: StateView, job_id: bytes, entry: Job, offer: Offer | None) -> JobRecord:
    """Return another coordinator's job as its row would look here; without an offer, what the
    chain alone says.
    """
    stage = compute_stage(int(entry.status), None, False, False, False)
    outage = get_totals(view).outage
    lease = entry.lease if entry.status in LEASE_STATES else None
    job = JobRow(
        job_id=job_id,
        account_id=0,
        client=entry.client,
        request_hash=b"",
        job_type=entry.service if offer is None else offer.job_type,
        service=entry.service,
        model="" if offer is None else offer.model,
        requirements=_write_requirements(offer),
        billing=entry.billing,
        max_units=0 if offer is None else offer.max_units,
        max_price=0 if offer is None else offer.max_price,
        escrow=entry.escrow,
        input_hash=bytes(32),
        salt=bytes(32),
        created_ms=entry.submitted_at,
        queue_deadline=min(entry.queue_deadline + outage, MAX_AMOUNT),
        execution_limit=entry.execution_limit,
        total_deadline=min(entry.total_deadline + outage, MAX_AMOUNT),
        submit_tx=b"",
        status=stage.status.value,
        phase=stage.phase.value,
        chain_status=int(entry.status),
        estimated_seconds=0 if offer is None else offer.estimated_seconds,
    )
    if lease is not None:
        job.miner, job.claim_number = lease.miner, lease.number
        job.claimed_ms = job.started_ms = lease.claimed_at
        job.lease_ends = lease.ends_at
    return JobRecord(job, ContentRow(job_row_id=0), None, home=entry.coordinator)


def _write_requirements(offer: Offer | None) -> str:
    if offer is None:
        return "{}"
    requirements = Requirements(offer.gpu_type, offer.gpu_count, offer.gpu_memory)
    return msgspec.json.encode(requirements).decode()
