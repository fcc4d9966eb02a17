"""What must hold of every state and of every history, computed from scratch and apart from ledger/.

Each function returns the violations that it finds, in words; none is the only good answer.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

from ledger import codec
from ledger.entries import (
    LEASE_STATES,
    LIVE,
    TOTALS_KEY,
    Account,
    AttemptOutcome,
    Entry,
    Job,
    JobStatus,
    Miner,
    Totals,
)
from ledger.outcomes import (
    CancelStarted,
    JobEnded,
    JobEvent,
    JobQueued,
    JobSettled,
    LeaseEnded,
    LeaseGranted,
    OfferAccepted,
    Outcome,
    iterate_job_events,
)
from ledger.types import MAX_AMOUNT

Claim = tuple[str, int]
"""A miner's name and its own number of the claim."""


def find_state_violations(entries: Mapping[bytes, Entry], supply: int) -> list[str]:
    accounts = [entry for entry in entries.values() if isinstance(entry, Account)]
    jobs = {key[1:]: entry for key, entry in entries.items() if isinstance(entry, Job)}
    miners = {key[1:].decode(): e for key, e in entries.items() if isinstance(e, Miner)}
    return [
        *_check_totals(entries[TOTALS_KEY], supply, accounts, jobs, miners),
        *_check_claims(jobs, miners),
        *(violation for job in jobs.values() for violation in _check_job(job)),
    ]


def _check_totals(
    totals: Entry,
    supply: int,
    accounts: list[Account],
    jobs: Mapping[bytes, Job],
    miners: Mapping[str, Miner],
) -> Iterator[str]:
    assert isinstance(totals, Totals)
    statuses = Counter(job.status for job in jobs.values())
    settlements = [job.settlement for job in jobs.values() if job.settlement]
    volume = sum(s.payout + s.coordinator_share + s.network_share for s in settlements)
    expected = {
        "supply": supply,
        "balances": sum(account.balance for account in accounts),
        "escrows": sum(job.escrow for job in jobs.values() if job.status in LIVE),
        "bonds": sum(miner.bond for miner in miners.values()),
        "accounts": len(accounts),
        "miners": sum(miner.is_active for miner in miners.values()),
        "jobs": len(jobs),
        "settled": statuses[JobStatus.SETTLED],
        "failed": statuses[JobStatus.FAILED],
        "cancelled": statuses[JobStatus.CANCELLED],
        "volume": min(volume, MAX_AMOUNT),
    }
    for name, value in expected.items():
        if getattr(totals, name) != value:
            yield f"totals.{name} is {getattr(totals, name)}, the entries say {value}"
    if expected["balances"] + expected["escrows"] + expected["bonds"] != supply:
        yield "the supply is not conserved"
    for amount in (*(a.balance for a in accounts), *(m.bond for m in miners.values())):
        if not 0 <= amount <= MAX_AMOUNT:
            yield f"an amount of {amount}"


def _check_claims(jobs: Mapping[bytes, Job], miners: Mapping[str, Miner]) -> Iterator[str]:
    live: Counter[str] = Counter()
    ended: Counter[tuple[str, AttemptOutcome]] = Counter()
    numbers: dict[str, list[int]] = {name: [] for name in miners}
    for job in jobs.values():
        for attempt in job.attempts:
            ended[attempt.miner, attempt.outcome] += 1
            numbers[attempt.miner].append(attempt.number)
        if job.lease and job.status in LEASE_STATES:
            live[job.lease.miner] += 1
            numbers[job.lease.miner].append(job.lease.number)
    for name, miner in miners.items():
        counted = [getattr(miner, outcome.name.lower()) for outcome in AttemptOutcome]
        if miner.claims != miner.live_leases + sum(counted):
            yield f"{name}: {miner.claims} claims, but {miner.live_leases} live and {counted}"
        if sorted(numbers[name]) != list(range(1, miner.claims + 1)):
            yield f"{name}: the numbers of its claims are {sorted(numbers[name])}"
        if miner.live_leases != live[name]:
            yield f"{name}: {miner.live_leases} live leases, the jobs show {live[name]}"
        if counted != [ended[name, outcome] for outcome in AttemptOutcome]:
            yield f"{name}: the counted outcomes {counted} are not those of the jobs"
        if not miner.is_active and (miner.bond or miner.live_leases):
            yield f"{name}: an exited miner with bond or leases"


def _check_job(job: Job) -> Iterator[str]:
    if (job.settlement is not None) != (job.status is JobStatus.SETTLED):
        yield "a settlement without a settled job, or the other way round"
    if job.settlement is not None:
        s = job.settlement
        parts = (s.payout, s.coordinator_share, s.network_share, s.refund)
        if sum(parts) != job.escrow or min(parts) < 0:
            yield f"an escrow of {job.escrow} divided into {parts}"
    if (job.lease is not None) != (job.status in LEASE_STATES or job.status is JobStatus.SETTLED):
        yield f"a lease where there is none, or none where there is one: {job.status.name}"
    names = [attempt.miner for attempt in job.attempts]
    if job.lease and job.status in LEASE_STATES:
        names.append(job.lease.miner)
        if job.lease.ends_at > job.total_deadline:
            yield "a lease that outlasts its job"
    if len(set(names)) != len(names):
        yield f"a miner claimed a job twice: {names}"
    if job.queue_deadline > job.total_deadline:
        yield "a queue that outlasts its job"


class History:
    """Every outcome of a chain, and every job that has ended, as they were first seen."""

    def __init__(self) -> None:
        self._escrows: dict[bytes, int] = {}
        self._returned: dict[bytes, int] = {}
        self._granted: set[Claim] = set()
        self._ended: set[Claim] = set()
        self._terminal: dict[bytes, bytes] = {}

    def find_violations(
        self, outcomes: Iterable[Outcome], entries: Mapping[bytes, Entry]
    ) -> list[str]:
        """Take in a block's outcomes and the state after it."""
        events = [event for outcome in outcomes for event in iterate_job_events(outcome)]
        found = [violation for event in events for violation in self._check_event(event)]
        for key, entry in entries.items():
            if isinstance(entry, Job) and entry.status not in LIVE:
                data = codec.encode(entry)
                if self._terminal.setdefault(key, data) != data:
                    found.append("an ended job changed")
                if self._returned.get(key[1:]) != entry.escrow:
                    found.append("an ended job whose escrow did not return")
        return found

    def _check_event(self, event: JobEvent) -> Iterator[str]:
        match event:
            case JobQueued():
                if self._escrows.setdefault(event.job, event.escrow) != event.escrow:
                    yield "an escrow changed"
            case LeaseGranted():
                claim = (event.miner, event.number)
                if claim in self._granted:
                    yield f"claim {claim} granted twice"
                self._granted.add(claim)
            case LeaseEnded():
                claim = (event.miner, event.number)
                if claim in self._ended or claim not in self._granted:
                    yield f"claim {claim} ended twice, or before it began"
                self._ended.add(claim)
            case JobSettled() | JobEnded():
                if event.job in self._returned:
                    yield "an escrow returned twice"
                paid = 0
                if isinstance(event, JobSettled):
                    paid = event.amount
                    if event.payout + event.coordinator_share + event.network_share != paid:
                        yield "the shares are not the amount"
                self._returned[event.job] = paid + event.refund
                if self._returned[event.job] != self._escrows[event.job]:
                    yield "another sum returned than was locked"
            case OfferAccepted():
                if event.job in self._returned:
                    yield "an offer accepted for a job that has ended"
            case CancelStarted():
                if event.job in self._returned:
                    yield "a cancellation of a job that has ended"
