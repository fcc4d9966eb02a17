"""What an authority signs to agree on blocks, and which two of its signatures prove a fault.

Rules C2 and C18. It stands below consensus because the ledger itself judges evidence (rule A6):
what convicts an authority on chain is what every node means by a conflict, in the same lines.
"""

from enum import IntEnum
from typing import Final

from ledger import codec, crypto
from ledger.types import Counter, Hash, Record, Signature

PROTOCOL_VERSION: Final = 1
NO_BLOCK: Final = bytes(32)
"""The block hash of a nullify vote."""


class VoteKind(IntEnum):
    """The three statements of Simplex about a view."""

    NOTARIZE = 1
    NULLIFY = 2
    FINALIZE = 3


class Ballot(Record, frozen=True):
    """What a vote says: its kind, epoch, view and block (`NO_BLOCK` for nullify)."""

    kind: VoteKind
    epoch: Counter
    view: Counter
    block_hash: Hash


class SignedBallot(Record, frozen=True):
    """A ballot, signed; whoever carries it says by whom."""

    ballot: Ballot
    signature: Signature


class ProposedBlock(Record, frozen=True):
    """The block that a proposal names, and the signature over it, its epoch and its view."""

    block_hash: Hash
    signature: Signature


class ConflictingBallots(Record, frozen=True, tag=1):
    """Two ballots of one signer of which an honest authority casts only one."""

    first: SignedBallot
    second: SignedBallot


class ConflictingProposals(Record, frozen=True, tag=2):
    """Two blocks that one signer proposed in one view."""

    epoch: Counter
    view: Counter
    first: ProposedBlock
    second: ProposedBlock


Conflict = ConflictingBallots | ConflictingProposals


class _SignedBallot(Record, frozen=True):
    version: int
    kind: int
    epoch: int
    view: int
    block_hash: bytes


class _SignedProposal(Record, frozen=True):
    version: int
    epoch: int
    view: int
    block_hash: bytes


def compute_vote_bytes(chain_id: bytes, ballot: Ballot) -> bytes:
    """Return the bytes that an authority signs to cast a ballot (rule C2)."""
    signed = _SignedBallot(
        PROTOCOL_VERSION, int(ballot.kind), ballot.epoch, ballot.view, ballot.block_hash
    )
    return crypto.TAG_VOTE + chain_id + codec.encode(signed)


def compute_proposal_bytes(chain_id: bytes, epoch: int, view: int, block_hash: bytes) -> bytes:
    """Return the bytes that a leader signs to propose a block (rule C2)."""
    signed = _SignedProposal(PROTOCOL_VERSION, epoch, view, block_hash)
    return crypto.TAG_PROPOSAL + chain_id + codec.encode(signed)


def is_well_formed(ballot: Ballot) -> bool:
    """Tell whether a ballot names a block where it must, and none where it must not (rule C2)."""
    return (ballot.kind is VoteKind.NULLIFY) == (ballot.block_hash == NO_BLOCK)


def is_conflict(first: Ballot, second: Ballot) -> bool:
    """Tell whether no honest authority casts both ballots."""
    if (first.epoch, first.view) != (second.epoch, second.view):
        return False
    if first.kind is second.kind:
        return first.block_hash != second.block_hash
    return {first.kind, second.kind} == {VoteKind.NULLIFY, VoteKind.FINALIZE}


def find_fault(conflict: Conflict, key: bytes, chain_id: bytes) -> tuple[int, int] | None:
    """Return the epoch and view in which a conflict proves the key's fault; None: it proves none.

    Exactly what rule C18 says: both statements signed by the key, and no honest authority signs
    both.
    """
    match conflict:
        case ConflictingBallots(first, second):
            place = (first.ballot.epoch, first.ballot.view)
            is_fault = (
                is_well_formed(first.ballot)
                and is_well_formed(second.ballot)
                and is_conflict(first.ballot, second.ballot)
            )
            messages = [compute_vote_bytes(chain_id, each.ballot) for each in (first, second)]
        case ConflictingProposals(epoch, view, first, second):
            place = (epoch, view)
            is_fault = first.block_hash != second.block_hash
            messages = [
                compute_proposal_bytes(chain_id, epoch, view, each.block_hash)
                for each in (first, second)
            ]
    signatures = (first.signature, second.signature)
    is_proved = is_fault and all(
        crypto.is_valid_signature(key, message, signature)
        for message, signature in zip(messages, signatures, strict=True)
    )
    return place if is_proved else None
