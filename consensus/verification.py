"""Which messages, certificates and finality proofs hold (rules C2 to C5).

The same functions serve the live node, catching up, the explorer and the light client. They are
pure and may run on any thread. The `Verified…` types are made here alone, so that the machine
cannot be handed anything unchecked.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import assert_never

from msgspec import Struct

from consensus.leader import get_leader
from consensus.messages import (
    Certificate,
    CertificateRequest,
    CommittedBlock,
    FinalityProof,
    Proposal,
    Vote,
)
from ledger import crypto
from ledger.ballots import (
    Ballot,
    VoteKind,
    compute_proposal_bytes,
    compute_vote_bytes,
    is_well_formed,
)
from ledger.blocks import (
    AuthoritySet,
    Block,
    Header,
    compute_authorities_hash,
    compute_header_hash,
    compute_transactions_root,
)
from ledger.quorum import compute_quorum
from ledger.rejection import Rejected, Rejection

SignatureCheck = Callable[[bytes, bytes, bytes], bool]
"""Tells whether (public key, message, signature) holds."""


@dataclass(frozen=True)
class Committee:
    """The authorities of one epoch of one chain: all that a certificate is checked against."""

    chain_id: bytes
    authorities: AuthoritySet
    is_valid_signature: SignatureCheck = crypto.is_valid_signature

    @cached_property
    def size(self) -> int:
        """Return n, the number of authorities."""
        return len(self.authorities.members)

    @cached_property
    def quorum(self) -> int:
        """Return how many of them make a certificate."""
        return compute_quorum(self.size)

    @cached_property
    def authorities_hash(self) -> bytes:
        """Return the hash by which headers name this set."""
        return compute_authorities_hash(self.authorities)

    @property
    def epoch(self) -> int:
        """Return the number of the set."""
        return self.authorities.epoch

    def get_index(self, key: bytes | None) -> int | None:
        """Return the position of a consensus key in the set, `None` for an outsider."""
        for index, member in enumerate(self.authorities.members):
            if member.key == key:
                return index
        return None

    def get_key(self, index: int) -> bytes:
        """Return the consensus key at a position of the set."""
        return self.authorities.members[index].key


class VerifiedVote(Struct, frozen=True):
    """A vote whose signature holds."""

    vote: Vote


class VerifiedProposal(Struct, frozen=True):
    """A proposal whose leader, signature and transactions root hold."""

    proposal: Proposal
    block_hash: bytes


class VerifiedCertificate(Struct, frozen=True):
    """A certificate with a quorum of valid signatures."""

    certificate: Certificate


class VerifiedBlock(Struct, frozen=True):
    """A block whose transactions are those its header commits to."""

    block: Block
    block_hash: bytes


class CheckedRequest(Struct, frozen=True):
    """A question of the right epoch with a sensible range."""

    request: CertificateRequest


VerifiedMessage = VerifiedVote | VerifiedProposal | VerifiedCertificate | CheckedRequest


def verify(
    message: Vote | Proposal | Certificate | CertificateRequest, committee: Committee
) -> VerifiedMessage:
    """Return the checked form of a message. Raises `Rejected`."""
    match message:
        case Vote():
            return verify_vote(message, committee)
        case Proposal():
            return verify_proposal(message, committee)
        case Certificate():
            return verify_certificate(message, committee)
        case CertificateRequest():
            return check_request(message, committee)
        case _:
            assert_never(message)


def verify_vote(vote: Vote, committee: Committee) -> VerifiedVote:
    """Return the checked vote. Raises `Rejected` (`BAD_SIGNATURE`, `BAD_PROPOSER`)."""
    _check_ballot(vote.ballot, committee, Rejection.BAD_SIGNATURE)
    if vote.signer >= committee.size:
        raise Rejected(Rejection.BAD_PROPOSER, f"no authority {vote.signer} in this epoch")
    message = compute_vote_bytes(committee.chain_id, vote.ballot)
    if not committee.is_valid_signature(committee.get_key(vote.signer), message, vote.signature):
        raise Rejected(Rejection.BAD_SIGNATURE, f"vote of authority {vote.signer}")
    return VerifiedVote(vote)


def verify_certificate(certificate: Certificate, committee: Committee) -> VerifiedCertificate:
    """Return the checked certificate. Raises `Rejected(BAD_CERTIFICATE)`."""
    _check_ballot(certificate.ballot, committee, Rejection.BAD_CERTIFICATE)
    signers = certificate.signers
    if len(signers) != len(certificate.signatures):
        raise Rejected(Rejection.BAD_CERTIFICATE, "not one signature for each signer")
    if any(first >= second for first, second in pairwise(signers)):
        raise Rejected(Rejection.BAD_CERTIFICATE, "signers must ascend and be distinct")
    if len(signers) < committee.quorum:
        detail = f"{len(signers)} signers, the quorum is {committee.quorum}"
        raise Rejected(Rejection.BAD_CERTIFICATE, detail)
    if signers[-1] >= committee.size:
        raise Rejected(Rejection.BAD_CERTIFICATE, f"no authority {signers[-1]} in this epoch")
    message = compute_vote_bytes(committee.chain_id, certificate.ballot)
    for signer, signature in zip(signers, certificate.signatures, strict=True):
        if not committee.is_valid_signature(committee.get_key(signer), message, signature):
            raise Rejected(Rejection.BAD_CERTIFICATE, f"signature of authority {signer}")
    return VerifiedCertificate(certificate)


def verify_proposal(proposal: Proposal, committee: Committee) -> VerifiedProposal:
    """Return the checked proposal; its parent and outcome are checked later (rule C9).

    Raises `Rejected` (`BAD_HEADER`, `BAD_PROPOSER`, `BAD_SIGNATURE`, `BAD_ROOT`).
    """
    header, view = proposal.block.header, proposal.view
    _check_place(header, committee)
    if view != header.view and not is_proposed_again(header, view):
        raise Rejected(Rejection.BAD_HEADER, "proposed in another view than its own")
    if header.proposer != committee.get_key(get_leader(header.view, committee.size)):
        raise Rejected(Rejection.BAD_PROPOSER, f"view {header.view} has another leader")
    leader = committee.get_key(get_leader(view, committee.size))
    block_hash = compute_header_hash(header)
    message = compute_proposal_bytes(committee.chain_id, header.epoch, view, block_hash)
    if not committee.is_valid_signature(leader, message, proposal.signature):
        raise Rejected(Rejection.BAD_SIGNATURE, "proposal")
    _check_body(proposal.block)
    return VerifiedProposal(proposal, block_hash)


def verify_block(block: Block) -> VerifiedBlock:
    """Return a block fetched by hash, with its hash; whoever asked compares it (rule C12).

    Without this a peer could serve other transactions under the right header.
    Raises `Rejected(BAD_ROOT)`.
    """
    _check_body(block)
    return VerifiedBlock(block, compute_header_hash(block.header))


def check_request(request: CertificateRequest, committee: Committee) -> CheckedRequest:
    """Return the checked question. Raises `Rejected(MALFORMED)`."""
    if request.epoch != committee.epoch or request.first_view > request.last_view:
        raise Rejected(Rejection.MALFORMED, "a range of views in another epoch or backwards")
    return CheckedRequest(request)


def verify_finality(header: Header, proof: FinalityProof, committee: Committee) -> None:
    """Check that a proof makes the block of `header` final (rule C5).

    The committee must be that of the header's epoch: an epoch's last block is final before the
    next epoch has any, so a proof never crosses epochs. Raises `Rejected`
    (`BAD_HEADER`, `BAD_CERTIFICATE`).
    """
    _check_place(header, committee)
    for child in proof.headers:
        _check_place(child, committee)
        if child.parent != compute_header_hash(header):
            raise Rejected(Rejection.BAD_CERTIFICATE, "the headers are not a chain")
        if child.height != header.height + 1 or child.parent_view != header.view:
            raise Rejected(Rejection.BAD_HEADER, "height or parent view")
        if child.view <= header.view:
            raise Rejected(Rejection.BAD_HEADER, "a view that does not ascend")
        header = child
    ballot = proof.certificate.ballot
    if ballot.kind is not VoteKind.FINALIZE:
        raise Rejected(Rejection.BAD_CERTIFICATE, "not a finalize certificate")
    if ballot.block_hash != compute_header_hash(header):
        raise Rejected(Rejection.BAD_CERTIFICATE, "it finalizes another block")
    if ballot.view != header.view and not is_proposed_again(header, ballot.view):
        raise Rejected(Rejection.BAD_CERTIFICATE, "it finalizes in another view")
    verify_certificate(proof.certificate, committee)


def verify_succession(header: Header, following: AuthoritySet, committee: Committee) -> Committee:
    """Return the committee of the epoch that a final block's header opens (rule C19).

    So a light client follows the sets by one header and proof an epoch. Raises
    `Rejected(BAD_HEADER)` where `following` is not the set that the header names.
    """
    _check_place(header, committee)
    is_named = compute_authorities_hash(following) == header.next_authorities
    if not is_named or following.epoch != committee.epoch + 1:
        raise Rejected(Rejection.BAD_HEADER, "another authority set follows")
    return Committee(committee.chain_id, following, committee.is_valid_signature)


def is_proposed_again(header: Header, view: int) -> bool:
    """Tell whether a block may be voted on in a view after its own (rule C17)."""
    return header.next_authorities != header.authorities and header.view < view


def verify_committed(committed: CommittedBlock, committee: Committee) -> VerifiedBlock:
    """Return a block with a finality proof that holds; not its outcome. Raises `Rejected`."""
    verify_finality(committed.block.header, committed.finality, committee)
    return verify_block(committed.block)


def _check_ballot(ballot: Ballot, committee: Committee, reason: Rejection) -> None:
    if ballot.epoch != committee.epoch:
        raise Rejected(reason, f"epoch {ballot.epoch}, this set is of {committee.epoch}")
    if not is_well_formed(ballot):
        raise Rejected(reason, "a nullify names no block, every other vote names one")


def _check_place(header: Header, committee: Committee) -> None:
    if header.chain_id != committee.chain_id:
        raise Rejected(Rejection.BAD_HEADER, "another chain")
    if header.epoch != committee.epoch or header.authorities != committee.authorities_hash:
        raise Rejected(Rejection.BAD_HEADER, "another epoch or authority set")
    if header.view <= header.parent_view or header.height == 0:
        raise Rejected(Rejection.BAD_HEADER, "view or height")


def _check_body(block: Block) -> None:
    if compute_transactions_root(block.transactions) != block.header.transactions_root:
        raise Rejected(Rejection.BAD_ROOT, "transactions")
