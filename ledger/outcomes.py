"""What a block did: the outcome of each due deadline and each transaction (rule B4).

The header's receipts root commits to them in order, so every event has an inclusion proof.
"""

from collections.abc import Iterator

from ledger.entries import AttemptOutcome, JobStatus
from ledger.types import Address, Amount, Counter, Hash, Name, PublicKey, Record, Time


class JobQueued(Record, frozen=True, tag=1):
    """A job entered the queue with its escrow locked."""

    job: Hash
    client: Address
    escrow: Amount


class LeaseGranted(Record, frozen=True, tag=2):
    """A miner holds the lease; `number` counts its claims."""

    job: Hash
    miner: Name
    number: Counter
    claimed_at: Time
    ends_at: Counter


class LeaseEnded(Record, frozen=True, tag=3):
    """A claim ended, in one way only; `penalty` went from the miner's bond to the client."""

    job: Hash
    miner: Name
    number: Counter
    outcome: AttemptOutcome
    reason_code: Counter
    penalty: Amount


class JobSettled(Record, frozen=True, tag=4):
    """The receipt is on chain and the escrow divided."""

    job: Hash
    miner: Name
    number: Counter
    payee: Address
    receipt_commit: Hash
    amount: Amount
    payout: Amount
    coordinator_share: Amount
    network_share: Amount
    refund: Amount


class JobEnded(Record, frozen=True, tag=5):
    """The job ended without a settlement and its whole escrow went back."""

    job: Hash
    status: JobStatus
    reason_code: Counter
    refund: Amount


class CancelStarted(Record, frozen=True, tag=6):
    """The client cancelled a leased job; the leaseholder may settle until `ends_at`."""

    job: Hash
    ends_at: Counter


class AuthorityVoted(Record, frozen=True, tag=7):
    """An authority voted for a change of the set; `votes` of `quorum` are there."""

    is_add: bool
    key: PublicKey
    account: Address
    votes: Counter
    quorum: Counter


class AuthoritiesChanged(Record, frozen=True, tag=8):
    """One authority joins or leaves with the set of `epoch`."""

    epoch: Counter
    is_add: bool
    key: PublicKey
    account: Address


class AuthorityConvicted(Record, frozen=True, tag=9):
    """An authority was proved to have broken the rules in a view; its key never votes again."""

    key: PublicKey
    epoch: Counter
    view: Counter


class OfferCreated(Record, frozen=True, tag=10):
    """A miner offers work at a public price."""

    offer: Hash
    miner: Name
    service: Name
    price: Amount
    max_jobs: Counter
    ends_at: Counter


class OfferCancelled(Record, frozen=True, tag=11):
    """An offer was withdrawn."""

    offer: Hash
    miner: Name


class OfferAccepted(Record, frozen=True, tag=12):
    """A job is bound to an offer; `left` more acceptances are possible."""

    job: Hash
    offer: Hash
    miner: Name
    price: Amount
    holds_until: Counter
    left: Counter


JobEvent = (
    JobQueued | LeaseGranted | LeaseEnded | JobSettled | JobEnded | CancelStarted | OfferAccepted
)
OfferEvent = OfferCreated | OfferCancelled | OfferAccepted
AuthorityEvent = AuthorityVoted | AuthoritiesChanged | AuthorityConvicted
Event = JobEvent | OfferCreated | OfferCancelled | AuthorityEvent


class Outcome(Record, frozen=True):
    """What became of one transaction (`subject` its id) or of one due job (`subject` its id)."""

    subject: Hash
    code: Counter
    """0, or the `Rejection` of a transaction that failed."""
    fee: Amount
    events: tuple[Event, ...]


def iterate_job_events(outcome: Outcome) -> Iterator[JobEvent]:
    """Yield what an outcome did to jobs."""
    for event in outcome.events:
        if isinstance(event, JobEvent):
            yield event
