"""What a transaction is: its kinds, canonical bytes, id and signature (rules T1 to T6).

A payload's tag is the transaction's kind.
"""

from typing import Annotated, Final, NamedTuple

from msgspec import Meta

from ledger import codec, crypto
from ledger.ballots import Conflict
from ledger.rejection import Rejected, Rejection
from ledger.types import (
    Address,
    Amount,
    Counter,
    Hash,
    Name,
    Proof,
    PublicKey,
    Record,
    Signature,
    Time,
)

TRANSACTION_VERSION: Final = 1
MAX_TRANSACTION_BYTES: Final = 8_192
MAX_METADATA_BYTES: Final = 4_096
MAX_OFFERED_JOBS: Final = 1_000_000

Metadata = Annotated[bytes, Meta(max_length=MAX_METADATA_BYTES)]


class Transfer(Record, frozen=True, tag=1):
    """Move `amount` base units from the sender to `recipient`."""

    recipient: Address
    amount: Amount


class MinerRegister(Record, frozen=True, tag=2):
    """Register a miner name, or take up one's own exited name again, with a bond."""

    miner: Name
    encryption_key: PublicKey
    """X25519 key that job content is sealed to."""
    metadata: Metadata
    """Capabilities and price list: JSON that the chain carries and does not read."""
    bond: Amount


class MinerUpdate(Record, frozen=True, tag=3):
    """Replace a miner's key and metadata, and add to its bond."""

    miner: Name
    encryption_key: PublicKey
    metadata: Metadata
    added_bond: Amount


class MinerExit(Record, frozen=True, tag=4):
    """End a miner without live leases; its bond returns to its owner."""

    miner: Name


class JobSubmit(Record, frozen=True, tag=5):
    """Lock `escrow` for a job whose terms `job_commit` hides (rule J1)."""

    idempotency_tag: Hash
    service: Name
    billing: Annotated[int, Meta(ge=0, le=1)]
    """0: per unit, 1: per second."""
    coordinator: Address
    escrow: Amount
    job_commit: Hash
    queue_deadline: Time
    """Latest header time at which a miner may claim."""
    execution_limit: Time
    """Length of a lease in milliseconds."""
    total_deadline: Time
    """Latest header time at which the job may still be settled."""


class JobClaim(Record, frozen=True, tag=6):
    """Take the lease on a queued job, at the price that `price_commit` hides (rule J2)."""

    job: Hash
    miner: Name
    price_commit: Hash


class JobSettle(Record, frozen=True, tag=7):
    """Commit the receipt and take `amount` of the escrow, with the proof of it (rule J3)."""

    job: Hash
    receipt_commit: Hash
    amount: Amount
    epoch_time: Time
    proof: Proof


class JobFail(Record, frozen=True, tag=8):
    """Give the lease back with a reason (rule J4)."""

    job: Hash
    reason_code: Annotated[int, Meta(ge=0, le=99_999)]


class JobCancel(Record, frozen=True, tag=9):
    """End one's own job: at once while it is queued, after a grace while it is leased."""

    job: Hash


class OfferCreate(Record, frozen=True, tag=10):
    """Offer work of a service at a public price, for up to `max_jobs` jobs (rule O1)."""

    idempotency_tag: Hash
    miner: Name
    service: Name
    billing: Annotated[int, Meta(ge=0, le=1)]
    """0: per unit, 1: per second."""
    price: Amount
    """Base units per unit."""
    max_jobs: Annotated[int, Meta(ge=1, le=MAX_OFFERED_JOBS)]
    metadata: Metadata
    """What the offer says besides: JSON that the chain carries and does not read."""
    expires_at: Time
    """Latest header time at which the offer can be accepted."""


class OfferCancel(Record, frozen=True, tag=11):
    """Withdraw one's own offer; what was accepted before stands (rule O2)."""

    offer: Hash


class OfferAccept(Record, frozen=True, tag=12):
    """Bind one's own queued job to an offer: its miner, at its price (rule O3)."""

    job: Hash
    offer: Hash


