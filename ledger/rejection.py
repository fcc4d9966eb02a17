"""Why something from outside was refused: one vocabulary for tests, vectors, HTTP answers and
metrics.

A member's value is its wire code in a block's outcomes, so a number is never reused. Codes from 1
to 99 keep a transaction out of every block; from 100 on the transaction is in a block, failed, and
paid its fee (rule L6).
"""

from enum import IntEnum


class Rejection(IntEnum):
    """A reason; `doc` of each member is the sentence shown to people."""

    doc: str

    def __new__(cls, value: int, doc: str) -> "Rejection":
        member = int.__new__(cls, value)
        member._value_ = value
        member.doc = doc
        return member

    TOO_LARGE = 1, "The bytes are over the limit for their kind."
    MALFORMED = 2, "The bytes are not an encoding of the kind that was expected."
    NOT_CANONICAL = 3, "The bytes decode, but are not the one canonical encoding."
    BAD_ADDRESS = 4, "The text is not an address of this network."
    BAD_SIGNATURE = 6, "The signature does not hold for this key, chain and content."
    FEE_TOO_LOW = 7, "The fee is below the minimum for the transaction's size."
    NONCE_USED = 8, "The account has already used this nonce."
    NONCE_GAP = 9, "The nonce is ahead of the account's next one."
    VALIDITY_OVER = 10, "The transaction was valid up to an earlier height."
    CANNOT_PAY_FEE = 11, "The account cannot pay the fee."
    VALIDITY_TOO_LONG = 12, "The transaction is valid for longer than the chain allows."
    NOT_YET_DUE = 13, "The proof's epoch time is ahead of the block's time; it waits."
    BAD_PROOF = 14, "The proof does not hold for the job, lease, payee and amount."
    MEMPOOL_FULL = 15, "The mempool is full; try again when the next blocks have taken from it."
    REPLACEMENT_UNDERPRICED = 16, "Another transaction with this nonce waits for as high a fee."

    BAD_HEADER = 30, "A field of the header contradicts its parent or its body."
    BAD_ROOT = 31, "A root in the header is not the root of what it commits to."
    BAD_BLOCK_SIZE = 32, "The block is over the chain's limits."
    BAD_BLOCK_TIME = 33, "The block's time is not later than its parent's."
    BAD_PROPOSER = 34, "The proposer is not an authority in this view."
    BAD_CERTIFICATE = 35, "The certificate lacks a quorum of valid signatures."

    INSUFFICIENT_BALANCE = 100, "The account's balance does not cover the amount."
    AMOUNT_IS_ZERO = 101, "The amount is zero."
    MINER_UNKNOWN = 110, "No miner of this name is registered."
    MINER_ID_TAKEN = 111, "Another account has registered this miner name."
    MINER_NOT_OWNED = 112, "The miner belongs to another account."
    MINER_NOT_ACTIVE = 113, "The miner has exited."
    MINER_ALREADY_ACTIVE = 114, "The miner is registered already; use an update."
    MINER_HAS_LEASES = 115, "The miner still holds leases."
    MINER_AT_CAPACITY = 116, "The miner holds as many leases as it may."
    BOND_TOO_LOW = 117, "The miner's bond is below the chain's minimum."
    JOB_EXISTS = 130, "This client has already used this idempotency tag."
    JOB_UNKNOWN = 131, "No job of this id is on the chain."
    JOB_NOT_OWNED = 132, "The job belongs to another client."
    JOB_NOT_QUEUED = 133, "The job is not waiting for a miner."
    JOB_NOT_LEASED = 134, "The job has no lease that can still end this way."
    JOB_TERMINAL = 135, "The job has ended."
    JOB_DEADLINE_PASSED = 136, "The deadline for this step has passed."
    BAD_DEADLINE = 137, "The deadlines are in the past, out of order or beyond the chain's limit."
    LEASE_NOT_HELD = 138, "The lease is another miner's."
    CLAIMED_BEFORE = 139, "This miner has claimed this job before."
    AMOUNT_OVER_ESCROW = 140, "The amount is more than the job's escrow."
    BAD_REASON_CODE = 141, "The reason code is not one that a miner may report."
    BAD_FIELD_ELEMENT = 142, "A commitment is not a canonical element of the proof's field."
    ALREADY_CANCELLING = 143, "The job is being cancelled already."
    JOB_HAS_OFFER = 144, "The job is kept for the miner of an accepted offer."
    PRICE_NOT_ACCEPTED = 145, "The job's price is the accepted offer's, and this is another."
    OFFER_EXISTS = 150, "This account has already used this idempotency tag for an offer."
    OFFER_UNKNOWN = 151, "No offer of this id is on the chain."
    OFFER_NOT_OWNED = 152, "The offer belongs to another account."
    OFFER_CANCELLED = 153, "The offer has been withdrawn."
    OFFER_EXPIRED = 154, "The offer's time is over."
    OFFER_USED_UP = 155, "The offer has been accepted as often as it may."
    OFFER_DIFFERS = 156, "The offer is for another service or another way of billing."
    NOT_AN_AUTHORITY = 160, "The sender is not an authority that has a vote."
    AUTHORITY_UNKNOWN = 161, "No authority with this key and account is in the set."
    AUTHORITY_EXISTS = 162, "An authority with this key is in the set already."
    AUTHORITY_IS_LAST = 163, "The last authority cannot leave the set."
    AUTHORITY_CONVICTED = 164, "The key has been convicted and is out of the set for ever."
    AUTHORITY_SET_FULL = 165, "The set has as many authorities as it may."
    BAD_AUTHORITY_KEY = 166, "The key is not an Ed25519 key of prime order."
    VOTED_BEFORE = 167, "This authority has voted for this change already."
    TOO_MANY_PROPOSALS = 168, "This authority has as many proposals open as it may."
    BAD_EVIDENCE = 169, "The two statements do not prove that the key broke a rule."


FIRST_EXECUTION_CODE = 100

REJECTIONS = {int(reason): reason for reason in Rejection}
"""Each reason by its number."""


class Rejected(Exception):
    """Untrusted input was refused, for one reason, with a detail for people."""

    def __init__(self, reason: Rejection, detail: str = "") -> None:
        super().__init__(f"{reason.name}: {detail or reason.doc}")
        self.reason = reason
        self.detail = detail or reason.doc
