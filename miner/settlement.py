"""Decides what settles a finished job: receipt, commitment, statement, transaction and report.

Pure: everything follows from the recorded work and the miner's key, so that after a crash the same
settlement is built again.
"""

from typing import Any, NamedTuple

from msgspec import UNSET

from aitbc.wallet import SignedTransaction, Wallet
from ledger import crypto, terms
from ledger.receipts import ReceiptCore, sign_receipt
from ledger.settlement import SETTLE_KIND
from ledger.terms import PriceTerms
from ledger.transactions import JobSettle
from miner.kinds import KINDS
from miner.work import LeaseRecord, Outcome, Work
from zk.field import decode_field
from zk.statement import PublicInputs, Witness, address_to_field, compute_context


class Identity(NamedTuple):
    """Who settles, on which chain, under which key."""

    wallet: Wallet
    miner_id: str
    chain_id: bytes
    key_id: bytes
    """Id of the verifying key that the chain accepts."""


def build_price_terms(wallet: Wallet, job: bytes, price: int) -> PriceTerms:
    """Return the opening of the price commitment that a claim carries."""
    salt = terms.derive_salt(wallet.derive_salt_secret(), terms.PRICE_SALT, job)
    return PriceTerms(price=price, salt=salt)


def open_price(wallet: Wallet, work: Work) -> PriceTerms:
    """Return the opening of the price at which a job is claimed and settled (rule O5)."""
    if work.is_price_public:
        return terms.open_public_price(work.price)
    return build_price_terms(wallet, work.job, work.price)


def derive_receipt_salt(wallet: Wallet, job: bytes) -> bytes:
    """Return the salt of the receipt commitment."""
    return terms.derive_salt(wallet.derive_salt_secret(), terms.RECEIPT_SALT, job)


def compute_amount(work: Work) -> int:
    """Return what the job costs, in base units."""
    return _get_outcome(work).receipt.units * work.price


def build_statement(identity: Identity, work: Work) -> tuple[PublicInputs, Witness]:
    """Return the statement that a settlement of this work has to prove."""
    assert work.terms is not None
    outcome, lease = _get_outcome(work), _get_lease(work)
    price = open_price(identity.wallet, work)
    receipt_commit = decode_field(_commit_receipt(identity, work))
    public = PublicInputs(
        job_commit=decode_field(work.job_commit),
        price_commit=decode_field(terms.commit_price_terms(price)),
        receipt_commit=receipt_commit,
        amount=compute_amount(work),
        payee=address_to_field(identity.wallet.address),
        claim_time=lease.claimed_at,
        billing=work.billing,
        epoch_time=outcome.receipt.completed,
        context=compute_context(
            identity.chain_id,
            identity.key_id,
            SETTLE_KIND,
            work.job,
            lease.number,
            identity.wallet.address,
            receipt_commit,
        ),
    )
    witness = Witness(
        offer=terms.build_offer(work.terms),
        price=terms.build_price(price),
        receipt=terms.build_receipt(outcome.receipt),
    )
    return public, witness


def build_settle(identity: Identity, work: Work) -> JobSettle:
    """Return the payload that settles the work, its proof having been made."""
    assert work.proof
    return JobSettle(
        job=work.job,
        receipt_commit=_commit_receipt(identity, work),
        amount=compute_amount(work),
        epoch_time=_get_outcome(work).receipt.completed,
        proof=work.proof,
    )


def build_report(identity: Identity, work: Work, transaction: SignedTransaction) -> dict[str, Any]:
    """Return the body with which the result is handed in."""
    outcome = _get_outcome(work)
    receipt = outcome.receipt
    price = open_price(identity.wallet, work)
    return {
        "miner_id": identity.miner_id,
        "result": outcome.result,
        "units": receipt.units,
        "started_ms": receipt.started,
        "completed_ms": receipt.completed,
        "engine": outcome.engine,
        "receipt": sign_receipt(identity.wallet.seed, build_core(identity, work)),
        "receipt_opening": terms.write_opening(receipt),
        "price_opening": terms.write_opening(price),
        "transaction": transaction.raw.hex(),
    }


def build_core(identity: Identity, work: Work) -> ReceiptCore:
    """Return what the miner signs for the work."""
    assert work.terms is not None and work.content is not None
    outcome, lease = _get_outcome(work), _get_lease(work)
    receipt = outcome.receipt
    return ReceiptCore(
        chain_id=identity.chain_id.hex(),
        receipt_id=f"receipt_{work.job.hex()}",
        job_id=work.job_id,
        provider=identity.wallet.text_address,
        miner_id=identity.miner_id,
        claim_number=lease.number,
        client=crypto.format_address(work.terms.client),
        service=work.service,
        units=receipt.units,
        unit_type=KINDS[work.service].unit_type,
        price=work.price,
        amount=compute_amount(work),
        model=work.content["model"],
        engine=outcome.engine,
        device=outcome.device,
        verification=KINDS[work.service].verification,
        pins=outcome.pins,
        input_hash=work.terms.input_hash.hex(),
        result_hash=receipt.result_hash.hex(),
        started_at=receipt.started // 1000,
        completed_at=receipt.completed // 1000,
        started_ms=receipt.started,
        completed_ms=receipt.completed,
        receipt_commit=_commit_receipt(identity, work).hex(),
        energy_joules=UNSET if outcome.energy_joules is None else outcome.energy_joules,
    )


def _commit_receipt(identity: Identity, work: Work) -> bytes:
    return terms.commit_receipt_terms(_get_outcome(work).receipt, work.job, identity.wallet.address)


def _get_outcome(work: Work) -> Outcome:
    assert work.outcome is not None
    return work.outcome


def _get_lease(work: Work) -> LeaseRecord:
    assert work.lease is not None
    return work.lease
