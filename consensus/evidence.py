"""What proves that an authority broke the rules, and nothing else does (rule C18).

Exactly: two different hashes in two notarize, two finalize or two proposals of one view, or a
nullify and a finalize of one view. A notarize beside a nullify, and a notarize of one block beside
a finalize of another, are what honest authorities do.
"""

from msgspec import Struct

from consensus.leader import get_leader
from consensus.messages import Proposal, Vote
from consensus.verification import Committee, verify_vote
from ledger.ballots import (
    Conflict,
    ConflictingBallots,
    ConflictingProposals,
    ProposedBlock,
    SignedBallot,
    compute_proposal_bytes,
    is_conflict,
)
from ledger.blocks import Header, compute_header_hash
from ledger.rejection import Rejected, Rejection
from ledger.transactions import EquivocationEvidence
from ledger.types import Counter, Record, Signature


class VoteEvidence(Record, frozen=True, tag=1):
    """Two votes of one signer in one view of which an honest authority casts only one."""

    first: Vote
    second: Vote


class SignedHeader(Record, frozen=True):
    """The part of a proposal that its signature is over."""

    view: Counter
    header: Header
    signature: Signature


class ProposalEvidence(Record, frozen=True, tag=2):
    """Two proposals of one leader in one view with different hashes."""

    first: SignedHeader
    second: SignedHeader


Evidence = VoteEvidence | ProposalEvidence


class Offence(Struct, frozen=True):
    """Who is proved guilty, and where."""

    epoch: int
    view: int
    offender: bytes
    """The consensus key."""


def make_proposal_evidence(first: Proposal, second: Proposal) -> ProposalEvidence:
    """Return the evidence of two proposals, which then is checked like anybody's."""
    return ProposalEvidence(
        SignedHeader(first.view, first.block.header, first.signature),
        SignedHeader(second.view, second.block.header, second.signature),
    )


def verify_evidence(evidence: Evidence, committee: Committee) -> Offence:
    """Return the proved offence. Raises `Rejected` for anything that proves none."""
    match evidence:
        case VoteEvidence(first, second):
            if first.signer != second.signer or not is_conflict(first.ballot, second.ballot):
                raise Rejected(Rejection.BAD_HEADER, "two votes that do not conflict")
            verify_vote(first, committee)
            verify_vote(second, committee)
            key = committee.get_key(first.signer)
            return Offence(first.ballot.epoch, first.ballot.view, key)
        case ProposalEvidence(first, second):
            return _verify_proposals(first, second, committee)


def build_evidence_payload(evidence: Evidence, committee: Committee) -> EquivocationEvidence:
    """Return the payload of a transaction that convicts the offender on chain (rule A6).

    The committee is that of the offence's epoch. Raises `Rejected` for what proves none.
    """
    offence = verify_evidence(evidence, committee)
    match evidence:
        case VoteEvidence(first, second):
            conflict: Conflict = ConflictingBallots(
                SignedBallot(first.ballot, first.signature),
                SignedBallot(second.ballot, second.signature),
            )
        case ProposalEvidence(one, other):
            conflict = ConflictingProposals(
                offence.epoch, offence.view, _name_block(one), _name_block(other)
            )
    return EquivocationEvidence(offence.offender, conflict)


def _name_block(signed: SignedHeader) -> ProposedBlock:
    return ProposedBlock(compute_header_hash(signed.header), signed.signature)


def _verify_proposals(first: SignedHeader, second: SignedHeader, committee: Committee) -> Offence:
    epoch = first.header.epoch
    if (epoch, first.view) != (second.header.epoch, second.view) or first.header == second.header:
        raise Rejected(Rejection.BAD_HEADER, "two proposals that do not conflict")
    if epoch != committee.epoch:
        raise Rejected(Rejection.BAD_HEADER, "another epoch")
    leader = committee.get_key(get_leader(first.view, committee.size))
    for signed in (first, second):
        block_hash = compute_header_hash(signed.header)
        message = compute_proposal_bytes(committee.chain_id, epoch, first.view, block_hash)
        if not committee.is_valid_signature(leader, message, signed.signature):
            raise Rejected(Rejection.BAD_SIGNATURE, "proposal")
    return Offence(epoch, first.view, leader)
