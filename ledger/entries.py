"""What the state holds: the entries, their keys and the money in each (rules S1 to S3)."""

from enum import IntEnum
from typing import Annotated, Final

from msgspec import Meta

from ledger.blocks import AuthoritySet
from ledger.transactions import MAX_OFFERED_JOBS, Metadata
from ledger.types import (
    Address,
    Amount,
    Counter,
    Hash,
    Name,
    PublicKey,
    Record,
    Time,
)


class JobStatus(IntEnum):
    """Where a job stands; docs/protocol/settlement.md draws the arrows."""

    QUEUED = 1
    LEASED = 2
    CANCELLING = 3
    SETTLED = 4
    FAILED = 5
    CANCELLED = 6


class AttemptOutcome(IntEnum):
    """How one numbered claim of a miner ended: exactly one of these (rule J5)."""

    SETTLED = 1
    FAILED = 2
    RELEASED = 3
    LAPSED = 4
    CANCELLED = 5


LIVE: Final = frozenset({JobStatus.QUEUED, JobStatus.LEASED, JobStatus.CANCELLING})
LEASE_STATES: Final = frozenset({JobStatus.LEASED, JobStatus.CANCELLING})


class Account(Record, frozen=True, tag=1):
    """What an address owns, and the nonce of its next transaction."""

    balance: Amount = 0
    nonce: Counter = 0


class Miner(Record, frozen=True, tag=2):
    """A registered miner: its bond and the count of each way its claims ended."""

    owner: Address
    encryption_key: PublicKey
    metadata: Metadata
    bond: Amount
    is_active: bool
    registered_at: Time
    claims: Counter = 0
    live_leases: Counter = 0
    settled: Counter = 0
    failed: Counter = 0
    released: Counter = 0
    lapsed: Counter = 0
    cancelled: Counter = 0
    earned: Amount = 0
    busy_time: Counter = 0
    """Milliseconds between claim and settlement, summed over the settled claims."""


class Lease(Record, frozen=True):
    """The one claim in force on a job."""

    miner: Name
    number: Counter
    """The miner's own count of claims, without gaps."""
    payee: Address
    price_commit: Hash
    claimed_at: Time
    """Header time of the block with the claim."""
    ends_at: Counter
    """Working-clock time (rule D1)."""
    penalty: Amount = 0
    """What its lapse takes from the bond at most; a lease too short to be kept costs nothing."""


class Attempt(Record, frozen=True):
    """A claim that has ended."""

    miner: Name
    number: Counter
    outcome: AttemptOutcome
    reason_code: Counter


class Settlement(Record, frozen=True):
    """How a settled job's escrow was divided; the four amounts sum to it."""

    receipt_commit: Hash
    payout: Amount
    coordinator_share: Amount
    network_share: Amount
    refund: Amount
    height: Counter


class Acceptance(Record, frozen=True):
    """The offer that a queued job is bound to, and its public price (rule O4)."""

    offer: Hash
    miner: Name
    price: Amount
    """Base units per unit."""
    holds_until: Counter
    """Working-clock time (rule D1) up to which no other miner may claim."""


class Job(Record, frozen=True, tag=3):
    """A job's terms, stage and history. Deadlines in working-clock time (rule D1)."""

    client: Address
    service: Name
    billing: Annotated[int, Meta(ge=0, le=1)]
    coordinator: Address
    escrow: Amount
    job_commit: Hash
    queue_window: Time
    """How long the job waits in the queue each time that it enters it."""
    queue_deadline: Counter
    execution_limit: Time
    total_deadline: Counter
    submitted_at: Time
    status: JobStatus = JobStatus.QUEUED
    reason_code: Counter = 0
    lease: Lease | None = None
    attempts: tuple[Attempt, ...] = ()
    settlement: Settlement | None = None
    acceptance: Acceptance | None = None


class Totals(Record, frozen=True, tag=4):
    """Sums over the whole state, kept by the supply check of each block (rule L7)."""

    supply: Amount
    balances: Amount
    escrows: Amount
    bonds: Amount
    outage: Counter = 0
    """Milliseconds of outage so far: header time less this is the working clock."""
    accounts: Counter = 0
    miners: Counter = 0
    """Miners that are registered and have not exited."""
    jobs: Counter = 0
    settled: Counter = 0
    failed: Counter = 0
    cancelled: Counter = 0
    volume: Amount = 0
    """Sum of the amounts settled, shares included, up to `MAX_AMOUNT` (rule L1)."""


class Authorities(Record, frozen=True, tag=5):
    """The authority set in force for the next block, and the one after it."""

    current: AuthoritySet
    following: AuthoritySet


class OpenProposal(Record, frozen=True):
    """A change of the authority set that some members have voted for."""

    is_add: bool
    key: PublicKey
    account: Address
    valid_until: Counter
    """The last height at which it can pass."""
    voters: tuple[PublicKey, ...]
    """Consensus keys in the order of their votes; the first one's proposal it is (rule A4)."""


class OpenProposals(Record, frozen=True, tag=6):
    """Every change that is voted on, in the order in which they were opened."""

    proposals: tuple[OpenProposal, ...]


class Conviction(Record, frozen=True, tag=7):
    """Where an authority was proved to have broken the rules, and the height of the evidence."""

    epoch: Counter
    view: Counter
    height: Counter


class Offer(Record, frozen=True, tag=8):
    """A miner's offer; whether it can be accepted follows from the fields and the time."""

    miner: Name
    owner: Address
    service: Name
    billing: Annotated[int, Meta(ge=0, le=1)]
    price: Amount
    max_jobs: Annotated[int, Meta(ge=1, le=MAX_OFFERED_JOBS)]
    metadata: Metadata
    created_at: Time
    ends_at: Counter
    """Working-clock time (rule D1); at it one is still in time."""
    accepted: Counter = 0
    """Acceptances so far, whatever became of their jobs."""
    is_cancelled: bool = False


Entry = Account | Miner | Job | Totals | Authorities | OpenProposals | Conviction | Offer

TOTALS_KEY: Final = b"t"
AUTHORITIES_KEY: Final = b"v"
PROPOSALS_KEY: Final = b"p"


def account_key(address: bytes) -> bytes:
    """Return the state key of an account."""
    return b"a" + address


def miner_key(name: str) -> bytes:
    """Return the state key of a miner."""
    return b"m" + name.encode()


def job_key(job: bytes) -> bytes:
    """Return the state key of a job."""
    return b"j" + job


def offer_key(offer: bytes) -> bytes:
    """Return the state key of an offer."""
    return b"o" + offer


def conviction_key(public_key: bytes) -> bytes:
    """Return the state key under which a consensus key's conviction is."""
    return b"c" + public_key


def compute_due_time(job: Job) -> int | None:
    """Return the working-clock time after which the job's stage is over, or None when it ended."""
    if job.status is JobStatus.QUEUED:
        return job.queue_deadline
    if job.status in LEASE_STATES:
        assert job.lease is not None
        return job.lease.ends_at
    return None


def compute_money(entry: Entry | None) -> tuple[int, int, int]:
    """Return the (balance, escrow, bond) that an entry holds, in base units."""
    match entry:
        case Account():
            return entry.balance, 0, 0
        case Job():
            return 0, entry.escrow if entry.status in LIVE else 0, 0
        case Miner():
            return 0, 0, entry.bond
        case _:
            return 0, 0, 0
