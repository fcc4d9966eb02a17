"""By which terms an outcome is found again: transaction, account, block, job, claim, settlement,
offer."""

from collections.abc import Callable, Sequence
from enum import IntEnum

from ledger import crypto
from ledger.entries import Job
from ledger.outcomes import (
    AuthoritiesChanged,
    AuthorityConvicted,
    AuthorityVoted,
    CancelStarted,
    Event,
    JobEnded,
    JobEvent,
    JobQueued,
    JobSettled,
    LeaseEnded,
    LeaseGranted,
    OfferAccepted,
    OfferCancelled,
    OfferCreated,
    OfferEvent,
    Outcome,
    iterate_job_events,
)
from ledger.transactions import Transaction, Transfer
from node.sorted_tail import compute_term
from node.tables import SLOT_BITS

GetJob = Callable[[bytes], Job | None]


class Kind(IntEnum):
    """What a term stands for; the number is part of the index."""

    TRANSACTION = 1
    ACCOUNT = 2
    BLOCK = 3
    JOB = 4
    CLAIM = 5
    SETTLEMENT = 6
    OFFER = 7


SETTLEMENTS = compute_term(Kind.SETTLEMENT, b"")
"""The one term under which every settlement is found."""


def compute_claim_term(miner: str, number: int) -> int:
    """Return the term of one numbered claim of a miner."""
    return compute_term(Kind.CLAIM, number.to_bytes(8, "big") + miner.encode())


def compute_terms(
    height: int,
    block_hash: bytes,
    transactions: Sequence[Transaction],
    outcomes: Sequence[Outcome],
    get_job: GetJob,
) -> list[tuple[int, int]]:
    """Return the (term, position) pairs of a block; `outcomes` begin with those of due jobs."""
    base = height << SLOT_BITS
    pairs = [(compute_term(Kind.BLOCK, block_hash), base)]
    due_count = len(outcomes) - len(transactions)
    for slot, outcome in enumerate(outcomes):
        terms: set[int] = set()
        if slot >= due_count:
            transaction = transactions[slot - due_count]
            terms.add(compute_term(Kind.TRANSACTION, outcome.subject))
            accounts = {crypto.compute_address(transaction.sender)}
            if isinstance(transaction.payload, Transfer):
                accounts.add(transaction.payload.recipient)
            for event in outcome.events:
                accounts |= _get_accounts(event, get_job)
            terms |= {compute_term(Kind.ACCOUNT, account) for account in accounts}
        terms |= {
            compute_term(Kind.OFFER, event.offer)
            for event in outcome.events
            if isinstance(event, OfferEvent)
        }
        for job_event in iterate_job_events(outcome):
            terms |= _get_event_terms(job_event)
        pairs += [(term, base + slot) for term in terms]
    return pairs


def _get_accounts(event: Event, get_job: GetJob) -> set[bytes]:
    """Return whose money an event moved, besides the sender's."""
    match event:
        case JobSettled():
            return {event.payee} | _get_client(event.job, get_job)
        case LeaseEnded() | JobEnded():
            return _get_client(event.job, get_job)
        case JobQueued() | LeaseGranted() | CancelStarted():
            return set()
        case OfferCreated() | OfferCancelled() | OfferAccepted():
            return set()
        case AuthorityVoted() | AuthoritiesChanged() | AuthorityConvicted():
            return set()


def _get_client(job: bytes, get_job: GetJob) -> set[bytes]:
    entry = get_job(job)
    return {entry.client} if entry else set()


def _get_event_terms(event: JobEvent) -> set[int]:
    terms = {compute_term(Kind.JOB, event.job)}
    match event:
        case JobSettled():
            terms.add(SETTLEMENTS)
            terms.add(compute_claim_term(event.miner, event.number))
        case LeaseGranted() | LeaseEnded():
            terms.add(compute_claim_term(event.miner, event.number))
        case JobQueued() | JobEnded() | CancelStarted() | OfferAccepted():
            pass
    return terms
