"""One file that proves a settled receipt to anybody, with no network (rule R2).

It holds the signed receipt and its opening, the settling transaction with its place in a final
block, the job's entry in a final state, and how the authority sets of both follow from earlier
ones. The verifier brings the chain's id, one set and the verifying key: those of genesis, or of a
checkpoint.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import msgspec

from consensus.light_client import Succession, decode_succession, follow
from consensus.messages import FinalityProof
from consensus.verification import Committee, verify_finality
from ledger import codec, crypto, merkle, settlement, terms
from ledger.blocks import AuthoritySet, Header, compute_header_hash
from ledger.entries import Job, JobStatus, job_key
from ledger.outcomes import JobSettled, Outcome
from ledger.receipts import ReceiptCore, decode_base64url, encode_base64url, parse_receipt
from ledger.rejection import Rejected, Rejection
from ledger.state_tree import StateProof, is_in_state
from ledger.terms import ReceiptTerms
from ledger.transactions import (
    JobSettle,
    VerifiedTransaction,
    decode_transaction,
    verify_transaction,
)
from ledger.types import Record
from zk.statement import PublicInputs
from zk.verifier import verify
from zk.verifying_key import VerifyingKey

MAX_BUNDLE_BYTES = 4 * 1024 * 1024
MAX_SUCCESSIONS_TEXT = 2 * 1024 * 1024
"""Characters of the successions in a file; where more epochs lie behind, the newest are in it."""
_MAX_PART_BYTES = 2 * 1024 * 1024

_Part = TypeVar("_Part", bound=Record)


class SettlementPart(Record, frozen=True):
    """The settling transaction and its outcome, each under a root of a final header."""

    header: Header
    finality: FinalityProof
    transaction: bytes
    transaction_inclusion: merkle.InclusionProof
    outcome: Outcome
    outcome_inclusion: merkle.InclusionProof


class StatePart(Record, frozen=True):
    """The job's entry in the state after a final header."""

    header: Header
    finality: FinalityProof
    job: Job
    proof: StateProof


