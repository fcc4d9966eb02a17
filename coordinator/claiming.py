"""How a miner gets a job: the claim, and the lease with what the job is about.

The chain decides who holds a lease. A claim from here that is on its way refuses the others at
once; whoever claims at another node still wins if its block comes first.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from sqlalchemy import Connection

from coordinator import acceptances, job_rows, job_terms, leasing, matching, sql
from coordinator.coordinator import Coordinator
from coordinator.job_rows import JobRecord
from coordinator.principals import Principal
from coordinator.signals import QUEUE
from coordinator.tables import JobRow
from coordinator.wallets import Record
from ledger import terms
from ledger.entries import LEASE_STATES, Job, Miner
from ledger.rejection import REJECTIONS, Rejected, Rejection
from ledger.state import get_job, get_miner
from ledger.terms import PriceTerms
from ledger.transactions import JobClaim, VerifiedTransaction


class ClaimPending(Exception):
    """The claim is not final yet: ask again."""


class SealedContent(NamedTuple):
    """A job's content in boxes for its miner's key, and its sealed terms in base64."""

    boxes: list[bytes]
    terms: str


class Lease(NamedTuple):
    """A lease with everything that its miner needs."""

    record: JobRecord
    miner: Miner
    ends_at: int
    """Header time, in milliseconds."""
    sealed: SealedContent | None = None
    """What another coordinator's job is about, for a miner that opens it by itself."""


async def claim_job(
    coordinator: Coordinator,
    principal: Principal,
    record: JobRecord,
    name: str,
    signed: VerifiedTransaction | None,
    *,
    is_new: bool = False,
) -> Lease:
    """Claim a job for a miner and wait until the claim is final. Raises `Rejected`, `ClaimPending`.

    The holder gets its lease again by the same claim. With `is_new` it does not: whoever asks for
    work of any kind, and not for this job, is not to do what another process of the miner's does.
    """
    job_id = record.job.job_id
    leasing.require_miner(coordinator, principal, name)
    payload = None
    if not principal.is_custodial:
        payload = read_claim(signed, job_id, name)
    entry = get_job(coordinator.chain.get_view(), job_id)
    if entry is None or not _is_own_lease(entry, name, payload):
        leasing.require_queued(coordinator, record.job, entry)
        await send_claim(coordinator, principal, record.job, name, signed, leasing.record_nothing)
    return await _deliver(coordinator, job_id, name, is_new)


async def send_claim(
    coordinator: Coordinator,
    principal: Principal,
    job: JobRow,
    name: str,
    signed: VerifiedTransaction | None,
    note: Record,
) -> None:
    """Return once a claim is final and applied; without `signed` it is signed here.

    Raises `Rejected`, `ClaimPending`.
    """
    job_id = job.job_id
    with _hold_claim(coordinator, job_id, name, None if signed is None else signed.id):
        if signed is not None:
            transaction = await coordinator.wallets.send_signed(
                principal.address, signed, note, job_id
            )
        else:
            sent = await _find_claim(coordinator, principal, job_id, name)
            if sent is None:
                priced = await _price_claim(coordinator, principal, job, name)
                sent = await coordinator.wallets.send(principal.address, priced, note, job_id)
            transaction = sent
        await _wait_claimed(coordinator, transaction)


@contextmanager
def _hold_claim(
    coordinator: Coordinator, job_id: bytes, name: str, signed: bytes | None
) -> Iterator[None]:
    """Refuse all other claims of a job from here meanwhile; the same signed one is let in.

    Raises `Rejected`, and `ClaimPending` for a claim that is to be signed here and is already.
    """
    held, wanted = coordinator.claims.get(job_id), (name, signed)
    if held is not None and held != wanted:
        raise _another_claim()
    if held is not None and signed is None:
        raise ClaimPending
    coordinator.claims[job_id] = wanted
    try:
        yield
    finally:
        coordinator.claims.pop(job_id, None)
        coordinator.signals.announce(QUEUE)


