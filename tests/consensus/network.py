"""What the tests of consensus build with: real keys, committees, blocks, votes, certificates."""

from collections.abc import Iterable
from functools import cache
from hashlib import sha256

from consensus.messages import Certificate, Proposal, Vote
from consensus.verification import Committee
from ledger import crypto
from ledger.ballots import NO_BLOCK, Ballot, VoteKind, compute_proposal_bytes, compute_vote_bytes
from ledger.blocks import (
    BLOCK_VERSION,
    Authority,
    AuthoritySet,
    Block,
    Header,
    compute_header_hash,
    compute_transactions_root,
)
from ledger.quorum import compute_quorum

CHAIN_ID = sha256(b"chain of the tests").digest()
GENESIS = sha256(b"genesis of the tests").digest()


def get_seed(index: int) -> bytes:
    """Return the secret key of an authority."""
    return sha256(b"authority %d" % index).digest()


@cache
def get_key(index: int) -> bytes:
    """Return the public key of an authority."""
    return crypto.compute_public_key(get_seed(index))


@cache
def make_committee(size: int, epoch: int = 0, chain_id: bytes = CHAIN_ID) -> Committee:
    """Return a committee of the first `size` authorities."""
    members = tuple(Authority(get_key(index), bytes(20)) for index in range(size))
    return Committee(chain_id, AuthoritySet(epoch, members))


def make_block(
    committee: Committee,
    height: int = 1,
    view: int = 1,
    parent: bytes = GENESIS,
    parent_view: int = 0,
    *,
    time: int = 1_000,
    next_authorities: bytes | None = None,
) -> Block:
    """Return an empty block of the leader of a view."""
    header = Header(
        BLOCK_VERSION,
        committee.chain_id,
        committee.epoch,
        height,
        view,
        parent_view,
        time,
        parent,
        committee.get_key(view % committee.size),
        compute_transactions_root(()),
        bytes(32),
        bytes(32),
        committee.authorities_hash,
        committee.authorities_hash if next_authorities is None else next_authorities,
    )
    return Block(header, ())


def make_child(committee: Committee, parent: Block, view: int) -> Block:
    """Return a block on another."""
    header = parent.header
    return make_block(committee, header.height + 1, view, compute_header_hash(header), header.view)


def make_ballot(kind: VoteKind, view: int, block_hash: bytes = NO_BLOCK, epoch: int = 0) -> Ballot:
    """Return a ballot."""
    return Ballot(kind, epoch, view, block_hash)


@cache
def make_vote(ballot: Ballot, signer: int, chain_id: bytes = CHAIN_ID) -> Vote:
    """Return an authority's vote."""
    message = compute_vote_bytes(chain_id, ballot)
    return Vote(ballot, signer, crypto.sign(get_seed(signer), message))


def make_proposal(block: Block, signer: int, view: int | None = None) -> Proposal:
    """Return a leader's proposal."""
    header = block.header
    view = header.view if view is None else view
    message = compute_proposal_bytes(
        header.chain_id, header.epoch, view, compute_header_hash(header)
    )
    return Proposal(view, block, crypto.sign(get_seed(signer), message))


def make_certificate(ballot: Ballot, signers: Iterable[int]) -> Certificate:
    """Return a certificate of the named signers, in the order given."""
    chosen = tuple(signers)
    return Certificate(
        ballot, chosen, tuple(make_vote(ballot, signer).signature for signer in chosen)
    )


def make_quorum(ballot: Ballot, size: int) -> Certificate:
    """Return a certificate of just a quorum."""
    return make_certificate(ballot, range(compute_quorum(size)))