class AuthorityVote(Record, frozen=True, tag=13):
    """Vote for a change of the authority set; the sender's key is a member's (rule A3)."""

    is_add: bool
    key: PublicKey
    """Consensus key of who is to join or leave."""
    account: Address
    """The account that it is paid to; of one who leaves, that in the set."""


class EquivocationEvidence(Record, frozen=True, tag=14):
    """Prove that an authority signed what no honest one signs (rule A6)."""

    offender: PublicKey
    """Consensus key."""
    conflict: Conflict


Payload = (
    Transfer
    | MinerRegister
    | MinerUpdate
    | MinerExit
    | JobSubmit
    | JobClaim
    | JobSettle
    | JobFail
    | JobCancel
    | OfferCreate
    | OfferCancel
    | OfferAccept
    | AuthorityVote
    | EquivocationEvidence
)


class Transaction(Record, frozen=True):
    """A signed transaction; `fee` in base units, valid up to `valid_until` (a height)."""

    version: Annotated[int, Meta(ge=TRANSACTION_VERSION, le=TRANSACTION_VERSION)]
    sender: PublicKey
    nonce: Counter
    fee: Amount
    valid_until: Counter
    payload: Payload
    signature: Signature


class _Unsigned(Record, frozen=True):
    version: int
    sender: bytes
    nonce: int
    fee: int
    valid_until: int
    payload: Payload


def compute_signing_bytes(transaction: Transaction, chain_id: bytes) -> bytes:
    """Return what the sender signs: tag, chain id and every field but the signature (rule T2)."""
    unsigned = _Unsigned(
        transaction.version,
        transaction.sender,
        transaction.nonce,
        transaction.fee,
        transaction.valid_until,
        transaction.payload,
    )
    return crypto.TAG_TRANSACTION + chain_id + codec.encode(unsigned)


def compute_transaction_id(transaction: Transaction, chain_id: bytes) -> bytes:
    """Return the hash of the signed content without the signature (rule T3)."""
    return crypto.hash_tagged(compute_signing_bytes(transaction, chain_id))


def sign_transaction(
    seed: bytes, chain_id: bytes, nonce: int, fee: int, valid_until: int, payload: Payload
) -> Transaction:
    """Return the transaction signed by the Ed25519 key of a 32-byte seed."""
    sender = crypto.compute_public_key(seed)
    blank = Transaction(TRANSACTION_VERSION, sender, nonce, fee, valid_until, payload, bytes(64))
    signature = crypto.sign(seed, compute_signing_bytes(blank, chain_id))
    return Transaction(TRANSACTION_VERSION, sender, nonce, fee, valid_until, payload, signature)


def compute_size(payload: Payload) -> int:
    """Return an upper bound on the bytes of a transaction with this payload, for its fee."""
    widest = 2**63 - 1
    blank = Transaction(TRANSACTION_VERSION, bytes(32), widest, widest, widest, payload, bytes(64))
    return len(codec.encode(blank))


def decode_transaction(data: bytes) -> Transaction:
    """Return the transaction that `data` encodes canonically. Raises `Rejected`."""
    return codec.decode(data, Transaction, MAX_TRANSACTION_BYTES)


class VerifiedTransaction(NamedTuple):
    """A transaction whose signature holds, with its id and canonical bytes."""

    id: bytes
    transaction: Transaction
    raw: bytes


def verify_transaction(
    transaction: Transaction, raw: bytes, chain_id: bytes
) -> VerifiedTransaction:
    """Return the transaction as verified; `raw` are its canonical bytes.

    The only way to a `VerifiedTransaction`, on every path. Raises `Rejected(BAD_SIGNATURE)`.
    """
    message = compute_signing_bytes(transaction, chain_id)
    if not crypto.is_valid_signature(transaction.sender, message, transaction.signature):
        raise Rejected(Rejection.BAD_SIGNATURE)
    return VerifiedTransaction(crypto.hash_tagged(message), transaction, raw)