def _another_claim() -> Rejected:
    return Rejected(Rejection.JOB_NOT_QUEUED, "another claim is on its way to the chain")


async def _find_claim(
    coordinator: Coordinator, principal: Principal, job_id: bytes, name: str
) -> bytes | None:
    """Return a custodial miner's claim that is on its way: a second one would fail behind it.

    Raises `Rejected` for another miner's of the same account.
    """
    for transaction, payload in await coordinator.wallets.list_pending(principal.address, job_id):
        if isinstance(payload, JobClaim):
            if payload.miner != name:
                raise _another_claim()
            return transaction
    return None


async def _wait_claimed(coordinator: Coordinator, transaction: bytes) -> None:
    verdict = await coordinator.wallets.wait_final(transaction, coordinator.settings.claim_wait)
    if verdict is None:
        raise ClaimPending
    if verdict.code:
        raise Rejected(REJECTIONS[verdict.code])


def read_claim(signed: VerifiedTransaction | None, job_id: bytes, name: str) -> JobClaim:
    """Return the claim that a miner signed by itself. Raises `Rejected`."""
    if signed is None:
        raise Rejected(
            Rejection.BAD_SIGNATURE,
            "the account signs by itself: send `transaction`, a signed job_claim",
        )
    payload = leasing.require_payload(signed, JobClaim)
    if (payload.job, payload.miner) != (job_id, name):
        raise Rejected(Rejection.MALFORMED, "the transaction claims another job")
    return payload


def _is_own_lease(entry: Job, name: str, claim: JobClaim | None) -> bool:
    lease = entry.lease
    if entry.status not in LEASE_STATES or lease is None or lease.miner != name:
        return False
    return claim is None or lease.price_commit == claim.price_commit


async def _price_claim(
    coordinator: Coordinator, principal: Principal, job: JobRow, name: str
) -> JobClaim:
    miner = leasing.require_miner(coordinator, principal, name)
    seed = await coordinator.wallets.open_seed(principal.address)
    entry = get_job(coordinator.chain.get_view(), job.job_id)
    opening = derive_price_opening(seed, job, miner, acceptances.get_price(entry, name))
    return JobClaim(job.job_id, name, terms.commit_price_terms(opening))


def derive_price_opening(
    seed: bytes, job: JobRow, miner: Miner, accepted_price: int | None
) -> PriceTerms:
    """Return the price that a custodial miner asks, the same each time it is asked for.

    `accepted_price` is the public one where the miner's offer was accepted for the job (rule O5).
    """
    if accepted_price is not None:
        return terms.open_public_price(accepted_price)
    announced = matching.read_announcement(miner.metadata).prices.get(job.service)
    salt = terms.derive_salt(job_terms.derive_salt_secret(seed), terms.PRICE_SALT, job.job_id)
    return PriceTerms(job_terms.choose_price(announced, job.max_price), salt)


async def _deliver(coordinator: Coordinator, job_id: bytes, name: str, is_new: bool) -> Lease:
    await coordinator.wait_followed()

    def write(connection: Connection) -> JobRecord:
        record = job_rows.find_job(connection, job_id)
        assert record is not None
        if record.job.miner != name:
            raise Rejected(Rejection.JOB_NOT_LEASED, "the lease has ended already")
        if is_new and record.job.is_lease_delivered:
            raise Rejected(Rejection.JOB_NOT_QUEUED, "the miner holds the lease already")
        sql.update(connection, record.job, is_lease_delivered=True)
        return record

    record = await coordinator.storage.write(write)
    miner = get_miner(coordinator.chain.get_view(), name)
    entry = get_job(coordinator.chain.get_view(), job_id)
    assert miner is not None and entry is not None
    if entry.lease is None or entry.lease.miner != name or entry.status not in LEASE_STATES:
        raise Rejected(Rejection.JOB_NOT_LEASED, "the lease has ended already")
    return Lease(record, miner, leasing.get_lease_end(coordinator, entry.lease.ends_at))
