"""What the tests of the authority set are built with: worlds of many authorities, votes, faults."""

from ledger import crypto
from ledger.ballots import (
    Ballot,
    ConflictingBallots,
    ConflictingProposals,
    ProposedBlock,
    SignedBallot,
    VoteKind,
    compute_proposal_bytes,
    compute_vote_bytes,
)
from ledger.outcomes import Outcome
from ledger.parameters import Parameters
from ledger.transactions import AuthorityVote, EquivocationEvidence
from tests.ledger.world import AIT, CHAIN, CLIENT, STRANGER, Key, World, make_key, make_rules

AUTHORITIES = [make_key(5_000 + number) for number in range(12)]
"""Those of the first set come first; the others may join."""


def make_authority_world(size: int, parameters: Parameters | None = None) -> World:
    """Return a chain of so many authorities; every authority and two bystanders have money."""
    balances = dict.fromkeys([*AUTHORITIES, CLIENT, STRANGER], 1_000 * AIT)
    return World(balances, make_rules(parameters), members=tuple(AUTHORITIES[:size]))


def add(key: Key, account: bytes | None = None) -> AuthorityVote:
    return AuthorityVote(True, key.public, key.address if account is None else account)


def remove(key: Key, account: bytes | None = None) -> AuthorityVote:
    return AuthorityVote(False, key.public, key.address if account is None else account)


def vote(world: World, payload: AuthorityVote, *voters: Key) -> list[Outcome]:
    """Extend the chain by a block with a vote of each."""
    return world.produce(*(world.sign(voter, payload) for voter in voters))


def cast(key: Key, ballot: Ballot, chain: bytes = CHAIN) -> SignedBallot:
    return SignedBallot(ballot, crypto.sign(key.seed, compute_vote_bytes(chain, ballot)))


def prove_votes(key: Key, epoch: int = 0, view: int = 9) -> EquivocationEvidence:
    """Return the evidence of two notarize votes in one view."""
    first, second = (
        cast(key, Ballot(VoteKind.NOTARIZE, epoch, view, bytes([number]) * 32)) for number in (1, 2)
    )
    return EquivocationEvidence(key.public, ConflictingBallots(first, second))


def prove_proposals(key: Key, epoch: int = 0, view: int = 9) -> EquivocationEvidence:
    """Return the evidence of two proposals in one view."""
    first, second = (
        ProposedBlock(
            bytes([number]) * 32,
            crypto.sign(key.seed, compute_proposal_bytes(CHAIN, epoch, view, bytes([number]) * 32)),
        )
        for number in (1, 2)
    )
    return EquivocationEvidence(key.public, ConflictingProposals(epoch, view, first, second))