class ReceiptBundle(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The file: JSON, with the chain's own records inside in their canonical encoding."""

    receipt: dict[str, Any]
    opening: dict[str, Any]
    """`ReceiptTerms`, hashes in hex: who holds the file sees units, times and the result hash."""
    settlement: str
    """Base64url of a `SettlementPart`."""
    state: str
    """Base64url of a `StatePart`."""
    successions: tuple[str, ...] = ()
    """Base64url of each `Succession` before the epoch of the state, oldest first."""
    format: Literal["aitbc-receipt-bundle/1"] = "aitbc-receipt-bundle/1"


@dataclass(frozen=True, slots=True)
class TrustAnchor:
    """What the verifier knows already, from the genesis document or a checkpoint."""

    chain_id: bytes
    authorities: AuthoritySet
    """A set that certified the chain no later than the receipt's block."""
    verifying_key: VerifyingKey


@dataclass(frozen=True, slots=True)
class VerifiedReceipt:
    """What a bundle proves. Amounts in base units, time in milliseconds."""

    core: ReceiptCore
    opening: ReceiptTerms
    transaction_id: bytes
    block_hash: bytes
    height: int
    block_time: int
    settled: JobSettled
    job: Job
    """The job's entry in a final state."""
    public: PublicInputs
    """What the settlement's proof was checked for."""
    signers: int
    """How many authorities signed the block's finality."""
    authorities: int
    """How many there were in its epoch."""
    epoch: int


def encode_bundle(
    receipt: dict[str, Any],
    opening: ReceiptTerms,
    settled: SettlementPart,
    state: StatePart,
    successions: Sequence[Succession] = (),
) -> ReceiptBundle:
    """Return the bundle of a settled receipt; `successions` are the chain's, oldest first."""
    return ReceiptBundle(
        receipt=receipt,
        opening=terms.write_opening(opening),
        settlement=encode_base64url(codec.encode(settled)),
        state=encode_base64url(codec.encode(state)),
        successions=_choose_successions(successions, state.header.epoch),
    )


def decode_bundle(data: bytes) -> ReceiptBundle:
    """Return the bundle in a file. Raises `Rejected` (`TOO_LARGE`, `MALFORMED`)."""
    if len(data) > MAX_BUNDLE_BYTES:
        raise Rejected(Rejection.TOO_LARGE, f"the limit is {MAX_BUNDLE_BYTES} bytes")
    try:
        return msgspec.json.decode(data, type=ReceiptBundle)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise Rejected(Rejection.MALFORMED, f"not a receipt bundle: {error}") from None


def verify_bundle(bundle: ReceiptBundle, anchor: TrustAnchor) -> VerifiedReceipt:
    """Return what the bundle proves, every link having been checked. Raises `Rejected`."""
    core, public_key = parse_receipt(bundle.receipt)
    opening = _read_opening(bundle.opening)
    settled = _decode_part(bundle.settlement, SettlementPart)
    state = _decode_part(bundle.state, StatePart)
    committee, later = _find_committees(bundle, anchor, settled.header.epoch)
    verify_finality(settled.header, settled.finality, committee)
    verify_finality(state.header, state.finality, later)
    verified, event = _check_settlement(settled, anchor.chain_id)
    payload = verified.transaction.payload
    assert isinstance(payload, JobSettle)
    public = _check_proof(state, payload, anchor)
    _check_receipt(core, public_key, verified, event, state.job, anchor.chain_id)
    _check_opening(core, opening, payload, event)
    return VerifiedReceipt(
        core=core,
        opening=opening,
        transaction_id=verified.id,
        block_hash=compute_header_hash(settled.header),
        height=settled.header.height,
        block_time=settled.header.time,
        settled=event,
        job=state.job,
        public=public,
        signers=len(settled.finality.certificate.signers),
        authorities=committee.size,
        epoch=committee.epoch,
    )


def _choose_successions(successions: Iterable[Succession], epoch: int) -> tuple[str, ...]:
    """Return those before an epoch, the newest that fit, as they stand in the file."""
    texts: list[str] = []
    room = MAX_SUCCESSIONS_TEXT
    for each in sorted(successions, key=lambda each: each.header.epoch, reverse=True):
        if each.header.epoch < epoch:
            texts.append(encode_base64url(codec.encode(each)))
            room -= len(texts[-1])
            if room < 0:
                texts.pop()
                break
    return tuple(reversed(texts))


def _find_committees(
    bundle: ReceiptBundle, anchor: TrustAnchor, settled_epoch: int
) -> tuple[Committee, Committee]:
    """Return the sets of the settlement's epoch and of the state's, which is the last one."""
    if anchor.authorities.epoch > settled_epoch:
        raise Rejected(
            Rejection.BAD_HEADER,
            f"the receipt is of epoch {settled_epoch}, the set that is trusted of a later one",
        )
    successions = [_decode(text, decode_succession) for text in bundle.successions]
    epochs = [each.header.epoch for each in successions]
    start = Committee(anchor.chain_id, anchor.authorities)
    if epochs and epochs[0] > start.epoch:
        raise Rejected(
            Rejection.BAD_HEADER,
            f"the file begins with epoch {epochs[0]}: a checkpoint of that epoch is needed",
        )
    needed = [each for each in successions if each.header.epoch >= start.epoch]
    committee = follow(start, [each for each in needed if each.header.epoch < settled_epoch])
    return committee, follow(
        committee, [each for each in needed if each.header.epoch >= settled_epoch]
    )


def _read_opening(members: dict[str, Any]) -> ReceiptTerms:
    try:
        return terms.read_opening(members, ReceiptTerms)
    except ValueError as error:
        raise Rejected(Rejection.MALFORMED, f"not an opening of a receipt: {error}") from None


def _decode_part(text: str, kind: type[_Part]) -> _Part:
    return _decode(text, lambda data: codec.decode(data, kind, _MAX_PART_BYTES))


def _decode(text: str, decode: Callable[[bytes], _Part]) -> _Part:
    try:
        return decode(decode_base64url(text))
    except ValueError as error:
        raise Rejected(Rejection.MALFORMED, str(error)) from None


def _check_settlement(
    part: SettlementPart, chain_id: bytes
) -> tuple[VerifiedTransaction, JobSettled]:
    """Check that the block settled the job by this transaction."""
    transaction = decode_transaction(part.transaction)
    verified = verify_transaction(transaction, part.transaction, chain_id)
    header, outcome = part.header, part.outcome
    if not merkle.is_included(
        part.transaction, part.transaction_inclusion, header.transactions_root
    ):
        raise Rejected(Rejection.BAD_ROOT, "the transaction is not in the block")
    if not merkle.is_included(codec.encode(outcome), part.outcome_inclusion, header.receipts_root):
        raise Rejected(Rejection.BAD_ROOT, "the outcome is not in the block")
    events = [event for event in outcome.events if isinstance(event, JobSettled)]
    if outcome.subject != verified.id or outcome.code != 0 or len(events) != 1:
        raise Rejected(Rejection.BAD_ROOT, "the outcome is not that of a settlement")
    payload = transaction.payload
    event = events[0]
    if (
        not isinstance(payload, JobSettle)
        or payload.job != event.job
        or payload.receipt_commit != event.receipt_commit
        or payload.amount != event.amount
    ):
        raise Rejected(Rejection.BAD_ROOT, "the transaction and its outcome differ")
    return verified, event


def _check_proof(part: StatePart, payload: JobSettle, anchor: TrustAnchor) -> PublicInputs:
    """Check the proof against the terms that the state holds of the job; return its inputs."""
    job = part.job
    if not is_in_state(job_key(payload.job), codec.encode(job), part.proof, part.header.state_root):
        raise Rejected(Rejection.BAD_ROOT, "the job is not in the state")
    if job.status is not JobStatus.SETTLED or job.lease is None:
        raise Rejected(Rejection.BAD_ROOT, "the job is not settled in that state")
    key = anchor.verifying_key
    inputs = settlement.compute_public_inputs(anchor.chain_id, key.key_id, job, job.lease, payload)
    if not verify(key, inputs, payload.proof):
        raise Rejected(Rejection.BAD_PROOF)
    return PublicInputs(*inputs)


def _check_receipt(
    core: ReceiptCore,
    public_key: bytes,
    verified: VerifiedTransaction,
    event: JobSettled,
    job: Job,
    chain_id: bytes,
) -> None:
    """Check that the settling key signed this receipt, of this job and claim."""
    if public_key != verified.transaction.sender:
        raise Rejected(Rejection.BAD_SIGNATURE, "another key signed the receipt")
    expected = {
        "chain_id": chain_id.hex(),
        "receipt_id": f"receipt_{event.job.hex()}",
        "job_id": f"job_{event.job.hex()}",
        "client": crypto.format_address(job.client),
        "service": job.service,
        "provider": crypto.format_address(event.payee),
        "miner_id": event.miner,
        "claim_number": event.number,
        "amount": event.amount,
        "receipt_commit": event.receipt_commit.hex(),
    }
    for name, value in expected.items():
        if getattr(core, name) != value:
            raise Rejected(Rejection.BAD_SIGNATURE, f"the receipt's {name} is not the chain's")


def _check_opening(
    core: ReceiptCore, opening: ReceiptTerms, payload: JobSettle, event: JobSettled
) -> None:
    """Check that the commitment on chain opens to what the receipt says."""
    if terms.commit_receipt_terms(opening, event.job, event.payee) != payload.receipt_commit:
        raise Rejected(Rejection.BAD_ROOT, "the opening is not that of the commitment")
    expected = {
        "units": opening.units,
        "started_ms": opening.started,
        "completed_ms": opening.completed,
        "started_at": opening.started // 1000,
        "completed_at": opening.completed // 1000,
        "result_hash": opening.result_hash.hex(),
    }
    for name, value in expected.items():
        if getattr(core, name) != value:
            raise Rejected(Rejection.BAD_ROOT, f"the receipt's {name} is not the committed one")
    if core.units * core.price != core.amount:
        raise Rejected(Rejection.BAD_ROOT, "the amount is not units times price")
